"""Pictures brought through the browser, as files and as a zip, and automatic tags."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.datasets_support import captions, demo_pictures, taken_in, work

from fedflow.client.services import datasets, datasets_edits, datasets_uploads, jobs
from fedflow.client.store import Store
from fedflow.errors import DatasetError


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    return demo_pictures(tmp_path / "icons", 3)


def bring(visitor: Visitor, files: list[tuple[str, bytes]], name: str = "", where: str = "upload"):  # type: ignore[no-untyped-def]
    data: dict[str, Any] = {
        "csrf_token": visitor.token(),
        "name": name,
        "files": [(io.BytesIO(content), called) for called, content in files],
    }
    return visitor.client.post(f"/datasets/{where}", data=data, headers={"Accept": "application/json"})


def zip_of(files: list[tuple[str, bytes]]) -> bytes:
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files:
            zipped.writestr(name, content)
    return place.getvalue()


def contents(pictures: list[Path]) -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for each in pictures for path in (each, each.with_suffix(".txt"))]


def test_pictures_are_taken_into_a_folder_of_the_apps_own(store: Store, visitor: Visitor, pictures: list[Path]) -> None:
    answer = bring(visitor, [*contents(pictures), ("notes.docx", b"none")], "My icons")
    assert answer.json is not None
    assert work(store) == [(jobs.DONE, "")]
    page = visitor.client.get(answer.json["place"]).text
    assert "1 file was left out" in page
    assert "1 file cannot be used as it is." in page
    [line] = datasets.listed(store)
    folder = Path(line.dataset.folder)
    assert folder == store.folder.resolve() / "datasets" / "My icons"
    assert (line.pictures, line.problems) == (3, 1), "one number in the list and on the page"
    page = visitor.client.get(f"/datasets/{line.dataset.id}?problems=").text
    assert re.search(r"notes.docx <span[^>]*>was left out, as it is neither", page)
    bring(visitor, contents(pictures), "My icons")
    assert sorted(each.dataset.name for each in datasets.listed(store)) == ["My icons", "My icons 2"]
    visitor.post(f"/datasets/{line.dataset.id}/remove")
    assert not folder.exists(), "what is the app's own goes with the dataset"


def test_no_two_datasets_are_called_the_same(
    store: Store, visitor: Visitor, pictures: list[Path], tmp_path: Path
) -> None:
    first = datasets.add(store, str(pictures[0].parent))
    bring(visitor, contents(pictures), "icons")
    (tmp_path / "other").mkdir()
    datasets.add(store, str(demo_pictures(tmp_path / "other" / "icons", 1)[0].parent))
    assert [each.dataset.name for each in datasets.listed(store)] == ["icons", "icons 2", "icons 3"]
    refused = visitor.post(f"/datasets/{first}/name", name="icons 2")
    assert (refused.status_code, "“icons 2” is taken. Choose another name." in refused.text) == (422, True)
    assert visitor.post(f"/datasets/{first}/name", name="icons").status_code == 303, "its own"


def test_more_pictures_go_into_a_dataset_of_the_apps_own_alone(
    store: Store, visitor: Visitor, pictures: list[Path], tmp_path: Path
) -> None:
    bring(visitor, contents(pictures[:1]), "Mine")
    [line] = datasets.listed(store)
    where = f"{line.dataset.id}/upload"
    assert bring(visitor, contents(pictures[1:2]), where=where).json == {"place": f"/datasets/{line.dataset.id}"}
    other = [(pictures[1].name, pictures[0].read_bytes())]
    again = bring(visitor, other, where=where)
    assert again.status_code == 422
    assert "is in the dataset already" in str(again.json)
    bring(visitor, [("rest.zip", zip_of(contents(pictures[2:])))], where=where)
    assert {status for status, _ in work(store)} == {jobs.DONE}
    assert [each.path for each in datasets.lines(store, line.dataset.id)] == sorted(each.name for each in pictures)
    bring(visitor, [("rest.zip", zip_of([*contents(pictures[2:]), *other]))], where=where)
    assert work(store)[-1][0] == jobs.REFUSED
    page = visitor.client.get(f"/datasets/{line.dataset.id}").text
    assert "is in the dataset already" in page
    assert '/resume"' not in page
    assert "Put aside" in page
    assert len(datasets.lines(store, line.dataset.id)) == 3
    others = taken_in(store, tmp_path / "icons")
    assert bring(visitor, contents(pictures), where=f"{others}/upload").status_code == 404


def test_a_thousand_files_come_without_scripts_too(store: Store, visitor: Visitor) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "PNG")
    each = (("png", picture.getvalue()), ("txt", b"cat"))
    files = [(f"{number}.{kind}", content) for number in range(600) for kind, content in each]
    assert bring(visitor, files, "Many").status_code == 200
    assert work(store) == [(jobs.DONE, "")]
    assert [line.pictures for line in datasets.listed(store)] == [600]


def test_a_zip_is_unpacked_by_the_worker(store: Store, visitor: Visitor, pictures: list[Path]) -> None:
    files = [*contents(pictures), ("a/pho\u0308ne.heic", b"none"), ("Thumbs.db", b"none")]
    answer = bring(visitor, [("Nice set.zip", zip_of(files))])
    assert answer.json is not None
    [line] = datasets.listed(store)
    assert (line.dataset.name, line.pictures) == ("Nice set", 0)
    assert work(store) == [(jobs.DONE, "")]
    assert len(datasets.lines(store, line.dataset.id)) == 3
    assert list((store.folder / "incoming").iterdir()) == []

    def left_out() -> list[str]:
        [line] = datasets.listed(store)
        return [name for name, _ in line.dataset.other_problems]

    assert left_out() == ["Thumbs.db", "a/phöne.heic"]
    bring(visitor, [("a/phöne.png", pictures[0].read_bytes())], where=f"{line.dataset.id}/upload")
    assert work(store) == [(jobs.DONE, "")]
    assert left_out() == ["Thumbs.db"], "what came as a picture after all is told no more"
    visitor.post(f"/datasets/{line.dataset.id}/look")
    assert work(store) == [(jobs.DONE, "")]
    assert left_out() == [], "nor what its owner has seen"


def test_a_dataset_that_is_taken_out_while_its_zip_is_unpacked_leaves_nothing(
    store: Store, visitor: Visitor, pictures: list[Path]
) -> None:
    bring(visitor, [("Set.zip", zip_of(contents(pictures)))])
    [line], [job_id] = datasets.listed(store), jobs.waiting(store)
    job = jobs.claim(store, job_id)
    assert job is not None
    datasets.remove(store, line.dataset.id)
    bring(visitor, [("Set.zip", zip_of(contents(pictures)))])
    [another] = datasets.listed(store)
    assert another.dataset.folder != line.dataset.folder, "the first may still come into being"
    with pytest.raises(DatasetError, match="taken out meanwhile"):
        datasets_uploads.unpack(store, job, line.dataset)
    assert not Path(line.dataset.folder).exists()
    assert len(list((store.folder / jobs.INCOMING).iterdir())) == 1


def test_what_is_brought_before_a_zip_is_unpacked_does_not_pass_for_it(
    store: Store, visitor: Visitor, pictures: list[Path]
) -> None:
    bring(visitor, [("Set.zip", zip_of(contents(pictures[1:])))])
    [line] = datasets.listed(store)
    [job_id] = jobs.waiting(store)
    visitor.post(f"/activity/{job_id}/stop")
    page = visitor.client.get(f"/datasets/{line.dataset.id}").text
    assert "Its zip is not unpacked yet." in page
    assert f"/activity/{job_id}/resume" in page
    assert "Bring more pictures" not in page
    more, where = contents(pictures[:1]), f"{line.dataset.id}/upload"
    for files in (more, [("more.zip", zip_of(more))]):
        refused = bring(visitor, files, where=where)
        assert refused.status_code == 422
        assert "is not unpacked yet; have that done" in str(refused.json)
    jobs.resume(store, job_id)
    assert work(store) == [(jobs.DONE, "")]
    assert bring(visitor, more, where=where).status_code == 200
    assert work(store) == [(jobs.DONE, "")]
    assert len(datasets.lines(store, line.dataset.id)) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from fedflow.client.services import jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import open_store
from fedflow.client.worker.main import carry_out

store, moved = open_store(Path(sys.argv[1])), 0

def watch(name, arguments):
    global moved
    if name == "os.rename" and ".incoming" in str(arguments[0]):
        moved += 1
        if moved == 3:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
[job_id] = jobs.waiting(store)
carry_out(store, ClientSettings(folder=store.folder), job_id)
"""
"""A worker that is killed when it has moved two files of a zip into a dataset."""


