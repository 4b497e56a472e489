"""Pixels of pictures in all the forms they come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedflow.datasets import Picture, load_pixels
from fedflow.errors import DatasetError


def saved(image: Image.Image, path: Path, exif: Image.Exif | None = None) -> Picture:
    image.save(path, exif=exif or Image.Exif())
    return Picture(path, "cat", image.width, image.height)


def test_same_size_is_untouched(tmp_path: Path) -> None:
    array = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    pixels = load_pixels(saved(Image.fromarray(array), tmp_path / "a.png"), 4)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == array.tolist()


def test_the_middle_square_is_cut_out(tmp_path: Path) -> None:
    image = Image.new("RGB", (12, 4), "red")
    image.paste("blue", (4, 0, 8, 4))
    pixels = load_pixels(saved(image, tmp_path / "a.png"), 2)
    assert pixels.tolist() == [[[0, 0, 255]] * 2] * 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 2, 4))
    pixels = load_pixels(saved(image.convert(mode), tmp_path / "a.png"), 4)
    assert pixels[0].tolist() == [[0, 0, 0], [0, 0, 0], [255, 255, 255], [255, 255, 255]]


def test_half_transparent_is_mixed_with_white(tmp_path: Path) -> None:
    pixels = load_pixels(saved(Image.new("RGBA", (2, 2), (200, 0, 0, 51)), tmp_path / "a.png"), 2)
    assert pixels[0, 0].tolist() == [244, 204, 204]  # 0.2 of the colour, 0.8 of white


def test_exif_orientation(tmp_path: Path) -> None:
    image = Image.new("RGB", (2, 2), "white")
    image.putpixel((0, 0), (0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    pixels = load_pixels(saved(image, tmp_path / "a.png", exif=exif), 2)
    assert pixels[:, :, 0].tolist() == [[255, 0], [255, 255]]


def test_sixteen_bit_grey_is_not_clipped(tmp_path: Path) -> None:
    grey = np.array([[0, 32896], [65535, 257]], dtype=np.uint16)
    pixels = load_pixels(saved(Image.fromarray(grey), tmp_path / "a.png"), 2)
    assert pixels[:, :, 1].tolist() == [[0, 128], [255, 1]]


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("1", "a.png"), ("CMYK", "a.jpg"), ("L", "a.webp")])
def test_other_modes_become_rgb(tmp_path: Path, mode: str, name: str) -> None:
    pixels = load_pixels(saved(Image.new("RGB", (8, 8), "white").convert(mode), tmp_path / name), 4)
    assert pixels.shape == (4, 4, 3)
    assert pixels.min() >= 254


def test_a_cameras_picture_with_previews_counts_as_one(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), "white")
    picture.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (4, 4), "black")])
    assert load_pixels(Picture(tmp_path / "a.jpg", "cat", 8, 8), 8).min() == 255


def test_damaged_since_the_folder_was_read(tmp_path: Path) -> None:
    picture = saved(Image.new("RGB", (8, 8)), tmp_path / "a.png")
    picture.path.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"a\.png: is an empty file; replace it or remove it"):
        load_pixels(picture, 8)
    picture.path.unlink()
    with pytest.raises(DatasetError, match=r"a\.png: is not there; put it back or read the folder again"):
        load_pixels(picture, 8)
