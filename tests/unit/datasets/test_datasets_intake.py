"""Files that a browser sends one by one, taken in whole or not at all."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from PIL import Image

from fedflow.datasets import read_folder
from fedflow.datasets.intake import Limits, take_files
from fedflow.errors import DatasetError, StorageError


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def files(*names: str) -> Iterator[tuple[str, IO[bytes]]]:
    return ((name, io.BytesIO(png() if name.lower().endswith("png") else b"cat")) for name in names)


def tree(folder: Path) -> list[str]:
    """Every file and folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def refused(folder: Path, *names: str, limits: Limits | None = None) -> str:
    """Why it was refused; that nothing changed is looked at here."""
    before = tree(folder.parent)
    with pytest.raises(DatasetError) as caught:
        take_files(files("good.png", *names), folder, limits)
    assert tree(folder.parent) == before
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_into_a_new_folder(tmp_path: Path) -> None:
    taken = take_files(files("set/a.png", "set/a.txt", "set\\b.PNG", "set/b.caption"), tmp_path / "new" / "data")
    assert tree(tmp_path) == ["new", "new/data"] + [f"new/data/{name}" for name in (
        "set", "set/a.png", "set/a.txt", "set/b.PNG", "set/b.caption")]  # fmt: skip
    assert [path.as_posix() for path in taken.files] == ["set/a.png", "set/a.txt", "set/b.PNG", "set/b.caption"]
    assert [picture.caption for picture in read_folder(tmp_path / "new" / "data", 8).pictures] == ["cat", "cat"]


def test_into_a_folder_with_pictures(tmp_path: Path) -> None:
    take_files(files("a.png", "a.txt"), tmp_path / "data")
    take_files(files("b.png", "sub/c.png", "sub/deep/d.png"), tmp_path / "data")
    take_files(files("sub/e.png"), tmp_path / "data")
    assert tree(tmp_path / "data") == [
        "a.png", "a.txt", "b.png", "sub", "sub/c.png", "sub/deep", "sub/deep/d.png", "sub/e.png",
    ]  # fmt: skip


def test_what_is_no_picture_is_left_out_and_told(tmp_path: Path) -> None:
    taken = take_files(files("a.png", "run.exe", "x/notes.pdf", "__MACOSX/a.png", ".hidden/b.png", "._a.png"), tmp_path)
    assert taken.left_out == ("run.exe", "x/notes.pdf")
    assert tree(tmp_path) == ["a.png"]


@pytest.mark.parametrize(
    "name",
    ["../a.png", "x/../../a.png", "/etc/a.png", "..\\a.png", "C:\\a.png", "\\\\server\\a.png", "", "./", "c:a.png"],
)
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    assert refused(tmp_path / "data", name).endswith(": leads out of the folder; pack the pictures anew")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a\0.png", "'a\\x00.png': the name holds control characters; rename it"),
        ("a\n.png", "'a\\n.png': the name holds control characters; rename it"),
        ("a\u202egnp.png", "'a\\u202egnp.png': the name holds control characters; rename it"),
        ("x" * 252 + ".png", "the name is too long; rename it"),
        ("/".join(["x" * 120] * 9) + ".png", "the name is too long; rename it"),
        ("1/2/3/4/5/6/7/8/9/a.png", "more than 8 folders deep"),
        ("GOOD.png", "GOOD.png: the name stands there twice"),
        ("good.png", "good.png: the name stands there twice"),
        ("good.png/b.png", "good.png/b.png: the name stands there twice"),
    ],
)
def test_names_that_are_not_taken(tmp_path: Path, name: str, words: str) -> None:
    assert words in refused(tmp_path / "data", name)


def test_a_file_above_another(tmp_path: Path) -> None:
    assert "twice" in refused(tmp_path / "data", "x.png/b.png", "X.PNG")


@pytest.mark.parametrize("name", ["a.png", "A.PNG", "a.png/b.png", "sub.png", "SUB.png/x.png"])
def test_what_is_there_stays(tmp_path: Path, name: str) -> None:
    take_files([("a.png", io.BytesIO(b"of the same name"))], tmp_path / "data")
    take_files(files("sub.png/c.png"), tmp_path / "data")
    assert refused(tmp_path / "data", name).endswith("such a file is in the folder already; rename or remove one")
    assert (tmp_path / "data" / "a.png").read_bytes() == b"of the same name"


def test_what_is_there_with_the_same_bytes_counts_as_taken(tmp_path: Path) -> None:
    take_files(files("a.png", "sub/b.png"), tmp_path / "data")
    before = (tmp_path / "data" / "a.png").stat().st_mtime_ns
    taken = take_files(files("a.png", "sub/b.png", "sub/c.png"), tmp_path / "data")
    assert [path.as_posix() for path in taken.files] == ["a.png", "sub/b.png", "sub/c.png"]
    assert tree(tmp_path / "data") == ["a.png", "sub", "sub/b.png", "sub/c.png"]
    assert (tmp_path / "data" / "a.png").stat().st_mtime_ns == before
    (tmp_path / "data" / "link.png").symlink_to("a.png")
    assert "leads through a link" in refused(tmp_path / "data", "link.png")


def test_not_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sub").symlink_to(tmp_path / "elsewhere")
    assert "leads through a link" in refused(tmp_path / "data", "sub/a.png")
    assert tree(tmp_path / "elsewhere") == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(files=2), "more than 2 files; take them in several parts"),
        (Limits(file_bytes=50), "good.png: is larger than 1 MB; scale the picture down"),
        (Limits(total_bytes=2 * len(png()) + 1), "more than 1 MB in all; take them in several parts"),
        (Limits(depth=0), "x/a.png: more than 0 folders deep"),
    ],
)
def test_limits(tmp_path: Path, limits: Limits, words: str) -> None:
    assert words in refused(tmp_path / "data", "b.png", "x/a.png", limits=limits)


def test_nothing_to_take(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no picture and no caption is in it"):
        take_files(files("a.exe"), tmp_path / "data")
    with pytest.raises(DatasetError, match="no picture is in it"):
        take_files(files("a.txt"), tmp_path / "data")
    assert tree(tmp_path) == []
    take_files(files("a.png"), tmp_path / "data")
    take_files(files("a.txt"), tmp_path / "data")


def test_a_stream_that_breaks_off(tmp_path: Path) -> None:
    class Cut(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise ConnectionResetError("gone")

    take_files(files("a.png"), tmp_path / "data")
    with pytest.raises((ConnectionResetError, StorageError)):
        take_files([*files("b.png"), ("c.png", Cut())], tmp_path / "data")
    assert tree(tmp_path) == ["data", "data/a.png"]


def test_a_file_that_comes_into_being_meanwhile(tmp_path: Path) -> None:
    """All that was moved by then goes back."""
    folder = tmp_path / "data"
    take_files(files("a.png"), folder)

    def late() -> Iterator[tuple[str, IO[bytes]]]:
        yield from files("b/1.png", "z.png")
        (folder / "z.png").write_bytes(b"mine")

    with pytest.raises(StorageError, match="a file of that name came into it meanwhile"):
        take_files(late(), folder)
    assert tree(folder) == ["a.png", "z.png"]
    assert (folder / "z.png").read_bytes() == b"mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o500)
    with pytest.raises(StorageError, match="cannot be written"):
        take_files(files("a.png"), tmp_path / "data")
    shutil.rmtree(tmp_path / "data")


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StorageError, match=r"data: cannot be written \(Not a directory\)"):
        take_files(files("a.png"), tmp_path / "data")
    assert tree(tmp_path) == ["data"]
