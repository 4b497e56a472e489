"""A base model and the UNet's weights that a run has made of it, as one model of the library."""

from __future__ import annotations

from pathlib import Path

from fedflow.models import open_model, save_model, set_weights
from fedflow.tensors import load_tensors


def write_whole_model(base: str, weights: Path, folder: Path) -> str:
    """Write `base`, as `open_model` takes it, with the `weights` of a release into `folder`; gives its content hash.

    Raises ModelError, and UpdateError for weights that do not fit.
    """
    model = open_model(base)
    set_weights(model, {f"unet.{name}": tensor for name, tensor in load_tensors(weights).items()})
    folder.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, folder)
    return open_model(str(folder)).content_hash
