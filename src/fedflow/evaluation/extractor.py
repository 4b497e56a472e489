"""What every feature extractor offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Extractor(Protocol):
    """Turns pictures into features; `name` and `resize` stand beside every figure made with it."""

    @property
    def name(self) -> str:
        """The extractor's name, as tables print it."""

    @property
    def resize(self) -> str:
        """How pictures of another size are brought to the extractor's own size."""

    @property
    def picture_size(self) -> int:
        """The side, in pixels, that the extractor works at."""

    def features(self, images_nhwc: np.ndarray) -> np.ndarray:
        """uint8 pictures (n, h, w, 3) to float64 features (n, d); the order is kept."""
