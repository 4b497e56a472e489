"""The check of a dataset: what it finds, how it is told, and duplicates left out; thumbnails that are kept."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.datasets_support import demo_pictures, taken_in, work

from fedflow.client.pages.datasets_words import reasons
from fedflow.client.pages.faults import reason
from fedflow.client.services import datasets, datasets_asides, datasets_check, datasets_undo, jobs, thumbnails
from fedflow.client.store import Store
from fedflow.errors import DatasetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures; one is there twice, one again a little smaller, one very wide with somebody's address."""
    made = tmp_path / "icons"
    pictures = demo_pictures(made, 4)
    shutil.copy(pictures[1], made / "twice.png")
    (made / "twice.txt").write_text("again", encoding="utf-8")
    Image.open(pictures[2]).convert("RGB").resize((128, 128)).save(made / "near.png")
    (made / "near.txt").write_text("near", encoding="utf-8")
    Image.new("RGB", (900, 200), "red").save(made / "wide.png")
    (made / "wide.txt").write_text("by Olena Bondar, write to olena@example.org", encoding="utf-8")
    return made


@pytest.fixture
def checked(store: Store, visitor: Visitor, folder: Path) -> str:
    dataset_id = taken_in(store, folder)
    address = f"/datasets/{dataset_id}/check"
    assert "Not checked yet" in visitor.client.get(address).text
    assert visitor.post(address).status_code == 303
    assert work(store) == [(jobs.DONE, "")]
    return address


def test_each_part_shows_what_was_found(visitor: Visitor, checked: str) -> None:
    def part(name: str) -> str:
        return visitor.client.get(f"{checked}?part={name}").text

    assert "twice.png" in part("same")
    assert "near.png" in part("near")
    assert re.search(r"Likeness (100|9\d)%", part("near"))
    assert "is very wide (900x200); its middle square is seen" in part("remarks")
    personal = part("personal")
    assert "olena@example.org" in personal
    assert "e-mail address" in personal
    assert "Every file in the folder can be used." in part("problems")
    figures = part("figures")
    assert figures.count('<div class="chart"><svg') == 3
    assert "Captions with each tag" in figures
    assert "{title}" not in figures
    assert "style=" not in figures
    assert "768x320" in figures
    aspects = "<dd>1 \N{EN DASH} 1 \N{EN DASH} 4.5</dd>"
    assert aspects in figures
    in_ukrainian = visitor.client.get(f"{checked}?part=figures", headers={"Accept-Language": "uk"}).text
    assert aspects.replace(".", ",") in in_ukrainian
    assert re.search(r"<dd>\d+\.\d", in_ukrainian) is None


def test_what_nobody_has_looked_for_has_no_number(store: Store, visitor: Visitor, folder: Path) -> None:
    dataset_id = datasets.add(store, str(folder))
    address = f"/datasets/{dataset_id}/check"

    def numbers() -> dict[str, str]:
        page = visitor.client.get(address).text
        return dict(re.findall(r'>([A-Z][^<]+)<span class="count">(\d+)</span>', page))

    assert numbers() == {}
    assert "Not looked at yet" in visitor.client.get(f"{address}?part=problems").text
    work(store)
    assert numbers() == {"Cannot be used": "0"}
    assert "Not checked yet" in visitor.client.get(f"{address}?part=personal").text
    visitor.post(address)
    busy = visitor.client.get(address).text
    assert "Being checked" in busy
    assert "Check now" not in busy
    work(store)
    assert numbers()["Personal data"] == "1"
    assert "Check again" in visitor.client.get(address).text


def test_names_are_looked_for_once_they_are_listed(store: Store, visitor: Visitor, checked: str) -> None:
    assert "Olena Bondar" not in visitor.client.get(f"{checked}?part=personal").text
    dataset_id = checked.split("/")[2]
    visitor.post(f"/datasets/{dataset_id}/people", people="olena bondar\n\n olena  bondar \n")
    assert work(store) == [(jobs.DONE, "")]
    assert "<bdi>Olena Bondar</bdi>" in visitor.client.get(f"{checked}?part=personal").text
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    assert dataset.people == ["olena bondar"]


