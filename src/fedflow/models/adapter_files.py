"""LoRA files that other tools open: diffusers layout and kohya layout, read module by module, alpha honoured.

kohya: `lora_unet_<path, dots as underscores>.lora_down.weight`, `.lora_up.weight`, `.alpha`; text encoder `lora_te_`
(SD1, SD2) or `lora_te1_`, `lora_te2_` (SDXL). diffusers: `unet.<path>.lora.down.weight` (its own names) or
`.lora_A.weight` (peft's names), alpha in the LoraConfig that stands as JSON in the metadata.
A missing alpha means alpha = rank, as every loader takes it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fedflow.errors import AdapterError
from fedflow.lora import Adapter, Factors
from fedflow.tensors import TensorFile, open_tensors, to_bytes

Layout = Literal["diffusers", "kohya"]

# Where diffusers keeps the LoraConfig of every component, keys prefixed 'unet.' and 'text_encoder.'.
LORA_CONFIG_KEY = "lora_adapter_metadata"

# Every word of the module paths of diffusers' UNets and of CLIP text encoders that itself holds an underscore:
# in a kohya name the underscores between words stand for dots, those within these words do not.
_UNET_WORDS = (
    "down_blocks|mid_block|up_blocks|transformer_blocks|to_q|to_k|to_v|to_out|to_add_out|add_k_proj|add_q_proj|"
    "add_v_proj|proj_in|proj_out|conv_in|conv_out|conv_shortcut|time_emb_proj|time_embedding|add_embedding|"
    "class_embedding|encoder_hid_proj|linear_1|linear_2|cond_proj"
)
_UNET_PLAIN = "attentions|resnets|downsamplers|upsamplers|attn1|attn2|ff|net|proj|conv1|conv2|conv"
_TEXT_WORDS = "text_model|self_attn|q_proj|k_proj|v_proj|out_proj|text_projection|token_embedding|position_embedding"
_TEXT_PLAIN = "encoder|layers|mlp|fc1|fc2|embeddings"
_GRAMMAR = {
    "unet": re.compile(rf"({_UNET_WORDS}|{_UNET_PLAIN}|\d+)(?:_|$)"),
    "text": re.compile(rf"({_TEXT_WORDS}|{_TEXT_PLAIN}|\d+)(?:_|$)"),
}
_KOHYA_COMPONENTS = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
_KOHYA_PARTS = {".lora_down.weight": "A", ".lora_up.weight": "B", ".alpha": "alpha"}

_DIFFUSERS_PART = re.compile(
    r"(?P<module>.+?)(?:\.processor)?"
    r"(?:\.(?P<old>to_q|to_k|to_v|to_out)_lora\.(?P<old_part>down|up)\.weight"
    r"|\.lora_(?P<peft_part>[AB])(?:\.default)?\.weight"
    r"|\.lora(?:_linear_layer)?\.(?P<part>down|up)\.weight"
    r"|\.(?P<alpha>alpha))"
)
_OLD_TEXT_NAMES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_UNET_ROOTS = ("down_blocks.", "mid_block.", "up_blocks.", "conv_in", "conv_out", "time_embedding.", "add_embedding.")

# kohya's trainers write these about the training pictures: nobody's folders and tags leave with an adapter.
_PRIVATE_METADATA = ("ss_tag_frequency", "ss_dataset_dirs", "ss_datasets", "ss_bucket_info", "ss_reg_dataset_dirs")


@dataclass(frozen=True)
class _Module:
    """Names of one module's tensors in the file, and its alpha where that stands in the metadata."""

    A: str
    B: str
    alpha_name: str | None
    alpha: float | None


class AdapterFile(Mapping[str, Factors]):
    """An adapter file as a mapping from dotted module path to float32 factors, each read when it is asked for."""

    def __init__(self, tensors: TensorFile, layout: Layout, peft_names: bool, modules: dict[str, _Module]) -> None:
        self.path = tensors.path
        self.metadata = tensors.metadata
        self.layout: Layout = layout
        self.peft_names = peft_names
        self._tensors = tensors
        self._modules = modules

    def __getitem__(self, module: str) -> Factors:
        names = self._modules[module]
        A = self._tensors[names.A].float()
        alpha = float(A.shape[0]) if names.alpha is None else names.alpha
        if names.alpha_name is not None:
            alpha = float(self._tensors[names.alpha_name])
        if not math.isfinite(alpha):
            raise AdapterError(f"{self.path}: alpha of '{module}' is {alpha}; it must be a number: train again")
        return Factors(A, self._tensors[names.B].float(), alpha)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)


def open_adapter(path: Path) -> AdapterFile:
    """Open an adapter file: names and shapes are checked at once, values are read module by module.

    Raises:
        AdapterError: not a safetensors file, no LoRA, another kind of adapter (DoRA, LoHa, LoKr), a half of a pair
            missing, shapes that do not belong together.
    """
    tensors = open_tensors(path, AdapterError)
    names = tensors.names()
    if any(name.startswith(tuple(_KOHYA_COMPONENTS)) for name in names):
        modules = _index(path, (_kohya_part(path, name) for name in names), {})
        file = AdapterFile(tensors, "kohya", peft_names=False, modules=modules)
    else:
        configs = _configs(path, tensors.metadata)
        modules = _index(path, (_diffusers_part(path, name) for name in names), configs)
        peft_names = any(re.search(r"\.lora_[AB](\.default)?\.weight$", name) for name in names)
        ranks = {module: tensors.shape(pair.A)[0] for module, pair in modules.items() if tensors.shape(pair.A)}
        modules = {module: _with_alpha(path, module, pair, ranks, configs) for module, pair in modules.items()}
        file = AdapterFile(tensors, "diffusers", peft_names=peft_names, modules=modules)
    if not modules:
        raise AdapterError(f"{path}: holds no LoRA tensors; give an adapter file in diffusers or kohya layout")
    for pair in modules.values():
        _check_shapes(tensors, pair)
    return file
