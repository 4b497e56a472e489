"""The files that `fedflow generate` draws over, looked at before anything heavy starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from fedflow.client.services.drawings_start import MOST_BYTES, opened, opened_mask
from fedflow.client.start_picture import start_of
from fedflow.datasets.records import shown
from fedflow.errors import MistakeError
from fedflow.models import Start

STRENGTH = 0.6


@dataclass(frozen=True)
class StartFiles:
    """A picture that is drawn over with `strength`, and its mask."""

    picture: Image.Image
    mask: Image.Image | None
    strength: float

    def at(self, size: tuple[int, int], count: int) -> Start:
        """The start of `count` pictures of this width and height. Raises MistakeError as `start_of`."""
        return start_of(self.picture, self.mask, self.strength, size, count)


def read_start(start: Path | None, mask: Path | None, strength: float | None) -> StartFiles | None:
    """What is drawn over; None where nothing is. Raises MistakeError for what is no picture, or a mask without one."""
    if start is None:
        given = "--mask" if mask is not None else "--strength" if strength is not None else ""
        if given:
            raise MistakeError(f"{given} says how --start is drawn over, and there is none; give both, or neither")
        return None
    painted = None if mask is None else _read(mask, opened_mask)
    if painted is not None and painted.getbbox() is None:
        raise MistakeError(f"{shown(mask or start)}: nothing in it is white; paint white what is to be drawn anew")
    return StartFiles(_read(start, opened), painted, STRENGTH if strength is None else strength)


def _read(path: Path, open_picture: Callable[[bytes], Image.Image]) -> Image.Image:
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise MistakeError(f"{shown(path)}: cannot be opened ({error.strerror}); check the path") from None
    try:
        return open_picture(content)
    except MistakeError as error:
        raise MistakeError(f"{shown(path)}: {error}") from None