def test_a_duplicate_is_left_out_and_brought_back(store: Store, visitor: Visitor, folder: Path, checked: str) -> None:
    dataset_id = checked.split("/")[2]
    before = datasets.lines(store, dataset_id)
    [number] = [each.id for each in before if each.path == "twice.png"]
    visitor.post(f"/datasets/{dataset_id}/leave-out", picture=str(number), part="same")
    assert not (folder / "twice.png").exists()
    assert (folder / ".left-out" / "twice.png").is_file()
    assert (folder / ".left-out" / "twice.txt").read_text() == "again"
    page = visitor.client.get(f"{checked}?part=same").text
    assert "No picture is in the folder twice." in page
    assert "leave out twice.png" in page
    datasets.look_again(store, dataset_id)
    work(store)
    assert len(datasets.lines(store, dataset_id)) == len(before) - 1, "nothing reads it there"
    edit = page.split('name="edit" value="')[1].split('"')[0]
    visitor.post(f"/datasets/{dataset_id}/undo", edit=edit, next=checked)
    assert datasets.lines(store, dataset_id) == before
    assert (folder / "twice.txt").read_text() == "again"
    assert not (folder / ".left-out").exists()
    visitor.post(f"/datasets/{dataset_id}/leave-out", part="same")
    assert [each.path for each in before if each not in datasets.lines(store, dataset_id)] == ["twice.png"]
    visitor.post(f"/datasets/{dataset_id}/undo", edit=str(int(edit) + 1), next=checked)
    assert datasets.lines(store, dataset_id) == before
    edit = str(int(edit) + 1)
    (folder / "twice.png").unlink()
    visitor.post(f"/datasets/{dataset_id}/redo", edit=edit, next=checked)
    assert "twice.png: is not there any more" in visitor.client.get(checked).text
    assert (folder / "twice.txt").read_text() == "again", "all or none"


def test_the_folder_of_what_is_left_out_goes_with_the_last_that_comes_back(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "icons"
    demo_pictures(folder, 2)
    shutil.copytree(folder, folder / "more" / "deep")
    dataset = datasets.one(store, taken_in(store, folder))
    assert dataset is not None
    number = {each.path: each.id for each in datasets.lines(store, dataset.id)}
    deep, flat = [path for path in number if path.startswith("more/")], [path for path in number if "/" not in path]
    first = datasets_asides.leave_out(store, dataset, [number[flat[0]]])
    second = datasets_asides.leave_out(store, dataset, [number[path] for path in deep])
    datasets_undo.undo(store, dataset, second)
    left = {path.name for path in (folder / ".left-out").iterdir()}
    assert left == {flat[0], flat[0].replace(".png", ".txt")}
    assert (folder / deep[0]).is_file()
    datasets_undo.undo(store, dataset, first)
    assert not (folder / ".left-out").exists()


def test_what_was_left_out_comes_back_beside_what_came_meanwhile(store: Store, folder: Path, checked: str) -> None:
    dataset = datasets.one(store, checked.split("/")[2])
    assert dataset is not None
    newest = max(datasets.lines(store, dataset.id), key=lambda each: each.id)
    edit_id = datasets_asides.leave_out(store, dataset, [newest.id])
    shutil.copy(folder / "twice.png" if newest.path != "twice.png" else folder / "near.png", folder / "new.png")
    (folder / "new.txt").write_text("new", encoding="utf-8")
    datasets.look_again(store, dataset.id)
    assert work(store) == [(jobs.DONE, "")]
    datasets_undo.undo(store, dataset, edit_id)
    assert {newest.path, "new.png"} <= {each.path for each in datasets.lines(store, dataset.id)}
    datasets_undo.redo(store, dataset, edit_id)
    assert newest.path not in {each.path for each in datasets.lines(store, dataset.id)}
    shutil.copy(folder / ".left-out" / newest.path, folder / newest.path)
    datasets.look_again(store, dataset.id)
    work(store)
    with pytest.raises(DatasetError, match="a file of that name lies there already"):
        datasets_undo.undo(store, dataset, edit_id)
    assert (folder / ".left-out" / newest.path).is_file()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("is broken (truncated); replace it or remove it", "is broken (truncated); replace it or remove it"),
        ("has no caption; write its tags into a.txt in the same folder",) * 2,
        ("of another kind", "of another kind"),
        (
            "is too large (over 178 megapixels, at most 64); scale it down",
            "is too large (more than 178 megapixels, at most 64); scale it down",
        ),
    ],
)
def test_reasons_are_known_or_stay_as_they_are(visitor: Visitor, said: str, told: str) -> None:
    with visitor.client.application.test_request_context():
        assert reason(said) == told


