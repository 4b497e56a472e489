"""Small pictures for a page."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from fedflow.datasets.pixels import decode

THUMBNAIL_EDGE = 256
QUALITY = 80
MEDIA_TYPE = "image/webp"


def thumbnail(picture: Path) -> bytes:
    """`picture` as a WebP of at most 256 px at its longer side, upright, on white, without any metadata.

    A smaller picture keeps its size. Raises PictureError.
    """
    image = decode(picture, 2 * THUMBNAIL_EDGE)
    image.thumbnail((THUMBNAIL_EDGE, THUMBNAIL_EDGE), Image.Resampling.LANCZOS, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    return file.getvalue()
