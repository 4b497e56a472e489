"""Reading picture folders, good and bad."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from fedflow.datasets import Dataset, content_hash, read_folder
from fedflow.datasets.folder import has_pictures
from fedflow.errors import DatasetError


def add(folder: Path, name: str, caption: str | None = "a_style, cat", size: tuple[int, int] = (8, 6)) -> Path:
    """A red picture, captioned by a .txt beside it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "red").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def problem_of(folder: Path) -> str:
    """The one problem of a folder that holds one good picture beside the bad file."""
    add(folder, "good.png")
    dataset = read_folder(folder, 8)
    assert [picture.path.name for picture in dataset.pictures] == ["good.png"]
    assert len(dataset.problems) == 1
    line = str(dataset.problems[0])
    assert line.startswith(str(folder))
    assert line.isprintable()
    return line.removeprefix(f"{folder}/")


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises `width` x `height` pixels and ends there."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 9))]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def test_pictures_are_sorted_with_their_captions(tmp_path: Path) -> None:
    add(tmp_path, "b/two.jpg", "x, two")
    add(tmp_path, "a.png", " one,\n  first \n", size=(5, 7))
    dataset = read_folder(tmp_path, 64)
    assert [(p.path.relative_to(tmp_path).as_posix(), p.caption, p.width, p.height) for p in dataset.pictures] == [
        ("a.png", "one, first", 5, 7),
        ("b/two.jpg", "x, two", 8, 6),
    ]
    assert (dataset.folder, dataset.size, dataset.problems) == (tmp_path, 64, ())


def test_trigger_becomes_the_first_tag(tmp_path: Path) -> None:
    add(tmp_path, "a.png", "cat, black")
    add(tmp_path, "b.png", "my_style, dog ,brown")
    add(tmp_path, "c.png", "fox, my_style, red")
    assert [p.caption for p in read_folder(tmp_path, 8, trigger="my_style").pictures] == [
        "my_style, cat, black",
        "my_style, dog ,brown",
        "my_style, fox, red",
    ]


def test_other_tools_files_are_no_problem(tmp_path: Path) -> None:
    add(tmp_path, "a.PNG")
    for litter in ("__MACOSX/._a.png", "._a.png", ".DS_Store", "Thumbs.db", "README.md", ".git/x.png", "a.npz"):
        (tmp_path / litter).parent.mkdir(exist_ok=True)
        (tmp_path / litter).write_bytes(b"\0litter")
    dataset = read_folder(tmp_path, 8)
    assert len(dataset.pictures) == 1
    assert dataset.problems == ()


def test_caption_sources_in_their_order(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add(tmp_path, f"{name}.png", None)
    (tmp_path / "a.txt").write_text("\ufefffrom txt", encoding="utf-8")
    for name in ("a", "b"):
        (tmp_path / f"{name}.caption").write_text("from caption")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "b.png", "text": "from metadata"}\n\n{"file_name": "c.png", "text": "from metadata"}\n'
    )
    assert [p.caption for p in read_folder(tmp_path, 8).pictures] == ["from txt", "from caption", "from metadata"]


def test_metadata_names_pictures_in_folders_below(tmp_path: Path) -> None:
    add(tmp_path, "sub/a.png", None)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "sub/a.png", "text": "cat"}\n')
    assert read_folder(tmp_path, 8).pictures[0].caption == "cat"


@pytest.mark.parametrize(
    "line", ["not json", '["a"]', '{"file_name": "x.png"}', '{"file_name": "x.png", "text": null}']
)
def test_broken_metadata_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "metadata.jsonl").write_text(f"\n{line}\n")
    assert problem_of(tmp_path) == "metadata.jsonl: line 2 is not JSON with 'file_name' and 'text'; repair the line"


def test_empty_text_in_metadata(tmp_path: Path) -> None:
    add(tmp_path, "bad.png", None)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "bad.png", "text": " "}\n')
    assert problem_of(tmp_path) == "metadata.jsonl: the caption is empty; fill in 'text' of bad.png"


def test_missing_caption(tmp_path: Path) -> None:
    add(tmp_path, "bad.png", None)
    assert problem_of(tmp_path) == "bad.png: has no caption; write its tags into bad.txt in the same folder"


@pytest.mark.parametrize("caption", ["", " \n", " , ,\n"])
def test_empty_caption(tmp_path: Path, caption: str) -> None:
    add(tmp_path, "bad.png", caption)
    assert problem_of(tmp_path) == "bad.txt: the caption is empty; write the picture's tags into it"


def test_caption_that_is_not_utf8(tmp_path: Path) -> None:
    add(tmp_path, "bad.png").with_suffix(".txt").write_bytes(b"caf\xe9")
    assert problem_of(tmp_path) == "bad.txt: is not UTF-8 (byte 0xe9 at 3); save it as UTF-8"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff"])
