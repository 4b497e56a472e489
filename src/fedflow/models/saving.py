"""Writing a whole base model as a diffusers folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from diffusers import StableDiffusionPipeline

from fedflow.errors import MistakeError, StorageError
from fedflow.models.base_model import BaseModel
from fedflow.models.opening import quiet


def save_model(model: BaseModel, folder: Path) -> None:
    """Write `model` in float32 into `folder`, in the diffusers layout; a model folder already there is replaced.

    LoRA layers must be merged or removed first. An error or Ctrl-C leaves the old folder as it was. Between two
    renames at the end there is neither: after a kill just then the old one is `.NAME.replaced` and the new one
    `.NAME.partial`, both whole, and the next call puts the old one back before it starts.
    Raises MistakeError where `folder` is something else than a model or an empty folder, StorageError where the disk
    does not take it.
    """
    partial, replaced = (folder.with_name(f".{folder.name}.{end}") for end in ("partial", "replaced"))
    try:
        if replaced.is_dir() and not folder.exists():
            replaced.rename(folder)
        _check_replaceable(folder)
        with quiet():
            pipeline = StableDiffusionPipeline(
                vae=model.vae,
                text_encoder=model.text_encoder,
                tokenizer=model.tokenizer,
                unet=model.unet,
                scheduler=model.scheduler,
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
            shutil.rmtree(partial, ignore_errors=True)
            pipeline.save_pretrained(partial)
        _exchange(folder, partial, replaced)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise StorageError(f"{folder}: cannot be written ({reason}); free space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    """Refuse to replace what was no model: a file, or a folder of other things."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "model_index.json").is_file()):
        raise MistakeError(f"{folder}: is there already and no model; move it away or choose another folder")


def _exchange(folder: Path, partial: Path, replaced: Path) -> None:
    """Rename `partial` to `folder`; what was there goes to `replaced` first, and away when the new one stands."""
    shutil.rmtree(replaced, ignore_errors=True)
    try:
        if folder.exists():
            folder.rename(replaced)
        partial.rename(folder)
    except BaseException:
        if replaced.is_dir() and not folder.exists():
            replaced.rename(folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