def test_a_worker_killed_while_it_moves_a_zips_files_goes_on_with_the_rest(
    store: Store, visitor: Visitor, pictures: list[Path]
) -> None:
    bring(visitor, contents(pictures[:1]), "Mine")
    assert work(store) == [(jobs.DONE, "")]
    [line] = datasets.listed(store)
    folder = Path(line.dataset.folder)
    bring(visitor, [("rest.zip", zip_of(contents(pictures[1:])))], where=f"{line.dataset.id}/upload")
    [job_id] = jobs.waiting(store)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(store.folder)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len([path for path in folder.iterdir() if path.is_file()]) == 2 + 2
    jobs.bury(store)
    jobs.resume(store, job_id)
    assert work(store) == [(jobs.DONE, "")]
    assert len(datasets.lines(store, line.dataset.id)) == 3
    assert [(path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file()] == sorted(
        contents(pictures)
    )
    assert list((store.folder / "incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nonsense", "The zip is no zip, or broken"),
        (zip_of([("../a.png", b"x")]), "leads out of the folder"),
        (zip_of([("a.png", bytes(150_000_000))]), "which pictures do not"),
        (zip_of([("a.doc", b"x")]), "no picture and no caption is in it"),
        (zip_of([("a.txt", b"a cat")]), "no picture is in it"),
    ],
    ids=["no zip", "leads out", "a bomb", "nothing in it", "captions alone"],
)
def test_a_zip_that_means_harm_is_refused_in_words_and_leaves_no_dataset(
    store: Store, visitor: Visitor, content: bytes, said: str
) -> None:
    answer = bring(visitor, [("evil.zip", content)])
    assert answer.json is not None
    place = answer.json["place"]
    [(status, _)] = work(store)
    assert status == jobs.REFUSED
    assert datasets.listed(store) == []
    assert list((store.folder / "incoming").iterdir()) == []
    assert not (store.folder / "datasets").exists() or list((store.folder / "datasets").iterdir()) == []
    led = visitor.client.get(place)
    assert (led.status_code, led.location) == (303, "/datasets")
    part = visitor.client.get(place, headers={"HX-Request": "true"})
    assert (part.headers["HX-Redirect"], part.data) == ("/datasets", b"")
    for address in ("/datasets", "/activity"):
        page = visitor.client.get(address).text
        assert "evil" in page
        assert said.lower() in page.lower()
        assert '/resume"' not in page
    [job] = jobs.listed(store, 9)
    visitor.post(f"/activity/{job.id}/resume")
    assert jobs.waiting(store) == [], "what cannot succeed is not tried again"
    visitor.post(f"/activity/{job.id}/aside", next="/datasets")
    assert "evil" not in visitor.client.get("/datasets").text
    activity = visitor.client.get("/activity").text
    assert said.lower() in activity.lower()
    assert '/aside"' not in activity
    assert visitor.client.get(place).status_code == 404