def test_truncated_pictures_are_found_at_reading(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    noise = Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    noise.save(path)
    path.with_suffix(".txt").write_text("cat")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    line = problem_of(tmp_path)
    assert line.startswith(f"bad{suffix}: is ")
    assert line.endswith("; replace it or remove it")


def test_flipped_bytes_in_the_pixels(tmp_path: Path) -> None:
    path = add(tmp_path, "bad.png", size=(64, 64))
    content = bytearray(path.read_bytes())
    start = content.index(b"IDAT") + 10
    content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert problem_of(tmp_path).startswith("bad.png: is broken (")


def test_what_is_not_a_picture(tmp_path: Path) -> None:
    add(tmp_path, "bad.png").write_text("<html>")
    assert problem_of(tmp_path) == (
        "bad.png: is not a picture, or broken at its start (PNG, JPEG, WebP, GIF, BMP, TIFF); replace it or remove it"
    )


def test_empty_file(tmp_path: Path) -> None:
    add(tmp_path, "bad.png").write_bytes(b"")
    assert problem_of(tmp_path) == "bad.png: is an empty file; replace it or remove it"


def test_other_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-1.7")
    assert problem_of(tmp_path) == "bad.pdf: is not a picture; convert it to PNG or JPEG, or move it out of the folder"


@pytest.mark.parametrize(
    ("width", "height", "words"),
    [
        (8001, 8000, "8001x8000, 64 megapixels"),
        (10_000, 10_000, "10000x10000, 100 megapixels"),
        (30_000, 30_000, "over 178 megapixels"),
    ],
)
def test_huge_pictures_are_refused_by_their_header(tmp_path: Path, width: int, height: int, words: str) -> None:
    add(tmp_path, "bad.png").write_bytes(png_header(width, height))
    assert problem_of(tmp_path) == f"bad.png: is too large ({words}, at most 64); scale it down"


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tiff"])
def test_animated(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / f"bad{suffix}", save_all=True, append_images=frames[1:])
    (tmp_path / "bad.txt").write_text("cat")
    assert problem_of(tmp_path) == f"bad{suffix}: is animated or has pages (3 frames); save one frame as PNG or JPEG"


def test_floating_point_pixels(tmp_path: Path) -> None:
    Image.new("F", (8, 8), 0.5).save(tmp_path / "bad.tiff")
    (tmp_path / "bad.txt").write_text("cat")
    assert problem_of(tmp_path) == "bad.tiff: has floating-point pixels; save it as 8-bit PNG or JPEG"


def test_link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "bad").symlink_to(tmp_path)
    assert problem_of(tmp_path) == "bad: is a link to a folder and is not followed; copy its pictures here"


def test_broken_link(tmp_path: Path) -> None:
    (tmp_path / "bad.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "bad.txt").write_text("cat")
    assert problem_of(tmp_path) == "bad.png: is not there; put it back or read the folder again"


def test_names_with_line_breaks_and_foreign_bytes_stay_one_line(tmp_path: Path) -> None:
    add(tmp_path, "good.png")
    for name in (b"bad\nname.png", b"caf\xe9.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    lines = [str(problem) for problem in read_folder(tmp_path, 8).problems]
    assert len(lines) == 2
    for line in lines:
        assert line.isprintable()
        line.encode("utf-8")


def test_nothing_usable(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none: is not there; name a folder of pictures"):
        read_folder(tmp_path / "none", 8)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match=r"file: is a file and not a folder; name a folder of pictures"):
        read_folder(tmp_path / "file", 8)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"empty: holds no pictures; put PNG or JPEG files there, each with a \.txt"):
        read_folder(tmp_path / "empty", 8)
    add(tmp_path / "bad", "a.png", None)
    with pytest.raises(DatasetError, match=r"bad: the only file cannot be used; the first: .*a\.png: has no"):
        read_folder(tmp_path / "bad", 8)
    add(tmp_path / "bad", "b.png", "")
    with pytest.raises(DatasetError, match=r"bad: none of 2 files can be used; the first: .*a\.png: has no"):
        read_folder(tmp_path / "bad", 8)


def test_content_hash_is_about_content(tmp_path: Path) -> None:
    def of(folder: Path, size: int = 8) -> str:
        return content_hash(read_folder(folder, size))

    add(tmp_path / "one", "a.png", "cat")
    add(tmp_path / "two", "other/b.png", "cat")
    add(tmp_path / "three", "a.png", "dog")
    add(tmp_path / "four", "a.png", "cat", size=(9, 9))
    assert len(of(tmp_path / "one")) == 64
    assert of(tmp_path / "one") == of(tmp_path / "two")
    assert len({of(tmp_path / name) for name in ("one", "three", "four")} | {of(tmp_path / "one", 16)}) == 4


def test_content_hash_of_a_picture_that_went_away(tmp_path: Path) -> None:
    path = add(tmp_path, "a.png")
    dataset: Dataset = read_folder(tmp_path, 8)
    path.unlink()
    with pytest.raises(DatasetError, match=r"a\.png: cannot be read \(No such file"):
        content_hash(dataset)


def test_a_folder_is_searched_for_its_first_picture(tmp_path: Path) -> None:
    assert not has_pictures(tmp_path)
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "a.png").write_bytes(b"")
    (tmp_path / ".a.png").write_bytes(b"")
    for number in range(3):
        (tmp_path / f"{number}.txt").write_bytes(b"")
    assert not has_pictures(tmp_path)
    assert has_pictures(tmp_path, most_files=2), "nobody waits for more"
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.JPG").write_bytes(b"")
    assert has_pictures(tmp_path)
