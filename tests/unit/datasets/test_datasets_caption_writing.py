"""Captions written beside their pictures, and read back as training reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fedflow.datasets import read_folder
from fedflow.datasets.caption_writing import write_caption
from fedflow.errors import DatasetError, StorageError


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.b.png")
    return tmp_path / "a.b.png"


def read(picture: Path) -> str:
    (found,) = read_folder(picture.parent, 8).pictures
    return found.caption


def test_a_new_file_counts_more_than_metadata(picture: Path) -> None:
    (picture.parent / "metadata.jsonl").write_text('{"file_name": "a.b.png", "text": "old"}\n')
    assert read(picture) == "old"
    assert write_caption(picture, "red,\n cat <b>\u05d0</b>") == picture.with_name("a.b.txt")
    assert read(picture) == "red, cat <b>\u05d0</b>"


@pytest.mark.parametrize("there", [["a.b.txt"], ["a.b.caption"], ["a.b.TXT"], ["a.b.txt", "a.b.caption"]])
def test_the_file_that_counts_is_replaced(picture: Path, there: list[str]) -> None:
    for name in there:
        (picture.parent / name).write_text(name)
    write_caption(picture, "new")
    assert read(picture) == "new"
    assert (picture.parent / there[0]).read_text() == "new\n"
    assert sorted(path.name for path in picture.parent.iterdir()) == sorted([*there, picture.name])


def test_what_cannot_be_written(picture: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.b\.png: the caption holds half of a character"):
        write_caption(picture, "\ud800")
    (picture.parent / "file").write_text("")
    with pytest.raises(StorageError, match=r"c\.txt: a part of its path is a file"):
        write_caption(picture.parent / "file" / "c.png", "x")
