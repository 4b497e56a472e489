"""`fedflow evaluate`'s function: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedflow.cli.evaluate import evaluate
from fedflow.errors import DatasetError


def folder_of(place: Path, seed: int, count: int, red: int) -> Path:
    """`count` small noisy pictures; `red` is the red channel's mean."""
    place.mkdir()
    noise = np.random.default_rng(seed).integers(-30, 30, (count, 32, 32, 3))
    for number, picture in enumerate(noise + np.array([red, 128, 128])):
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(place / f"{number}.png")
    return place


def test_figures_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = folder_of(tmp_path / "real", 1, 12, 128)
    other = folder_of(tmp_path / "other", 2, 14, 128)
    far = folder_of(tmp_path / "far", 3, 12, 220)
    (far / "notes.txt").write_text("not a picture")
    evaluate(far, real, floor=other, extractor="icons-v1", seed=5, out=tmp_path / "score.json")
    printed = capsys.readouterr().out
    assert "icons-v1 (64x64, antialiased bilinear)" in printed
    assert "12 against 12 pictures" in printed
    written = json.loads((tmp_path / "score.json").read_text())
    assert written["score"]["num_generated"] == 12
    assert written["score"]["fid"] > 3 * written["floor"]["fid"]
    assert written["score"]["kid_low"] <= written["score"]["kid"] <= written["score"]["kid_high"]


def test_the_floor_of_halves_says_that_it_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = folder_of(tmp_path / "real", 1, 8, 128)
    evaluate(folder_of(tmp_path / "generated", 2, 10, 128), real, extractor="icons-v1")
    printed = capsys.readouterr().out
    assert "floor is that of 4 pictures" in printed
    assert "Numbers differ" in printed


def test_unusable_folders_are_named(tmp_path: Path) -> None:
    real = folder_of(tmp_path / "real", 1, 3, 128)
    with pytest.raises(DatasetError, match="nowhere: is not a folder"):
        evaluate(tmp_path / "nowhere", real, extractor="icons-v1")
    with pytest.raises(DatasetError, match="holds 1 pictures"):
        evaluate(folder_of(tmp_path / "one", 2, 1, 128), real, extractor="icons-v1")
    (real / "2.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"2\.png: is not a picture"):
        evaluate(real, real, extractor="icons-v1")
