"""Decoding one picture, with everything that can be wrong with it said in one line."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fedflow.datasets.records import Picture, shown
from fedflow.errors import DatasetError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_PIXELS = 64_000_000
FIRST_FRAME_COUNTS = "MPO"  # a camera's JPEG with previews behind the picture


class PictureError(Exception):
    """Why a picture cannot be used, in one line without its name."""


def load_pixels(picture: Picture, size: int) -> np.ndarray:
    """`picture` as uint8 (size, size, 3).

    EXIF orientation applied, transparency laid over white, the middle square cut out, Lanczos to `size`.
    Raises DatasetError where the file is gone or was damaged since the folder was read.
    """
    try:
        image = decode(picture.path)
    except PictureError as error:
        raise DatasetError(f"{shown(picture.path)}: {error}") from error
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    # Not resize's own `box`: its filter would let in what lies outside.
    square = image.crop((left, top, left + edge, top + edge))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def decode(path: Path, edge: int | None = None) -> Image.Image:
    """The whole picture in RGB, upright, on white, without EXIF or other metadata. Raises PictureError.

    With `edge` a JPEG may come smaller than it is, both sides still at least `edge` pixels: that takes a part of the
    time. Several threads may decode at once.
    """
    with _silence:
        try:
            with Image.open(path, formats=FORMATS) as image:
                _check_header(image)
                if edge is not None:
                    image.draft(None, (edge, edge))
                seen = _over_white(ImageOps.exif_transpose(image))
                seen.info.clear()  # comments and colour profiles; what is saved of it would carry them
                return seen
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise PictureError(_too_large("over 178")) from error
        except UnidentifiedImageError as error:
            raise PictureError(_unidentified(path)) from error
        except FileNotFoundError as error:
            raise PictureError("is not there; put it back or read the folder again") from error
        except Exception as error:  # a decoder fails on damaged bytes in any way: OSError, SyntaxError, struct.error...
            why = " ".join(str(error).split()) or type(error).__name__
            raise PictureError(f"is broken ({why}); replace it or remove it") from error


def format_of(path: Path) -> str:
    """Which of FORMATS a file's first bytes say that it is; empty where they say none."""
    with _silence:
        try:
            with Image.open(path, formats=FORMATS) as image:
                return "JPEG" if image.format == FIRST_FRAME_COUNTS else str(image.format)
        except Exception:  # as in `decode`
            return ""


class _Silence:
    """No warnings while any thread decodes.

    Pillow warns about odd sizes, palettes and metadata; what matters of that is an error here. Filters of warnings are
    the whole process's: the first thread in sets them aside, and the last one out puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_silence = _Silence()


def _check_header(image: Image.Image) -> None:
    """Refuse what must not be decoded, before it is."""
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise PictureError(_too_large(f"{image.width}x{image.height}, {pixels / 1e6:.0f}"))
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != FIRST_FRAME_COUNTS:
        raise PictureError(f"is animated or has pages ({frames} frames); save one frame as PNG or JPEG")
    if image.mode == "F":
        raise PictureError("has floating-point pixels; save it as 8-bit PNG or JPEG")


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip it to white
        grey = np.asarray(image).clip(0, 65535) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _too_large(size: str) -> str:
    return f"is too large ({size} megapixels, at most {MAX_PIXELS // 1_000_000}); scale it down"


def _unidentified(path: Path) -> str:
    if path.stat().st_size == 0:
        return "is an empty file; replace it or remove it"
    return "is not a picture, or broken at its start (PNG, JPEG, WebP, GIF, BMP, TIFF); replace it or remove it"
