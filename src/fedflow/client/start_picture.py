"""The picture that is drawn over and its mask, as pixels of the size that is drawn."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from fedflow.client.services.drawings_start import PAINTED
from fedflow.errors import MistakeError
from fedflow.models import Start


def start_of(
    picture: Image.Image, mask: Image.Image | None, strength: float, size: tuple[int, int], count: int
) -> Start:
    """The start of `count` pictures: as much of the picture around its middle as has the shape of `size`.

    The mask covers the whole picture, whatever its own size. Raises MistakeError where all that is painted is cut off.
    """
    pixels = np.asarray(ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS))
    pictures = np.broadcast_to(pixels, (count, *pixels.shape))
    if mask is None:
        return Start(pictures, strength)
    over = mask.convert("L").resize(picture.size, Image.Resampling.NEAREST)
    painted = np.asarray(ImageOps.fit(over, size, Image.Resampling.BOX))
    if not (painted > PAINTED).any():
        raise MistakeError("all that is painted is cut off by the width and height; paint within what is drawn")
    return Start(pictures, strength, np.broadcast_to(painted, (count, *painted.shape)))
