"""An adapter's file as it came: read in any layout, checked, and written as others open it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedflow.errors import AdapterError
from fedflow.lora import Adapter, same_rank
from fedflow.models.adapter_files import LAYOUTS, LORA_CONFIG_KEY, Layout, adapter_bytes, read_adapter
from fedflow.models.adapters import check_fits
from fedflow.models.base_model import BaseModel
from fedflow.models.families import KOHYA_NAMES, family_of_adapter
from fedflow.tensors import open_tensors, to_bytes

NAMES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""What diffusers and peft call the file in a folder."""

PEFT_CONFIG = "adapter_config.json"
MOST_CONFIG_BYTES = 1_000_000
MOST_ADAPTER_BYTES = 4_000_000_000
"""An adapter is read into memory as a whole."""

MOST_WORDS, LONGEST_WORD = 20, 80
TRIGGER = "modelspec.trigger_phrase"


@dataclass(frozen=True)
class AdapterFound:
    """An adapter that passed: its bytes as the registry keeps it, its files for others, and what is known of it."""

    content: bytes
    layouts: Mapping[Layout, bytes]
    facts: dict[str, object]
    trigger_words: tuple[str, ...]


def read_adapter_file(path: Path, scratch: Path, base: BaseModel | None) -> AdapterFound:
    """The adapter in a file, or in a folder of diffusers or peft; `base` is the model that it must fit.

    Raises AdapterError, ModelError; UpdateError for NaN and Inf.
    """
    file = _file_of(path)
    if file.stat().st_size > MOST_ADAPTER_BYTES:
        raise AdapterError(f"{file}: has {file.stat().st_size} bytes, {MOST_ADAPTER_BYTES} are allowed for an adapter")
    config = file.with_name(PEFT_CONFIG)
    is_peft = path.is_dir() and config.is_file()
    metadata = dict(open_tensors(file, AdapterError).metadata)
    if is_peft:
        file = _with_config(file, config, scratch / "peft.safetensors")
    adapter, layout = read_adapter(file)
    if base is not None:
        check_fits(base, adapter)
    family = family_of_adapter(adapter, metadata)
    words = _trigger_words(metadata.get(TRIGGER, ""))
    alphas = {factors.alpha for factors in adapter.values()}
    facts: dict[str, object] = {
        "format": "peft" if is_peft else layout,
        "family": family,
        "rank": max(factors.rank for factors in adapter.values()),
        "alpha": alphas.pop() if len(alphas) == 1 else None,
        "modules": len(adapter),
    }
    if words:
        facts["trigger"] = ", ".join(words)
    return AdapterFound(adapter_bytes(adapter, "diffusers", {}), _layouts(adapter, family, words), facts, words)


def _file_of(path: Path) -> Path:
    if path.is_file():
        return path
    for name in NAMES:
        if (path / name).is_file() and not (path / name).is_symlink():
            return path / name
    alone = [each for each in path.glob("*.safetensors") if each.is_file() and not each.is_symlink()]
    if len(alone) != 1:
        raise AdapterError(f"{path}: holds neither {' nor '.join(NAMES)} nor one other .safetensors file")
    return alone[0]


def _with_config(file: Path, config: Path, target: Path) -> Path:
    """peft's file with its settings, which stand beside it and hold the alpha, in its header."""
    if config.is_symlink() or config.stat().st_size > MOST_CONFIG_BYTES:
        raise AdapterError(f"{config}: is no file of settings; export the adapter again")
    try:
        told: Any = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise AdapterError(f"{config}: is not JSON; export the adapter again")
    tensors = open_tensors(file, AdapterError)
    target.write_bytes(to_bytes(tensors, {LORA_CONFIG_KEY: json.dumps(told)}))
    return target


def _layouts(adapter: Adapter, family: str, words: tuple[str, ...]) -> dict[Layout, bytes]:
    header = {TRIGGER: ", ".join(words)} if words else {}
    if family in KOHYA_NAMES:
        header["ss_base_model_version"], header["modelspec.architecture"] = KOHYA_NAMES[family]
    whole = same_rank(adapter)
    return {layout: adapter_bytes(whole, layout, header if layout == "kohya" else {}) for layout in LAYOUTS}


def _trigger_words(phrase: str) -> tuple[str, ...]:
    words = dict.fromkeys(word.strip() for word in phrase.split(","))
    fit = [word for word in words if 1 <= len(word) <= LONGEST_WORD and word.isprintable()]
    return tuple(fit[:MOST_WORDS])
