"""Datasets on their pages: a folder taken in, its pictures looked at, its captions changed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tests.unit.client_app.conftest import Visitor

from fedflow.client.services import datasets, jobs, trainings
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import carry_out
from fedflow.errors import MistakeError
from fedflow.shipped import demo_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six demo pictures, one of which has no caption, one broken, and a file that is none."""
    made = tmp_path / "icons"
    made.mkdir()
    for picture in sorted((demo_folder() / "client-1").glob("*.png"))[:6]:
        for path in (picture, picture.with_suffix(".txt")):
            shutil.copy(path, made / path.name)
    first, second = sorted(made.glob("*.png"))[:2]
    first.with_suffix(".txt").unlink()
    second.write_bytes(second.read_bytes()[:200])
    (made / "notes.docx").write_bytes(b"none")
    return made


def look(store: Store) -> None:
    for job_id in jobs.waiting(store):
        carry_out(store, ClientSettings(folder=store.folder), job_id)
        job = jobs.one(store, job_id)
        assert job is not None
        assert job.status == jobs.DONE, job.message


@pytest.fixture
def dataset_id(store: Store, visitor: Visitor, folder: Path) -> str:
    answer = visitor.post("/datasets", folder=str(folder))
    assert answer.status_code == 303
    look(store)
    return str(answer.location).rpartition("/")[2]


def test_a_folder_is_shown_with_its_tags_and_what_cannot_be_used(visitor: Visitor, dataset_id: str) -> None:
    page = visitor.client.get(f"/datasets/{dataset_id}").text
    assert page.count('id="p-') == 6
    assert "3 files cannot be used as they are." in page
    assert re.search(r"fluent_style</bdi> <span class=\"count\">5<", page)
    faulty = visitor.client.get(f"/datasets/{dataset_id}?problems").text
    for reason in ("has no caption", "is broken", "is not a picture"):
        assert reason in faulty
    of_tag = visitor.client.get(f"/datasets/{dataset_id}?tag=bowling").text
    assert of_tag.count('id="p-') == 1
    assert "No caption or file name holds this." in visitor.client.get(f"/datasets/{dataset_id}?text=zebra").text


