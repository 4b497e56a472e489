"""Thumbnails, and that nothing but pixels leaves a picture's file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from fedflow.datasets import Picture, load_pixels
from fedflow.datasets.pixels import PictureError, decode
from fedflow.datasets.thumbnails import thumbnail

PLACE = "Kyiv 50.4501N 30.5234E"
ORIENTATION, GPS, DESCRIPTION, LATITUDE = 0x0112, 0x8825, 0x010E, 2


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[ORIENTATION] = orientation
    tags[DESCRIPTION] = PLACE
    tags[GPS] = {1: "N", LATITUDE: (50.0, 27.0, 0.0), 29: PLACE}
    return tags


def noise(width: int = 40, height: int = 24) -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8))


def telling(path: Path, orientation: int = 1) -> Path:
    """A picture with all the metadata that its format takes."""
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", PLACE)
    text.add_itxt("XML:com.adobe.xmp", f"<x:xmpmeta>{PLACE}</x:xmpmeta>")
    form = {".png": {"pnginfo": text}, ".jpg": {"comment": PLACE.encode(), "quality": 95}, ".webp": {"lossless": True}}
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    xmp = {} if path.suffix == ".png" else {"xmp": f"<x:xmpmeta>{PLACE}</x:xmpmeta>".encode()}
    noise().save(path, exif=exif(orientation), icc_profile=profile, **form[path.suffix], **xmp)
    assert PLACE.encode() in path.read_bytes()
    return path


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_training_sees_pixels_alone(tmp_path: Path, suffix: str) -> None:
    path = telling(tmp_path / f"a{suffix}")
    bare = tmp_path / f"bare{suffix}"
    form = {".png": {}, ".jpg": {"quality": 95}, ".webp": {"lossless": True}}
    noise().save(bare, **form[suffix])
    assert PLACE.encode() not in bare.read_bytes()
    seen = load_pixels(Picture(path, "cat", 40, 24), 24)
    assert type(seen) is np.ndarray
    assert seen.nbytes == 24 * 24 * 3
    assert np.array_equal(seen, load_pixels(Picture(bare, "cat", 40, 24), 24))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_what_is_saved_of_a_decoded_picture_tells_nothing(tmp_path: Path, suffix: str, form: str) -> None:
    image = decode(telling(tmp_path / f"a{suffix}", orientation=6))
    assert (image.size, image.info, dict(image.getexif())) == ((24, 40), {}, {})
    file = io.BytesIO()
    image.save(file, form)
    for trace in (PLACE.encode(), b"Exif", b"xmpmeta", b"ICC_PROFILE", b"iCCP"):
        assert trace not in file.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_thumbnails_tell_nothing(tmp_path: Path, suffix: str) -> None:
    small = thumbnail(telling(tmp_path / f"a{suffix}", orientation=6))
    for trace in (PLACE.encode(), b"EXIF", b"XMP ", b"ICCP"):
        assert trace not in small
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("WEBP", (24, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(tmp_path: Path, orientation: int) -> None:
    """One corner is black; a thumbnail of a large JPEG shows it where a viewer does."""
    image = Image.new("RGB", (1200, 800), "white")
    image.paste("black", (0, 0, 600, 400))
    image.save(tmp_path / "a.jpg", exif=exif(orientation))
    with Image.open(tmp_path / "a.jpg") as raw:
        expected = ImageOps.exif_transpose(raw).resize((2, 2), Image.Resampling.BOX).convert("L")
    with Image.open(io.BytesIO(thumbnail(tmp_path / "a.jpg"))) as small:
        assert small.size == ((256, 171) if orientation < 5 else (171, 256))
        seen = small.resize((2, 2), Image.Resampling.BOX).convert("L")
    assert np.abs(np.asarray(seen, dtype=int) - np.asarray(expected, dtype=int)).max() < 10


def test_transparency_and_broken_ones(tmp_path: Path) -> None:
    Image.new("RGBA", (2000, 10), (0, 0, 0, 0)).save(tmp_path / "a.png")
    with Image.open(io.BytesIO(thumbnail(tmp_path / "a.png"))) as small:
        assert small.size == (256, 1)
        assert small.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(PictureError, match="is not a picture"):
        thumbnail(tmp_path / "b.png")