def test_two_reasons_of_one_picture_are_both_told(visitor: Visitor) -> None:
    both = "is an empty file; replace it or remove it; has no caption; write its tags into a.txt in the same folder"
    with visitor.client.application.test_request_context(headers={"Accept-Language": "en"}):
        assert reasons(both) == both


def test_thumbnails_are_kept_up_to_a_size(store: Store, folder: Path) -> None:
    pictures = sorted(folder.glob("*.png"))
    first = [thumbnails.small(store, picture) for picture in pictures]
    place = store.folder / thumbnails.FOLDER
    kept = sorted(place.glob("*/*.webp"))
    assert len(kept) == len(pictures)
    kept[0].write_bytes(b"kept")
    assert b"kept" in [thumbnails.small(store, picture) for picture in pictures]
    Image.new("RGB", (64, 64), "blue").save(pictures[0])
    assert thumbnails.small(store, pictures[0]) != first[0], "a picture that has changed is another"
    total = sum(path.stat().st_size for path in place.glob("*/*.webp"))
    thumbnails.prune(place, total)
    assert len(list(place.glob("*/*.webp"))) == len(pictures) + 1
    thumbnails.prune(place, total - 1)
    left = list(place.glob("*/*.webp"))
    assert sum(path.stat().st_size for path in left) <= total * 4 // 5
    assert left


@pytest.mark.parametrize(
    ("asked", "shown", "unit", "size"),
    [("", "512x512", 64, 512), ("64", "64x64", 8, 64), ("256", "256x256", 64, 256)],
)
def test_buckets_are_those_of_the_size_that_is_asked_for(
    visitor: Visitor, checked: str, asked: str, shown: str, unit: int, size: int
) -> None:
    page = visitor.client.get(f"{checked}?part=figures&size={asked}").text
    assert f"Sides are multiples of {unit} pixels, and no area is larger than {size} x {size}." in page
    assert shown in page
    assert f'value="{size}"' in page


def test_buckets_hold_the_pictures_that_can_be_used(store: Store, checked: str, folder: Path) -> None:
    dataset_id = checked.split("/")[2]
    (folder / "near.txt").unlink()
    datasets.look_again(store, dataset_id)
    assert work(store) == [(jobs.DONE, "")]
    dataset = datasets.one(store, dataset_id)
    assert dataset is not None
    usable = [each for each in datasets.lines(store, dataset_id) if not each.problem]
    assert len(usable) < len(datasets.lines(store, dataset_id))
    assert sum(each.num_pictures for each in datasets_check.buckets(store, dataset, 64)) == len(usable)


def test_a_size_that_no_training_takes_is_said_beside_its_field(visitor: Visitor, checked: str) -> None:
    for asked in ("8", "4000", "many", "-64"):
        page = visitor.client.get(f"{checked}?part=figures&size={asked}").text
        assert "Write a whole number from 16 to 2,048." in page
