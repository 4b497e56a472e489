"""Where what comes with this installation is; it opens nothing, and a web process may ask it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fedflow.errors import DatasetError


def starter_folder() -> Path:
    """The folder of the starter, in the diffusers layout."""
    return _data() / "starter"


def demo_folder() -> Path:
    """The folder with `client-1` to `client-5` and `heldout`: 64x64 PNG, captions beside them.

    Raises DatasetError where the installation lacks them.
    """
    folder = _data() / "demo"
    if not (folder / "heldout").is_dir():
        raise DatasetError(f"{folder}: the demo pictures are missing; install fedflow again")
    return folder


def _data() -> Path:
    return Path(str(files("fedflow"))) / "data"
