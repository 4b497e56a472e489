"""A folder's index: what it holds, what it opens again, what it says of odd pictures."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fedflow.datasets import read_folder
from fedflow.datasets.index import Entry, Index, Stamp, make_index
from fedflow.errors import DatasetError


def add(folder: Path, name: str, caption: str | None = "a_style, cat", size: tuple[int, int] = (80, 70)) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise(size, 40).convert("RGB").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def entry(index: Index, name: str) -> Entry:
    return next(entry for entry in index.entries if entry.path == Path(name))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good and bad, of every kind."""
    add(tmp_path, "sub/good.png")
    add(tmp_path, "b.jpg", None)
    add(tmp_path, "broken.png").write_bytes(b"x")
    add(tmp_path, "empty-caption.webp", " , ")
    add(tmp_path, "both.png", None).write_bytes(b"x")
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "b.jpg", "text": "from, metadata"}\nnot json\n')
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    return tmp_path


def test_it_agrees_with_what_training_reads(folder: Path) -> None:
    index, dataset = make_index(folder), read_folder(folder, 64)
    assert [
        (folder / each.path, each.caption, each.seen.width, each.seen.height) for each in index.usable if each.seen
    ] == [(each.path, each.caption, each.width, each.height) for each in dataset.pictures]
    there = {(folder / problem.path, problem.reason) for problem in index.problems}
    assert there >= {(problem.path, problem.reason) for problem in dataset.problems}
    assert {path.name for path, _ in there} == {
        "broken.png", "both.png", "empty-caption.txt", "notes.pdf", "metadata.jsonl", "link.png",
    }  # fmt: skip
    assert len(entry(index, "both.png").problems) == 2, "caption and picture"
    assert not any(problem.path.is_absolute() for problem in index.problems)


def test_what_an_entry_says(folder: Path) -> None:
    found = entry(make_index(folder), "sub/good.png")
    status = (folder / "sub/good.png").stat()
    assert found.stamp == Stamp(status.st_size, status.st_mtime_ns)
    assert (found.caption, found.caption_file) == ("a_style, cat", Path("sub/good.txt"))
    assert found.seen is not None
    assert (found.seen.width, found.seen.height, len(found.seen.pixels_sha256)) == (80, 70, 64)


def opened_while(action: object, folder: Path) -> set[str]:
    """Names of the folder's files that were read: their time of access moves, once it has been put far back."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    for path in files:
        os.utime(path, ns=(0, path.stat().st_mtime_ns))
    action()  # type: ignore[operator]
    return {path.name for path in files if path.exists() and path.stat().st_atime_ns}


def test_what_is_unchanged_is_not_opened_again(folder: Path) -> None:
    (folder / "broken.png").unlink()
    (folder / "both.png").unlink()
    first = make_index(folder)
    again: list[Index] = []
    opened = opened_while(lambda: again.append(make_index(folder, first.entries)), folder)
    assert again == [first]
    assert opened == {"metadata.jsonl", "empty-caption.txt"}, "what had a problem is tried again"

    (folder / "sub" / "good.txt").write_text("dog")
    opened = opened_while(lambda: again.append(make_index(folder, first.entries)), folder)
    assert "good.txt" in opened
    assert "good.png" not in opened
    assert entry(again[-1], "sub/good.png").caption == "dog"

    add(folder, "sub/good.png", None, (90, 90))
    add(folder, "new.png")
    (folder / "b.jpg").unlink()
    last = make_index(folder, first.entries)
    good = entry(last, "sub/good.png")
    assert good.seen is not None
    assert good.seen.width == 90
    assert [str(each.path) for each in last.entries] == ["empty-caption.webp", "link.png", "new.png", "sub/good.png"]
    assert last == make_index(folder)


def test_a_caption_that_takes_the_place_of_another(folder: Path) -> None:
    first = make_index(folder)
    (folder / "b.caption").write_text("from caption")
    second = make_index(folder, first.entries)
    assert entry(second, "b.jpg").caption == "from caption"
    (folder / "b.txt").write_text("from txt")
    assert entry(make_index(folder, second.entries), "b.jpg").caption == "from txt"
    (folder / "b.txt").unlink()
    (folder / "b.caption").unlink()
    assert make_index(folder, second.entries) == first


def test_what_was_broken_is_seen_once_it_is_whole(folder: Path) -> None:
    first = make_index(folder)
    add(folder, "broken.png", None)
    assert entry(make_index(folder, first.entries), "broken.png").problems == ()


def test_the_same_pixels_in_another_format(tmp_path: Path) -> None:
    path = add(tmp_path, "a.png")
    for suffix in (".bmp", ".webp"):
        Image.open(path).save(path.with_suffix(suffix), lossless=True)
    add(tmp_path, "other.png")
    digests = [each.seen.pixels_sha256 for each in make_index(tmp_path).entries if each.seen]
    assert len(digests) == 4
    assert len(set(digests)) == 2


@pytest.mark.parametrize(
    ("size", "remarks"),
    [
        ((64, 64), []),
        ((63, 64), ["is tiny (63x64); a side under 64 pixels has little to learn from"]),
        ((301, 100), ["is very wide (301x100); its middle square is seen"]),
        ((300, 100), []),
        ((100, 301), ["is very tall (100x301); its middle square is seen"]),
        ((1, 4), ["is tiny (1x4); a side under 64 pixels has little to learn from",
                  "is very tall (1x4); its middle square is seen"]),
    ],
)  # fmt: skip
def test_odd_pictures_are_used_and_remarked(tmp_path: Path, size: tuple[int, int], remarks: list[str]) -> None:
    add(tmp_path, "a.png", size=size)
    index = make_index(tmp_path)
    assert [remark.reason for remark in index.entries[0].remarks] == remarks
    assert len(index.usable) == 1


def test_a_caption_that_turns_its_direction_unseen_is_remarked(tmp_path: Path) -> None:
    add(tmp_path, "a.png", caption="cat, \u202elive\u202c")
    [remark] = make_index(tmp_path).entries[0].remarks
    assert remark.reason == "has a caption whose direction is turned unseen (U+202E, U+202C); write it anew"


def test_progress_and_a_stop(tmp_path: Path) -> None:
    for number in range(40):
        add(tmp_path, f"{number:02}.png", size=(8, 8))
    (tmp_path / "sub").mkdir()
    told: list[tuple[int, int]] = []
    index = make_index(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 0)] * 42 + [(done, 40) for done in range(41)], "at each folder, at each picture, then opened"
    told.clear()
    make_index(tmp_path, index.entries, lambda done, total: told.append((done, total)))
    assert told == [(0, 0)] * 42 + [(40, 40)]

    def stop_at(*wanted: int) -> Callable[[int, int], None]:
        def stop(*told: int) -> None:
            if told == wanted:
                raise KeyboardInterrupt

        return stop

    before = threading.active_count()
    for wanted in ((0, 0), (3, 40)):
        with pytest.raises(KeyboardInterrupt):
            make_index(tmp_path, progress=stop_at(*wanted))
    assert threading.active_count() == before


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    assert make_index(tmp_path) == Index(tmp_path, (), ())
    with pytest.raises(DatasetError, match="none: is not there"):
        make_index(tmp_path / "none")
