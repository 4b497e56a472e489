"""Captions changed many at once, each change undone and redone, and what is refused."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.datasets_support import captioned, captions, taken_in, work

from fedflow.client.services import datasets, datasets_asides, datasets_edits, jobs
from fedflow.client.store import Store
from fedflow.datasets.index import make_index
from fedflow.errors import DatasetError, MistakeError

JSON = {"Accept": "application/json"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return captioned(tmp_path / "icons")


@pytest.fixture
def dataset_id(store: Store, folder: Path) -> str:
    return taken_in(store, folder)


def ids(store: Store, dataset_id: str) -> list[int]:
    return [each.id for each in datasets.lines(store, dataset_id)]


def send(visitor: Visitor, address: str, **form: Any) -> tuple[int, dict[str, Any]]:
    data = {"csrf_token": visitor.token(), **form}
    answer = visitor.client.post(address, data=data, headers=JSON)
    assert answer.json is not None
    return answer.status_code, answer.json


def change(visitor: Visitor, dataset_id: str, chosen: list[int], action: str, first: str, second: str = ""):  # type: ignore[no-untyped-def]
    return send(
        visitor,
        f"/datasets/{dataset_id}/captions",
        action=action, first=first, second=second, pictures=",".join(map(str, chosen)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("action", "first", "second", "after", "what"),
    [
        ("add", " cat ", "", ["icon, thing 0, cat", "icon, thing 1, cat"], "add tag 'cat' to 2 pictures"),
        ("remove", "icon", "", ["thing 0", "thing 1"], "remove tag 'icon' from 2 pictures"),
        ("rename", "icon", "sign", ["sign, thing 0", "sign, thing 1"], "rename tag 'icon' to 'sign' in 2 pictures"),
        ("replace", "thing", "it", ["icon, it 0", "icon, it 1"], "replace 'thing' by 'it' in 2 captions"),
    ],
)
def test_a_change_is_written_and_undone_and_redone(
    store: Store,
    visitor: Visitor,
    folder: Path,
    dataset_id: str,
    action: str,
    first: str,
    second: str,
    after: list[str],
    what: str,
) -> None:
    before = captions(folder)
    chosen = ids(store, dataset_id)[:2]
    status, answer = change(visitor, dataset_id, chosen, action, first, second)
    assert status == 200
    assert answer["told"] == "2 captions written."
    assert list(answer["captions"].values()) == after
    assert list(captions(folder).values()) == [*after, "icon, thing 2", "icon, thing 3"]
    assert answer["undo"]["what"] == what
    assert what in visitor.client.get(f"/datasets/{dataset_id}").text.replace("&#39;", "'")
    status, undone = send(visitor, f"/datasets/{dataset_id}/undo", edit=answer["undo"]["edit"])
    assert (status, undone["undo"], undone["redo"]["what"]) == (200, None, what)
    assert captions(folder) == before
    status, again = send(visitor, f"/datasets/{dataset_id}/redo", edit=undone["redo"]["edit"])
    assert (status, again["undo"]["what"], again["redo"]) == (200, what, None)
    assert list(captions(folder).values())[:2] == after
    rows = [each.caption for each in datasets.lines(store, dataset_id)]
    assert rows == list(captions(folder).values())


def test_captions_are_emptied_where_that_is_asked_for(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    before = captions(folder)
    chosen = ids(store, dataset_id)[:2]
    status, answer = change(visitor, dataset_id, chosen, "empty", "")
    assert (status, answer["told"]) == (200, "2 pictures have no caption now, and are not trained on.")
    assert answer["undo"]["what"] == "remove the captions of 2 pictures"
    assert list(captions(folder)) == list(before)[2:]
    assert all("has no caption" in each.problem for each in datasets.lines(store, dataset_id)[:2])
    status, refused = change(visitor, dataset_id, chosen, "empty", "")
    assert (status, "none of the captions would be changed" in refused["told"]) == (422, True)
    send(visitor, f"/datasets/{dataset_id}/undo", edit=answer["undo"]["edit"])
    assert captions(folder) == before
    first = datasets.lines(store, dataset_id)[0]
    page = visitor.post(f"/datasets/{dataset_id}/pictures/{first.id}", caption=" ,", seen=first.caption)
    assert page.status_code == 303
    assert "The caption is removed." in visitor.client.get(page.location).text
    assert first.path.replace(".png", "") not in captions(folder)
    again = visitor.post(f"/datasets/{dataset_id}/pictures/{first.id}", caption=" ", seen="")
    assert (again.status_code, "write the picture&#39;s tags" in again.text) == (422, True)


def test_a_caption_that_a_list_would_bring_back_is_not_emptied(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    first = sorted(folder.glob("*.png"))[0]
    first.with_suffix(".txt").unlink()
    line = json.dumps({"file_name": first.name, "text": "from a list"})
    (folder / "metadata.jsonl").write_text(line, encoding="utf-8")
    datasets.look_again(store, dataset_id)
    work(store)
    status, refused = change(visitor, dataset_id, ids(store, dataset_id), "empty", "")
    assert (status, "its caption stands in metadata.jsonl; take it out there" in refused["told"]) == (422, True)
    assert len(captions(folder)) == 3, "all or none"


def test_a_long_tag_is_shortened_on_the_button(store: Store, visitor: Visitor, dataset_id: str) -> None:
    _, answer = change(visitor, dataset_id, ids(store, dataset_id)[:1], "add", "fur " * 200)
    assert answer["undo"]["what"] == f"add tag '{'fur ' * 9}fur…' to 1 picture"


def test_a_new_change_ends_what_could_be_redone(store: Store, visitor: Visitor, dataset_id: str) -> None:
    chosen = ids(store, dataset_id)
    _, first = change(visitor, dataset_id, chosen, "add", "one")
    send(visitor, f"/datasets/{dataset_id}/undo", edit=first["undo"]["edit"])
    _, second = change(visitor, dataset_id, chosen, "add", "two")
    assert second["redo"] is None
    status, answer = send(visitor, f"/datasets/{dataset_id}/undo", edit=first["undo"]["edit"])
    assert status == 422
    assert "something else was changed meanwhile" in answer["told"]


def test_an_undo_refuses_captions_that_another_program_has_changed(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    chosen = ids(store, dataset_id)
    _, answer = change(visitor, dataset_id, chosen, "add", "cat")
    edit = answer["undo"]["edit"]
    third = sorted(folder.glob("*.txt"))[2]
    third.write_text("mine", encoding="utf-8")
    before = captions(folder)
    status, refused = send(visitor, f"/datasets/{dataset_id}/undo", edit=edit)
    assert status == 422
    assert f"{third.stem}.png: its caption was changed by another program" in refused["told"]
    assert captions(folder) == before, "nothing of it is undone"
    datasets.look_again(store, dataset_id)
    work(store)
    status, refused = send(visitor, f"/datasets/{dataset_id}/undo", edit=edit)
    assert status == 422
    assert "was changed meanwhile" in refused["told"]
    assert captions(folder) == before


def test_a_caption_is_never_left_without_a_tag(store: Store, visitor: Visitor, folder: Path, dataset_id: str) -> None:
    chosen = ids(store, dataset_id)
    number = chosen[0]
    send(visitor, f"/datasets/{dataset_id}/pictures/{number}/caption", caption="icon", seen="icon, thing 0")
    status, answer = change(visitor, dataset_id, chosen, "remove", "icon")
    assert status == 200
    left = "1 stays as it is: it has no other tag. “Remove captions” empties it too."
    assert answer["told"] == f"3 captions written. {left}"
    assert captions(folder)[sorted(folder.glob("*.png"))[0].stem] == "icon"
    status, answer = change(visitor, dataset_id, [number], "remove", "icon")
    assert status == 422
    assert "a picture without a tag cannot be trained on" in answer["told"]


def test_what_is_no_tag_or_changes_nothing_is_said(store: Store, visitor: Visitor, dataset_id: str) -> None:
    chosen = ids(store, dataset_id)
    for action, first, said in (
        ("add", "  ", "the tag is empty"),
        ("add", "a, b", "a tag holds no comma"),
        ("replace", "", "the text to find is empty"),
        ("remove", "zebra", "none of the captions would be changed"),
        ("burn", "icon", "'burn': is none of"),
    ):
        status, answer = change(visitor, dataset_id, chosen, action, first)
        assert status == 422, action
        assert said in answer["told"]
    assert datasets_edits.undoable(store, dataset_id) is None


def test_a_picture_without_a_caption_gets_one_and_loses_it_by_undo(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    bare = sorted(folder.glob("*.png"))[1]
    bare.with_suffix(".txt").unlink()
    datasets.look_again(store, dataset_id)
    work(store)
    assert datasets.lines(store, dataset_id)[1].problem != ""
    number = ids(store, dataset_id)[1]
    _, answer = change(visitor, dataset_id, [number], "add", "cat")
    assert captions(folder)[bare.stem] == "cat"
    assert datasets.lines(store, dataset_id)[1].problem == ""
    send(visitor, f"/datasets/{dataset_id}/undo", edit=answer["undo"]["edit"])
    assert bare.stem not in captions(folder)
    assert "has no caption" in datasets.lines(store, dataset_id)[1].problem


def test_one_caption_where_it_stands_is_a_change_too(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    number = ids(store, dataset_id)[0]
    address = f"/datasets/{dataset_id}/pictures/{number}/caption"
    status, answer = send(visitor, address, caption=" a,  b ", seen="icon, thing 0")
    assert (status, answer["captions"]) == (200, {str(number): "a, b"})
    assert answer["undo"]["what"].startswith("change the caption of ")
    status, answer = send(visitor, address, caption="c", seen="icon, thing 0")
    assert status == 422
    assert "the caption was changed meanwhile" in answer["told"]
    assert answer["captions"] == {str(number): "a, b"}, "the window sees what another has written"
    assert next(iter(captions(folder).values())) == "a, b"


def test_a_caption_that_is_too_long_is_refused_whole(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    [first, *_] = datasets.lines(store, dataset_id)
    before = captions(folder)
    address = f"/datasets/{dataset_id}/pictures/{first.id}/caption"
    status, answer = send(visitor, address, caption="tag, " * 2001 + "end", seen=first.caption)
    assert (status, "more than 10,000 characters" in answer["told"]) == (422, True)
    assert captions(folder) == before


def test_many_captions_are_the_workers(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedflow.client.pages.datasets_captions.MOST_AT_ONCE", 2)
    before = captions(folder)
    status, answer = change(visitor, dataset_id, ids(store, dataset_id), "add", "cat")
    assert (status, answer["waits"]) == (200, True)
    assert captions(folder) == before
    assert work(store) == [(jobs.DONE, "")]
    assert all(each.endswith(", cat") for each in captions(folder).values())
    step = datasets_edits.undoable(store, dataset_id)
    assert step is not None
    status, answer = send(visitor, f"/datasets/{dataset_id}/undo", edit=step.id)
    assert answer["waits"] is True
    assert work(store) == [(jobs.DONE, "")]
    assert captions(folder) == before


def test_a_change_that_is_stopped_has_changed_nothing(store: Store, folder: Path, dataset_id: str) -> None:
    before = captions(folder)
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None

    def stop(done: int, _of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        datasets_edits.change(store, dataset, "add", ("cat", ""), ids(store, dataset_id), stop)
    assert captions(folder) == before
    assert [each.caption for each in datasets.lines(store, dataset_id)] == list(before.values())


def test_what_another_program_writes_during_a_change_stays_its_own(store: Store, folder: Path, dataset_id: str) -> None:
    before = captions(folder)
    first, *_, last = before
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None

    def write(done: int, of: int) -> None:
        if done == of - 1:
            for name in (first, last):
                (folder / f"{name}.txt").write_text("of somebody else", encoding="utf-8")

    with pytest.raises(DatasetError, match="was changed by another program"):
        datasets_edits.change(store, dataset, "add", ("cat", ""), ids(store, dataset_id), write)
    theirs = {first: "of somebody else", last: "of somebody else"}
    assert captions(folder) == {**before, **theirs}
    assert [each.caption for each in datasets.lines(store, dataset_id)] == list(before.values())


def test_a_change_that_is_sent_twice_is_made_once(store: Store, folder: Path, dataset_id: str) -> None:
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    told: list[str] = []
    chosen = ids(store, dataset_id)

    def add() -> None:
        try:
            datasets_edits.change(store, dataset, "add", ("twin", ""), chosen, lambda *_: time.sleep(0.02))
            told.append("done")
        except (DatasetError, MistakeError) as error:
            told.append(str(error))

    both = [threading.Thread(target=add) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert sorted(each == "done" for each in told) == [False, True], told
    assert all("twin" in text for text in captions(folder).values())
    assert [each.caption for each in datasets.lines(store, dataset_id)] == list(captions(folder).values())


def test_a_look_leaves_what_was_changed_while_it_ran(store: Store, folder: Path, dataset_id: str) -> None:
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    before = datasets.known(store, dataset_id)
    index = make_index(folder, before)
    first, second, *_ = datasets.lines(store, dataset_id)
    datasets.caption(store, dataset, first.id, "changed, meanwhile", first.caption)
    datasets_asides.leave_out(store, dataset, [second.id])
    datasets.keep(store, dataset_id, index, before)
    now = datasets.lines(store, dataset_id)
    assert now[0].caption == "changed, meanwhile"
    assert second.path not in [each.path for each in now]
    datasets_edits.change(store, dataset, "add", ("on", ""), [first.id])
    assert "on" in captions(folder)[Path(first.path).stem]


def test_the_list_holds_what_is_looked_for(store: Store, visitor: Visitor, dataset_id: str) -> None:
    found = visitor.client.get(f"/datasets/{dataset_id}/list?tag=thing+2").json
    assert found is not None
    [[number, _, caption, faulty]] = found["pictures"]
    assert (number, caption, faulty) == (ids(store, dataset_id)[2], "icon, thing 2", 0)
    assert found["tags"][0] == ["icon", 4]


def test_the_trigger_tag_is_kept(store: Store, visitor: Visitor, dataset_id: str) -> None:
    assert visitor.post(f"/datasets/{dataset_id}/trigger", trigger=" my  style ").status_code == 303
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    assert dataset.trigger == "my style"
    visitor.post(f"/datasets/{dataset_id}/trigger", trigger="a, b")
    assert "a tag holds no comma" in visitor.client.get(f"/datasets/{dataset_id}").text


def test_a_caption_that_is_not_utf_8_is_passed_over_in_a_selection_and_written_anew_alone(
    visitor: Visitor, store: Store, folder: Path
) -> None:
    """As a folder that was captioned on an old Windows has it: what the owner writes counts, and the file is kept."""
    old = sorted(folder.glob("*.txt"))[0]
    old.write_bytes("кіт".encode("cp1251"))
    dataset_id = taken_in(store, folder)
    every = ids(store, dataset_id)
    code, told = change(visitor, dataset_id, every, "add", "cat")
    assert code == 200
    assert "1 stays as it is: it is not UTF-8." in told["told"]
    assert told["undo"]["what"].endswith("(not 1 that is not UTF-8)"), "told where the worker has done it, too"
    assert len(told["captions"]) == len(every) - 1
    assert old.read_bytes() == "кіт".encode("cp1251")
    [unread] = set(every) - {int(each) for each in told["captions"]}
    code, told = change(visitor, dataset_id, [unread], "add", "cat")
    assert code == 422
    assert f"{old.stem}.png: its caption is not UTF-8; write it anew" in told["told"]
    address = f"/datasets/{dataset_id}/pictures/{unread}/caption"
    kept = f".left-out/not-utf-8/{old.name}"
    code, told = send(visitor, address, caption="cat", seen="")
    assert (code, told["captions"]) == (200, {str(unread): "cat"})
    assert f"is kept as {kept}" in told["told"]
    for way, now in (("undo", "кіт".encode("cp1251")), ("redo", b"cat\n")):
        code, told = send(visitor, f"/datasets/{dataset_id}/{way}", edit=told[way]["edit"])
        assert (code, old.read_bytes()) == (200, now)
        assert (folder / kept).is_file() is (way == "redo")
    old.write_bytes("пес".encode("cp1251"))
    visitor.post(f"/datasets/{dataset_id}/look")
    work(store)
    code, told = send(visitor, address, caption="dog", seen="")
    assert f"{old.stem}-2.txt" in told["told"], "as often as it is found so"
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    datasets_asides.leave_out(store, dataset, [unread])
    assert {each.name for each in (folder / ".left-out").iterdir() if each.is_file()} == {old.name, f"{old.stem}.png"}
