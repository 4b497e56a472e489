"""Base models and adapters: the only room that imports diffusers, transformers and peft.

They take seconds to import, so a name is looked up when it is first used: reading an adapter file needs none of them.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

# transformers prints hints about optional packages while it is imported; a warning of theirs helps nobody here.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

if TYPE_CHECKING:
    from fedflow.models.adapter_files import adapter_bytes, read_adapter
    from fedflow.models.adapters import (
        add_lora,
        carries_lora,
        check_fits,
        get_adapter,
        get_base_weights,
        lora_targets,
        merge,
        merged,
        new_adapter,
        remove_lora,
        set_adapter,
        set_base_weights,
        trainable_parameters,
    )
    from fedflow.models.base_model import BaseModel, best_device
    from fedflow.models.checkpoints import checkpoint_tensors
    from fedflow.models.families import family_of, family_of_adapter
    from fedflow.models.folding import folded_lora
    from fedflow.models.mixed_precision import bfloat16_convolutions, cpu_multiplies_bfloat16
    from fedflow.models.opening import hub_adapter, hub_files, hub_folder, model_folder, open_model
    from fedflow.models.sampling import SAMPLERS, Start, decode_small, draw
    from fedflow.models.saving import save_model
    from fedflow.models.weights import get_weights, set_weights, unfreeze_unet

_MODULE_OF = {
    "SAMPLERS": "sampling",
    "BaseModel": "base_model",
    "Start": "sampling",
    "adapter_bytes": "adapter_files",
    "add_lora": "adapters",
    "best_device": "base_model",
    "bfloat16_convolutions": "mixed_precision",
    "carries_lora": "adapters",
    "check_fits": "adapters",
    "checkpoint_tensors": "checkpoints",
    "family_of": "families",
    "family_of_adapter": "families",
    "hub_adapter": "opening",
    "hub_files": "opening",
    "hub_folder": "opening",
    "cpu_multiplies_bfloat16": "mixed_precision",
    "decode_small": "sampling",
    "draw": "sampling",
    "folded_lora": "folding",
    "get_adapter": "adapters",
    "get_base_weights": "adapters",
    "get_weights": "weights",
    "lora_targets": "adapters",
    "merge": "adapters",
    "merged": "adapters",
    "model_folder": "opening",
    "new_adapter": "adapters",
    "open_model": "opening",
    "read_adapter": "adapter_files",
    "remove_lora": "adapters",
    "save_model": "saving",
    "set_adapter": "adapters",
    "set_base_weights": "adapters",
    "set_weights": "weights",
    "trainable_parameters": "adapters",
    "unfreeze_unet": "weights",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


__all__ = [
    "SAMPLERS",
    "BaseModel",
    "Start",
    "adapter_bytes",
    "add_lora",
    "best_device",
    "bfloat16_convolutions",
    "carries_lora",
    "check_fits",
    "checkpoint_tensors",
    "cpu_multiplies_bfloat16",
    "decode_small",
    "draw",
    "family_of",
    "family_of_adapter",
    "folded_lora",
    "get_adapter",
    "get_base_weights",
    "get_weights",
    "hub_adapter",
    "hub_files",
    "hub_folder",
    "lora_targets",
    "merge",
    "merged",
    "model_folder",
    "new_adapter",
    "open_model",
    "read_adapter",
    "remove_lora",
    "save_model",
    "set_adapter",
    "set_base_weights",
    "set_weights",
    "trainable_parameters",
    "unfreeze_unet",
]
