"""PNG files that carry their settings in the text chunk `parameters`, the form that AUTOMATIC1111's web UI writes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fedflow.storage import write_atomic


def parameters_text(
    prompt: str,
    *,
    negative: str,
    steps: int,
    sampler: str,
    guidance: float,
    seed: int,
    size: int | tuple[int, int],
    model_name: str,
    model_hash: str,
    adapters: Sequence[tuple[str, float]] = (),
    strength: float | None = None,
) -> str:
    """The settings of one picture as other tools read them.

    `size` is width and height in pixels, one number where they are alike. `sampler` is the name that other tools know
    (fedflow.models.SAMPLERS has it), `adapters` are names and weights, written as `<lora:name:weight>` behind the
    prompt. `model_hash` is empty for weights that are nowhere kept. `strength` is that of a picture drawn over another
    one.
    """
    width, height = size if isinstance(size, tuple) else (size, size)
    tags = "".join(f" <lora:{name}:{weight:g}>" for name, weight in adapters)
    settings = {
        "Steps": steps,
        "Sampler": sampler,
        "CFG scale": f"{guidance:g}",
        "Seed": seed,
        "Size": f"{width}x{height}",
        **({"Model hash": model_hash[:10]} if model_hash else {}),
        "Model": model_name,
        **({} if strength is None else {"Denoising strength": f"{strength:g}"}),
    }
    last = ", ".join(f"{key}: {value}" for key, value in settings.items())
    return f"{prompt}{tags}\nNegative prompt: {negative}\n{last}"


def save_png(path: Path, image: npt.NDArray[np.uint8], parameters: str) -> None:
    """Write `image`, uint8 (h, w, 3), with `parameters` in its text chunk. Raises StorageError as write_atomic does."""
    write_atomic(path, png_bytes(image, parameters))


def png_bytes(image: npt.NDArray[np.uint8], parameters: str) -> bytes:
    """The file of `image`, uint8 (h, w, 3), with `parameters` in its text chunk."""
    info = PngInfo()
    info.add_text("parameters", parameters)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
