"""Writing a whole base model as a diffusers folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from diffusers import StableDiffusionPipeline

from fedflow.errors import StorageError
from fedflow.models.base_model import BaseModel
from fedflow.models.opening import quiet


def save_model(model: BaseModel, folder: Path) -> None:
    """Write `model` in float32 into `folder`, in the diffusers layout; a folder already there is replaced.

    LoRA layers must be merged or removed first. Whatever stops this leaves the old folder as it was.
    Raises StorageError where the disk does not take it.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    try:
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
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise StorageError(f"{folder}: cannot be written ({reason}); free space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