def test_a_zip_that_is_no_longer_kept_is_refused_too(store: Store, visitor: Visitor, pictures: list[Path]) -> None:
    bring(visitor, [("a.zip", zip_of(contents(pictures)))])
    for each in (store.folder / "incoming").iterdir():
        each.unlink()
    [(status, _)] = work(store)
    assert (status, datasets.listed(store)) == (jobs.REFUSED, [])
    assert "The zip is no longer kept; bring it once more." in visitor.client.get("/datasets").text


def test_what_cannot_be_taken_is_said_at_once(store: Store, visitor: Visitor, pictures: list[Path]) -> None:
    for files, said in (
        ([], "no picture and no caption is in it"),
        ([("a.doc", b"x")], "no picture and no caption is in it"),
        ([("a.txt", b"a cat")], "no picture is in it; give PNG or JPEG files"),
        ([("a.zip", b"x"), *contents(pictures)], "zip comes alone"),
        ([("../../a.png", b"x")], "leads out of the folder"),
    ):
        answer = bring(visitor, files)
        assert answer.status_code == 422
        assert answer.json is not None
        assert said.lower() in answer.json["told"].lower()
    assert datasets.listed(store) == []


def test_tags_are_written_as_one_change(store: Store, visitor: Visitor, pictures: list[Path]) -> None:
    folder = pictures[0].parent
    pictures[0].with_suffix(".txt").unlink()
    before = captions(folder)
    dataset_id = taken_in(store, folder)
    address = f"/datasets/{dataset_id}/tags"
    assert "1 of 3 pictures have no caption" in visitor.client.get(address).text
    visitor.post(address, tagger="icons-v1", threshold="0.2", write="add")
    assert work(store) == [(jobs.DONE, "")]
    after = captions(folder)
    assert len(after) == 3
    assert all(after[name].startswith(caption) for name, caption in before.items())
    assert after != before
    page = visitor.client.get(address).text
    assert "with icons-v1" in page
    step = datasets_edits.undoable(store, dataset_id)
    assert step is not None
    visitor.post(f"/datasets/{dataset_id}/undo", edit=str(step.id))
    assert captions(folder) == before


