"""Tagging a folder by the shipped tagger and the demo's own pictures."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from fedflow.cli.entry import app
from fedflow.datasets.pixels import decode
from fedflow.errors import DatasetError
from fedflow.tagging.icons_v1 import icons_tagger

DEMO = Path(__file__).parents[3] / "src" / "fedflow" / "data" / "demo"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("bus", "castle", "airplane"):
        shutil.copy(DEMO / "client-2" / f"{name}.png", tmp_path / f"{name}.png")
    (tmp_path / "bus.txt").write_text("my_trigger, travel\n")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
    return tmp_path


def run(folder: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["dataset", "tag", str(folder), *options])
    return done.exit_code, done.output


def captions(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text().strip() for path in sorted(folder.glob("*.txt"))}


def test_missing_captions_are_written_and_a_broken_picture_is_told(folder: Path) -> None:
    status, output = run(folder)
    found = captions(folder)
    assert found.pop("bus") == "my_trigger, travel"
    assert found
    assert all("travel" in caption.split(", ") for caption in found.values())
    assert status == 1
    assert "broken.png: is not a picture, or broken at its start" in output
    assert "2 pictures looked at by icons-v1" in output


def test_a_folder_without_pictures_is_a_mistake_and_one_is_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = CliRunner().invoke(app, ["dataset", "tag", str(tmp_path / "none")])
    assert isinstance(done.exception, DatasetError)
    assert "none: holds no pictures; put PNG or JPEG files there" in str(done.exception)
    for path in sorted(folder.glob("*.png"))[1:]:
        path.unlink()
    _, output = run(folder, "--write", "replace", "--dry-run")
    assert "1 picture looked at by icons-v1, " in output


def test_add_keeps_what_is_there_in_front(folder: Path) -> None:
    (folder / "broken.png").unlink()
    status, _ = run(folder, "--write", "add", "--threshold", "0.01")
    tags = captions(folder)["bus"].split(", ")
    assert status == 0
    assert tags[:2] == ["my_trigger", "travel"]
    assert len(tags) > 2
    assert len(tags) == len(set(tags))


def test_replace_puts_tags_alone_there(folder: Path) -> None:
    run(folder, "--write", "replace", "--threshold", "0.01")
    assert "my_trigger" not in captions(folder)["bus"]


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    before = captions(folder)
    _, output = run(folder, "--write", "replace", "--dry-run")
    assert captions(folder) == before
    assert "would be written" in output


def test_two_pictures_of_one_caption_are_not_mixed(folder: Path) -> None:
    Image.open(folder / "castle.png").save(folder / "castle.webp")
    _, output = run(folder)
    assert "castle.webp: shares its caption with castle.png" in output


def test_the_shipped_tagger_knows_the_category_of_most_demo_pictures() -> None:
    paths = sorted((DEMO / "client-4").glob("*.png"))
    found = icons_tagger().tags(np.stack([np.asarray(decode(path)) for path in paths]))
    assert sum("food" in dict(tags) for tags in found) >= len(paths) * 0.6
    assert all(score == pytest.approx(max(0.0, score)) and score <= 1 for tags in found for _, score in tags)
    assert icons_tagger().tags(np.empty((0, 64, 64, 3), np.uint8)) == []
