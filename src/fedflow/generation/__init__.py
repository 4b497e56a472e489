"""Pictures from prompts and seeds, and PNG files that other tools can read the settings from."""

from __future__ import annotations

from fedflow.generation.pictures import generate
from fedflow.generation.png import parameters_text, png_bytes, save_png

__all__ = ["generate", "parameters_text", "png_bytes", "save_png"]