def test_a_caption_is_written_beside_its_picture_and_the_picture_can_be_used(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    bare = datasets.pictures(store, dataset_id)[0]
    address = f"/datasets/{dataset_id}/pictures/{bare.id}"
    assert "Has no caption" in visitor.client.get(address).text
    assert visitor.post(address, caption="  ", seen="").status_code == 422
    assert visitor.post(address, caption="one, two  words", seen="").status_code == 303
    assert (folder / bare.path).with_suffix(".txt").read_text() == "one, two words\n"
    now = datasets.pictures(store, dataset_id)[0]
    assert (now.caption, now.problem) == ("one, two words", "")
    stale = visitor.post(address, caption="three", seen="")
    assert stale.status_code == 422
    assert "is now “one, two words”" in stale.text
    assert "three" in stale.text, "what was typed stays"
    visitor.post(f"/datasets/{dataset_id}/look")
    look(store)
    again = datasets.pictures(store, dataset_id)[0]
    assert (again.id, again.caption, again.problem) == (now.id, "one, two words", "")


def test_a_pictures_page_tells_of_its_file(store: Store, visitor: Visitor, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (1200, 300), "red").save(folder / "z.png", "JPEG", exif=exif)
    (folder / "z.txt").write_text("red")
    dataset_id = datasets.add(store, str(folder))
    look(store)
    bare, broken, *_, last = datasets.pictures(store, dataset_id)

    def told(number: int) -> list[str]:
        page = visitor.client.get(f"/datasets/{dataset_id}/pictures/{number}").text
        return re.findall(r"<dd>([^<]*)</dd>", page)

    assert told(last.id) == ["300 x 1,200 pixels", "JPEG", f"{(folder / 'z.png').stat().st_size / 1e6:.3f} MB", "used"]
    assert told(bare.id)[3] == "left out"
    assert told(broken.id) == ["not known", "PNG", "under 0.001 MB", "left out"]
    (folder / last.path).unlink()
    assert told(last.id)[:2] == ["300 x 1,200 pixels", "not known"]


def test_what_is_done_to_the_folder_is_seen_at_the_next_look(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    gone = datasets.pictures(store, dataset_id)[3]
    (folder / gone.path).unlink()
    address = f"/datasets/{dataset_id}/pictures/{gone.id}"
    assert visitor.client.get(f"{address}/small").mimetype == "image/svg+xml", "a frame in its place"
    refused = visitor.post(address, caption="x", seen=gone.caption)
    assert refused.status_code == 422
    assert "is not there any more" in refused.text
    visitor.post(f"/datasets/{dataset_id}/look")
    [job_id] = jobs.waiting(store)
    jobs.claim(store, job_id)
    assert "The folder is searched for pictures." in visitor.client.get("/activity").text
    jobs.note(store, job_id, 0, 6)
    assert "The folder is searched" not in visitor.client.get("/activity").text
    jobs.end(store, job_id, jobs.STOPPED)
    jobs.resume(store, job_id)
    look(store)
    assert gone.id not in {each.id for each in datasets.pictures(store, dataset_id)}
    assert visitor.client.get(address).status_code == 404
    shutil.rmtree(folder)
    visitor.post(f"/datasets/{dataset_id}/look")
    [job_id] = jobs.waiting(store)
    carry_out(store, ClientSettings(folder=store.folder), job_id)
    assert "is not there" in visitor.client.get("/activity").text
    assert len(datasets.pictures(store, dataset_id)) == 5, "nothing of what was known is lost"


def test_what_is_no_folder_is_said_beside_the_field(
    store: Store, visitor: Visitor, folder: Path, tmp_path: Path
) -> None:
    assert visitor.post("/datasets", folder=str(folder)).status_code == 303
    bare = tmp_path / "bare"
    (bare / ".hidden").mkdir(parents=True)
    shutil.copy(sorted(folder.glob("*.png"))[0], bare / ".hidden" / "a.png")
    (bare / "a.txt").write_text("a caption alone")
    for given, said in (
        ("", "whole path"),
        ("pictures", "whole path"),
        (str(tmp_path / "none"), "is no folder on this machine"),
        (str(bare), "holds no pictures"),
        (str(folder), "is here already"),
        (f"{folder}/../icons", "is here already"),
        (str(store.folder), "own folder"),
        ("/", "is the whole disk"),
    ):
        answer = visitor.post("/datasets", folder=given)
        assert answer.status_code == 422, given
        assert said in answer.text
    assert [line.dataset.name for line in datasets.listed(store)] == ["icons"]


def test_a_thumbnail_holds_nothing_but_the_picture(store: Store, visitor: Visitor, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    Image.new("RGB", (700, 300), "red").save(folder / "z.jpg", exif=exif)
    (folder / "z.txt").write_text("red")
    dataset_id = str(visitor.post("/datasets", folder=str(folder)).location).rpartition("/")[2]
    look(store)
    last = datasets.pictures(store, dataset_id)[-1]
    answer = visitor.client.get(f"/datasets/{dataset_id}/pictures/{last.id}/small")
    assert answer.mimetype == "image/webp"
    assert b"taken at home" not in answer.data


def test_captions_that_mean_harm_are_text(store: Store, visitor: Visitor, folder: Path) -> None:
    hostile = '<img src=x onerror=alert(1)>, "><script>alert(2)</script>, \N{RIGHT-TO-LEFT OVERRIDE}cat'
    bare = sorted(folder.glob("*.png"))[0]
    bare.with_suffix(".txt").write_text(hostile, encoding="utf-8")
    dataset_id = str(visitor.post("/datasets", folder=str(folder)).location).rpartition("/")[2]
    look(store)
    number = datasets.pictures(store, dataset_id)[0].id
    for page in (f"/datasets/{dataset_id}", f"/datasets/{dataset_id}/pictures/{number}"):
        text = visitor.client.get(page).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;img src=x" in text
    grid = visitor.client.get(f"/datasets/{dataset_id}").text
    assert "<bdi>\N{REPLACEMENT CHARACTER}cat</bdi>" in grid, "it is not turned, and says that it would be"


def test_a_dataset_is_called_otherwise(store: Store, visitor: Visitor, folder: Path, dataset_id: str) -> None:
    address = f"/datasets/{dataset_id}/name"
    assert visitor.post(address, name="  My   icons ").status_code == 303
    assert "<h1>My icons</h1>" in visitor.client.get(f"/datasets/{dataset_id}").text
    [line] = datasets.listed(store)
    assert (line.dataset.name, line.dataset.folder) == ("My icons", str(folder))
    for wrong in ("  ", "x" * 81):
        refused = visitor.post(address, name=wrong)
        assert refused.status_code == 422
        said = re.search(r'id="f-name-error">(.*?)</p>', refused.text, re.DOTALL)
        assert said is not None
        assert "Give a name of 1 to 80 characters." in said[1]
        assert f'value="{wrong}"' in refused.text
    assert datasets.listed(store)[0].dataset.name == "My icons"


def test_the_first_action_stands_in_the_empty_page_and_later_at_its_head(
    visitor: Visitor, store: Store, folder: Path
) -> None:
    empty = re.search(r'<div class="empty">.*?</div>\s*</div>', visitor.client.get("/datasets").text, re.DOTALL)
    assert empty is not None
    assert re.findall(r'class="button primary" href="([^"]+)"', empty[0]) == ["#f-files"]
    datasets.add(store, str(folder))
    page = visitor.client.get("/datasets").text
    assert re.findall(r'class="button primary" href="([^"]+)"', page) == ["#bring-title"]
    assert 'id="bring-title"' in page


def test_a_dataset_that_is_taken_out_leaves_its_folder(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str
) -> None:
    before = sorted(folder.iterdir())
    assert visitor.post(f"/datasets/{dataset_id}/remove").status_code == 303
    assert datasets.listed(store) == []
    assert visitor.client.get(f"/datasets/{dataset_id}").status_code == 404
    assert sorted(folder.iterdir()) == before


def test_a_folder_that_was_moved_is_told_and_found_again(
    store: Store, visitor: Visitor, folder: Path, dataset_id: str, tmp_path: Path
) -> None:
    page = f"/datasets/{dataset_id}"
    assert "Its folder is not where it was." not in visitor.client.get(page).text
    before = [(each.path, each.caption) for each in datasets.lines(store, dataset_id)]
    datasets.set_trigger(store, dataset_id, "icon_set")
    place = folder.rename(tmp_path / "elsewhere")
    told = visitor.client.get(page).text
    assert "Its folder is not where it was." in told
    assert "Not where it was" in visitor.client.get("/datasets").text
    with pytest.raises(MistakeError, match="dataset: its folder is not where it was"):
        trainings.ask(store, trainings.TrainRequest(dataset=dataset_id, name="x"))
    refused = visitor.post(f"{page}/folder", folder=str(tmp_path / "nowhere"))
    assert (refused.status_code, "is no folder on this machine" in refused.text) == (422, True)
    assert visitor.post(f"{page}/folder", folder=str(place)).status_code == 303
    look(store)
    assert "Its folder is not where it was." not in visitor.client.get(page).text
    assert "Not where it was" not in visitor.client.get("/datasets").text
    row = datasets.one(store, dataset_id)
    assert row is not None
    assert (row.folder, row.trigger) == (str(place), "icon_set")
    assert [(each.path, each.caption) for each in datasets.lines(store, dataset_id)] == before
