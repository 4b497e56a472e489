"""Pictures from prompts and seeds, and PNG files that other tools can read the settings from.

A name is looked up when it is first used: reading a file's settings needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedflow.generation.pictures import generate
    from fedflow.generation.png import parameters_text, png_bytes, save_png
    from fedflow.generation.reading import Found, read_settings

_MODULE_OF = {
    "Found": "reading",
    "generate": "pictures",
    "parameters_text": "png",
    "png_bytes": "png",
    "read_settings": "reading",
    "save_png": "png",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


__all__ = ["Found", "generate", "parameters_text", "png_bytes", "read_settings", "save_png"]