@pytest.mark.parametrize(
    ("tagger", "threshold", "said"),
    [
        ("broken/model.onnx", "", "is not there; it comes with the tagger"),
        ("icons-v1", "1", "the tagger has found nothing to write; try a lower threshold"),
    ],
)
def test_a_tagging_that_fails_says_what_to_do(
    store: Store, visitor: Visitor, pictures: list[Path], tagger: str, threshold: str, said: str
) -> None:
    if "/" in tagger:
        tagger = str(store.folder / tagger)
        Path(tagger).parent.mkdir()
        Path(tagger).write_bytes(b"no model")
    dataset_id = taken_in(store, pictures[0].parent)
    address = f"/datasets/{dataset_id}/tags"
    assert visitor.post(address, tagger=tagger, threshold=threshold, write="replace").status_code == 303
    [(status, _)] = work(store)
    assert status == jobs.FAILED
    page = visitor.client.get(address).text
    assert "Nothing was written" in page
    assert said in page.lower()
    assert f'value="{tagger}"' in page, "what was asked for is there to be mended"


@pytest.mark.parametrize(
    ("tagger", "said"),
    [
        ("zebra", "is no tagger; give the path"),
        ("/none/model.onnx", "/none/model.onnx: no such file; give a tagger"),
        ("/none", "/none: no such file; give a tagger"),
        ("/usr", "/usr: holds no model.onnx; give a tagger"),
    ],
)
def test_a_tagger_that_is_not_there_is_said_beside_its_field(
    store: Store, visitor: Visitor, pictures: list[Path], tagger: str, said: str
) -> None:
    dataset_id = taken_in(store, pictures[0].parent)
    answer = visitor.post(f"/datasets/{dataset_id}/tags", tagger=tagger, threshold="", write="add")
    assert answer.status_code == 422
    assert said in re.search(r'id="f-tagger-error">(.*?)</p>', answer.text, re.DOTALL)[1]  # type: ignore[index]
    assert f'value="{tagger}"' in answer.text
    assert jobs.waiting(store) == []


def test_a_dataset_is_tagged_once_at_a_time(store: Store, visitor: Visitor, pictures: list[Path]) -> None:
    dataset_id = taken_in(store, pictures[0].parent)
    address = f"/datasets/{dataset_id}/tags"
    form = {"tagger": "icons-v1", "threshold": "0.2", "write": "add"}
    assert visitor.post(address, **form).status_code == 303
    [waits] = jobs.waiting(store)
    refused = visitor.post(address, **form)
    assert refused.status_code == 422
    assert "is being tagged, or waits for it; ask again when that is done." in refused.text
    assert jobs.waiting(store) == [waits]
    visitor.post(f"/activity/{waits}/stop")
    assert visitor.post(address, **form).status_code == 303


def test_a_threshold_that_is_none_is_said_beside_its_field(
    store: Store, visitor: Visitor, pictures: list[Path]
) -> None:
    dataset_id = taken_in(store, pictures[0].parent)
    answer = visitor.post(f"/datasets/{dataset_id}/tags", tagger="icons-v1", threshold="7", write="add")
    assert answer.status_code == 422
    assert "Must be at most 1" in answer.text
    assert jobs.waiting(store) == []
