"""What reading a picture folder gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Picture:
    """One usable picture: `width` and `height` in pixels as it is seen, its EXIF orientation applied."""

    path: Path
    caption: str
    width: int
    height: int


@dataclass(frozen=True)
class Problem:
    """Why a file was left out, and the way out, in one line."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.path)}: {self.reason}"


@dataclass(frozen=True)
class Dataset:
    """A folder's usable pictures, sorted by path, and the problems of the rest; `size` is the edge to train at."""

    folder: Path
    size: int
    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...]


def shown(path: Path) -> str:
    """`path` for a message: a name with line breaks, or one that is not UTF-8, is written with escapes."""
    text = str(path)
    return text if text.isprintable() else ascii(text)
