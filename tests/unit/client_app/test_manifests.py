"""Loose pictures that come as one file, and what the browser says of it, which is not believed."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.datasets_support import demo_pictures, work
from tests.unit.client_app.test_arrivals import PIECE, go_on
from tests.unit.client_app.test_datasets_uploads import contents
from tests.unit.client_app.test_shelving_uploads import SCRIPT, incoming

from fedflow.client.services import arrivals, datasets, jobs, manifests
from fedflow.client.store import Store
from fedflow.errors import MistakeError

Files = list[tuple[str, bytes]]


def manifest_of(files: Files) -> str:
    return json.dumps([[name, len(content), 1] for name, content in files])


def begin(visitor: Visitor, files: Files, dataset: str = "", manifest: str | None = None):  # type: ignore[no-untyped-def]
    content = b"".join(content for _, content in files)
    told = {"what": "pictures", "filename": files[0][0], "changed": "", "dataset": dataset}
    headers = {
        "Upload-Length": str(len(content)),
        "Upload-Metadata": ",".join(f"{key} {b64encode(text.encode()).decode()}" for key, text in told.items()),
        "X-CSRFToken": visitor.token(),
    }
    listed = manifest_of(files) if manifest is None else manifest
    return visitor.client.post("/arriving", data=content[: arrivals.BEGINNING_BYTES] + listed.encode(), headers=headers)


def sent(visitor: Visitor, files: Files, dataset: str = "", manifest: str | None = None) -> dict[str, Any]:
    """All of them, and the form behind them; what the app answers to it."""
    content = b"".join(content for _, content in files)
    answer = begin(visitor, files, dataset)
    assert answer.status_code == 201, answer.json
    at = int(answer.headers["Upload-Offset"])
    while at < len(content):
        at = int(go_on(visitor, answer.location, at, content[at : at + PIECE]).headers["Upload-Offset"])
    form = {"csrf_token": visitor.token(), "arrived": answer.location.rsplit("/", 1)[-1]}
    form["manifest"] = manifest_of(files) if manifest is None else manifest
    where = f"{dataset}/upload" if dataset else "upload"
    return dict(visitor.client.post(f"/datasets/{where}", data=form, headers=SCRIPT).json)


def test_a_file_is_cut_along_its_manifest(tmp_path: Path) -> None:
    place = tmp_path / "arrived"
    place.write_bytes(b"oneseven!")
    with manifests.cut(place, '[["a.png", 3, 1], ["empty.txt", 0, 1.5], ["b/c.png", 6, 1]]') as cut:
        assert [(name, stream.read(100), stream.read(100)) for name, stream in cut.streams()] == [
            ("a.png", b"one", b""), ("empty.txt", b"", b""), ("b/c.png", b"seven!", b""),
        ]  # fmt: skip


@pytest.mark.parametrize(
    "manifest",
    [
        "", "[", "{}", "7", "null", '["a.png"]', "[[]]", '[["a.png", 9]]', '[["a.png", 8, 1]]', '[["a.png", 10, 1]]',
        '[["a.png", -1, 1], ["b.png", 10, 1]]', '[["a.png", 9.0, 1]]', '[["a.png", true, 1], ["b.png", 8, 1]]',
        '[["a.png", "9", 1]]', '[[9, 9, 1]]', '[["a.png", 9, 1, 1]]', f'[["a.png", {"9" * 5000}, 1]]', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, manifest: str) -> None:
    place = tmp_path / "arrived"
    place.write_bytes(bytes(9))
    with pytest.raises(MistakeError, match="does not fit what was sent"), manifests.cut(place, manifest):
        pass


def test_loose_pictures_go_on_and_are_taken_in_as_files_are(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    files = [(f"set/{name}", content) for name, content in contents(demo_pictures(tmp_path / "icons", 3))]
    files += [("set/notes.docx", bytes(100_000)), ("set/.DS_Store", b"hidden")]
    first = begin(visitor, files)
    at = arrivals.BEGINNING_BYTES
    content = b"".join(content for _, content in files)
    assert go_on(visitor, first.location, at, content[at : at + 1000]).status_code == 204
    page = visitor.client.get("/datasets").text
    assert "6 pictures and captions" in page
    assert "Choose or drop the same files again, and they go on" in page
    again = begin(visitor, files)
    assert (again.location, int(again.headers["Upload-Offset"])) == (first.location, at + 1000)
    place = sent(visitor, files)["place"]
    assert work(store) == [(jobs.DONE, "")]
    [line] = datasets.listed(store)
    assert (line.dataset.name, line.pictures, incoming(store)) == ("set", 3, [])
    assert "1 file was left out" in visitor.client.get(place).text
    assert sorted(contents(sorted(Path(line.dataset.folder).rglob("*.png")))) == sorted(
        (name.removeprefix("set/"), content) for name, content in files[:6]
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["../../a.png"], "leads out of the folder"),
        (["/etc/a.png"], "leads out of the folder"),
        (["a.png", "a.png"], "the name stands there twice"),
        (["a.png", "A.PNG"], "the name stands there twice"),
        (["a\nb.png"], "the name holds control characters"),
    ],
)
def test_names_that_mean_harm_are_refused_and_nothing_is_kept(
    store: Store, visitor: Visitor, names: list[str], said: str
) -> None:
    assert said in sent(visitor, [(name, b"picture") for name in names])["told"]
    assert (datasets.listed(store), incoming(store)) == ([], [])
    own = datasets.own_folders(store)
    assert not own.exists() or list(own.iterdir()) == []


def test_another_manifest_than_that_of_before_is_measured_too(store: Store, visitor: Visitor) -> None:
    assert "does not fit what was sent" in sent(visitor, [("a.png", b"picture")], manifest='[["a.png", 9, 1]]')["told"]
    assert datasets.listed(store) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([("notes.docx", b"x"), ("b.psd", b"x")], "No picture and no caption is in it"),
        ([("a.txt", b"x")], "No picture is in it"),
        ([("a.zip", b"x"), ("a.png", b"x")], "A zip comes alone"),
        ([(f"{number}.png", b"") for number in range(60_000)], "More than 50,000 files"),
        ([(f"{number}{'x' * 10_000}.png", b"") for number in range(1000)], "The names of the files are too long"),
    ],
    ids=["neither", "captions alone", "a zip among others", "60,000 names", "long names"],
)  # fmt: skip
def test_files_that_would_not_be_taken_are_refused_before_they_are_sent(
    store: Store, visitor: Visitor, files: Files, said: str
) -> None:
    answer = begin(visitor, files)
    assert (answer.status_code, incoming(store)) == (422, [])
    assert said in answer.json["told"]


def test_it_is_said_for_which_dataset_a_file_is(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    pictures = contents(demo_pictures(tmp_path / "icons", 2))
    sent(visitor, pictures[:2])
    assert work(store) == [(jobs.DONE, "")]
    [line] = datasets.listed(store)
    page = f"/datasets/{line.dataset.id}"
    rest = [*pictures[2:], ("c.txt", bytes(100_000))]
    first = begin(visitor, rest, line.dataset.id)
    assert "3 pictures and captions" in visitor.client.get(page).text
    listed = visitor.client.get("/datasets").text
    assert f'For the dataset <a href="{page}#bring-title">{line.dataset.name}</a>' in listed
    visitor.post(f"{page}/remove")
    assert "The dataset that it was for has been taken out" in visitor.client.get("/datasets").text
    assert "The dataset was taken out meanwhile" in begin(visitor, rest, line.dataset.id).json["told"]
    again = begin(visitor, rest)
    assert again.location == first.location, "the same files, now for a new dataset"
    assert "For a new dataset" in visitor.client.get("/datasets").text
    assert "place" in sent(visitor, rest)
