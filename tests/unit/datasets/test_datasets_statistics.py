"""Figures and findings of a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fedflow.datasets.buckets import Bucket, buckets_for
from fedflow.datasets.findings import findings_of
from fedflow.datasets.index import Index, make_index
from fedflow.datasets.personal import Names
from fedflow.datasets.statistics import Span, statistics_of


def add(folder: Path, name: str, caption: str | None, size: tuple[int, int], level: int = 40) -> Path:
    path = folder / name
    Image.effect_noise(size, level).convert("RGB").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


@pytest.fixture
def index(tmp_path: Path) -> Index:
    add(tmp_path, "a.png", "red, cat", (100, 100))
    add(tmp_path, "b.png", "cat", (200, 100))
    add(tmp_path, "c.png", "cat, big, dog, anna", (40, 20))
    add(tmp_path, "d.png", None, (300, 300))
    add(tmp_path, "e.png", None, (300, 300))
    (tmp_path / "f.png").write_bytes(b"x")
    (tmp_path / "f.txt").write_text("cat")
    return make_index(tmp_path)


def test_figures(index: Index) -> None:
    figures = statistics_of(index, buckets_for(64, 16))
    assert (figures.num_pictures, figures.num_usable) == (6, 3)
    assert figures.total_bytes == sum(path.stat().st_size for path in index.folder.glob("*.png"))
    assert list(figures.tags.items()) == [("cat", 3), ("anna", 1), ("big", 1), ("dog", 1), ("red", 1)]
    assert figures.shorter_sides == {"< 64": 1, "64-127": 2}
    assert figures.tags_per_caption == {"1": 1, "2": 1, "3": 0, "4": 1}
    assert (figures.width, figures.height) == (Span(40, 100, 200), Span(20, 100, 100))
    assert (figures.aspect, figures.caption_letters) == (Span(1.0, 2.0, 2.0), Span(3, 8, 19))
    assert [(share.bucket, share.num_pictures) for share in figures.buckets] == [
        (Bucket(80, 48), 2),
        (Bucket(64, 64), 1),
    ]
    assert figures.problems == {"has no caption": 2, "is not a picture, or broken at its start": 1}


def test_long_captions_are_counted_in_steps(tmp_path: Path) -> None:
    for number in (1, 2, 30):
        add(tmp_path, f"{number}.png", ", ".join(f"tag{place}" for place in range(number)), (64, 64))
    found = statistics_of(make_index(tmp_path), buckets_for(64)).tags_per_caption
    assert list(found.items()) == [
        ("1-3", 2), ("4-6", 0), ("7-9", 0), ("10-12", 0), ("13-15", 0), ("16-18", 0), ("19-21", 0), ("22-24", 0),
        ("25-27", 0), ("28-30", 1),
    ]  # fmt: skip


def test_figures_of_nothing(tmp_path: Path) -> None:
    figures = statistics_of(make_index(tmp_path), buckets_for(64))
    assert (figures.num_pictures, figures.tags, figures.shorter_sides, figures.buckets) == (0, {}, {}, ())
    assert figures.width == Span(0, 0, 0)


def test_findings(index: Index) -> None:
    folder = index.folder
    Image.open(folder / "a.png").save(folder / "same.bmp")
    (folder / "same.txt").write_text("write to me@studio.ua")
    Image.open(folder / "a.png").resize((200, 200), Image.Resampling.BICUBIC).save(folder / "z-large.png")
    found = findings_of(make_index(folder, index.entries), Names(["Anna"]))
    assert [(str(problem.path), problem.reason.split(";")[0]) for problem in found.problems] == [
        ("d.png", "has no caption"),
        ("e.png", "has no caption"),
        ("f.png", "is not a picture, or broken at its start (PNG, JPEG, WebP, GIF, BMP, TIFF)"),
        ("z-large.png", "has no caption"),
    ]
    assert [(str(path), [each.text for each in those]) for path, those in found.personal] == [
        ("c.png", ["anna"]),
        ("same.bmp", ["me@studio.ua"]),
    ]
    assert found.same == ((Path("a.png"), Path("same.bmp")),)
    assert [(str(group.first), [str(path) for path, _ in group.others]) for group in found.near] == [
        ("z-large.png", ["a.png"])
    ], "the largest is the one to keep"
    assert [str(remark.path) for remark in found.remarks] == ["c.png"]
