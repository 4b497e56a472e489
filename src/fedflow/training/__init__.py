"""Local training: latents and captions encoded once, one loop for LoRA and for the whole UNet, exact resume."""

from __future__ import annotations

from fedflow.training.caches import CaptionCache, LatentCache, cache_captions, cache_latents
from fedflow.training.checkpoint import CHECKPOINT_NAME, Begun, begun_in
from fedflow.training.loop import Progress, TrainResult, data_of, train_lora, train_unet
from fedflow.training.recipe import Recipe, recipe_of, smaller_batches

__all__ = [
    "CHECKPOINT_NAME",
    "Begun",
    "CaptionCache",
    "LatentCache",
    "Progress",
    "Recipe",
    "TrainResult",
    "begun_in",
    "cache_captions",
    "cache_latents",
    "data_of",
    "recipe_of",
    "smaller_batches",
    "train_lora",
    "train_unet",
]
