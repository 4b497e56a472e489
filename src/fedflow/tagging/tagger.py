"""What every tagger offers, and how a picture of any shape becomes the square that taggers look at."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from PIL import Image


class Tagger(Protocol):
    """Names what pictures show."""

    @property
    def name(self) -> str:
        """The tagger's name, as messages print it."""

    @property
    def picture_size(self) -> int:
        """The side, in pixels, that the tagger works at."""

    @property
    def threshold(self) -> float:
        """The score from which on a tag is given where nobody says another."""

    def tags(self, pictures: np.ndarray, threshold: float | None = None) -> list[list[tuple[str, float]]]:
        """The tags of uint8 pictures (n, h, w, 3), each with its score from 0 to 1, the surest first.

        Pictures that are not square are put on a white square. `threshold` replaces the tagger's own.
        """


def white_square(image: Image.Image, side: int) -> np.ndarray:
    """An RGB picture in the middle of a white square, bicubic to `side`: uint8 (side, side, 3)."""
    edge = max(image.size)
    if image.size != (edge, edge):
        square = Image.new("RGB", (edge, edge), "white")
        square.paste(image, ((edge - image.width) // 2, (edge - image.height) // 2))
        image = square
    if edge != side:
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image)


def white_squares(pictures: np.ndarray, side: int) -> np.ndarray:
    """uint8 pictures (n, h, w, 3) to (n, side, side, 3); those of that size pass as they are."""
    if pictures.shape[1:3] == (side, side):
        return pictures
    squares = [white_square(Image.fromarray(picture), side) for picture in pictures]
    return np.stack(squares) if squares else np.empty((0, side, side, 3), np.uint8)


def above(names: list[str], scores_t: np.ndarray, least_t: np.ndarray) -> list[tuple[str, float]]:
    """The names whose score is at least its threshold in `least_t`, the highest score first."""
    chosen = np.flatnonzero(scores_t >= least_t)
    return [(names[place], float(scores_t[place])) for place in chosen[np.argsort(-scores_t[chosen], kind="stable")]]
