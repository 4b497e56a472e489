"""Pictures to begin from, and the masks painted over them: taken in as bare pixels, whatever the file held besides."""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image, ImageOps

from fedflow.client.database.tables import Drawing
from fedflow.client.services.drawings import MOST_SIDE
from fedflow.client.store import Store
from fedflow.errors import MistakeError, StorageError

MOST_BYTES = 30_000_000
MOST_PIXELS = 50_000_000
MASK_SIDE_PIXELS = 512
"""Of its longer side, as the page's brush paints it."""

FORMATS = ("PNG", "JPEG", "WEBP")
DATA_URL = "data:image/png;base64,"
PAINTED = 127
"""A mask is painted where it is lighter than this."""


def take_in(store: Store, content: bytes) -> str:
    """Keep a picture, no side of it longer than one that is drawn; gives its SHA-256.

    Raises MistakeError, one line, for what is no picture, or too large.
    """
    return store.blobs.put(_png(opened(content)))


def opened(content: bytes) -> Image.Image:
    """A picture to start from as it is seen, no side of it longer than one that is drawn. Raises MistakeError."""
    with _opened(content, FORMATS) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((MOST_SIDE, MOST_SIDE), Image.Resampling.LANCZOS)
    return upright


def opened_mask(content: bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """A mask in black and white, white where it is painted. Raises MistakeError for what is none."""
    with _opened(content, formats) as image:
        return image.convert("L").point(lambda value: 255 if value > PAINTED else 0)


def take_in_drawing(store: Store, drawing: Drawing) -> str:
    """As `take_in`, of a picture of the gallery: it stays when that is deleted."""
    return take_in(store, store.blobs.local(drawing.sha256).read_bytes())


def take_in_mask(store: Store, painted: str) -> str:
    """Keep a mask that a page sends as `data:image/png;base64,`; gives its SHA-256, '' where nothing is painted.

    It covers the whole picture to start from, whatever its own size. Raises MistakeError for what is no mask.
    """
    try:
        content = base64.b64decode(painted.removeprefix(DATA_URL), validate=True)
    except (binascii.Error, ValueError):
        raise MistakeError("the mask cannot be read; paint it again") from None
    mask = opened_mask(content, ("PNG",))
    mask.thumbnail((MASK_SIDE_PIXELS, MASK_SIDE_PIXELS), Image.Resampling.NEAREST)
    return store.blobs.put(_png(mask)) if mask.getbbox() else ""


def size_of(store: Store, sha256: str) -> tuple[int, int]:
    """Width and height of a start that is kept."""
    with Image.open(store.blobs.local(sha256)) as image:
        return image.size


def canvas_of(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the canvas on which a mask over a start of this size is painted."""
    scale = MASK_SIDE_PIXELS / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def is_there(store: Store, sha256: str) -> bool:
    """Whether a start or mask that a form names is still kept."""
    try:
        return store.blobs.local(sha256).is_file()
    except StorageError:
        return False


def _opened(content: bytes, formats: tuple[str, ...]) -> Image.Image:
    if len(content) > MOST_BYTES:
        raise MistakeError(f"the file has more than {MOST_BYTES // 1_000_000} MB; choose a smaller one")
    try:
        image = Image.open(io.BytesIO(content), formats=formats)
        if image.width * image.height > MOST_PIXELS:
            raise MistakeError(f"the picture has more than {MOST_PIXELS // 1_000_000} million pixels; make it smaller")
        image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Pillow's, for damaged files
        known = ", ".join(formats)
        raise MistakeError(f"the file is none of {known}, or is damaged; save it as one of these") from None
    return image


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    Image.frombytes(image.mode, image.size, image.tobytes()).save(buffer, "PNG")
    return buffer.getvalue()
