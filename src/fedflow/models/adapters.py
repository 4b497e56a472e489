"""LoRA on a base model: layers put in by peft, their factors read, set and merged.

An adapter's keys are the paths of the adapted modules behind the part's name, `unet.down_blocks.1...to_q` and
`text_encoder.text_model.encoder...q_proj`. The text encoder's keys always hold `text_model`, as every file format
does, whether or not the installed transformers has a module of that name.
"""

# r rank, d outputs and k inputs of an adapted layer

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from fedflow.errors import AdapterError
from fedflow.lora import Adapter, Factors
from fedflow.models.base_model import BaseModel
from fedflow.tensors.making import MAKING

UNET_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_ENCODER_TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj")
LAYER = "default"


def lora_targets(model: BaseModel, part: str) -> dict[str, nn.Module]:
    """Adapter key to module of every attention projection of `part`, 'unet' or 'text_encoder', in the model's order."""
    endings = UNET_TARGETS if part == "unet" else TEXT_ENCODER_TARGETS
    return {
        _key(part, path): module
        for path, module in _plain_modules(model.part(part))
        if any(path.endswith(f".{ending}") for ending in endings)
    }


def new_adapter(model: BaseModel, rank: int, alpha: float, text_encoder: bool, generator: torch.Generator) -> Adapter:
    """A fresh adapter of zero effect, peft's start: A (r, k) uniform after Kaiming with a = sqrt(5), B (d, r) zero."""
    parts = ("unet", "text_encoder") if text_encoder else ("unet",)
    adapter: Adapter = {}
    for part in parts:
        for key, module in lora_targets(model, part).items():
            weight = _weight(module)
            A = torch.empty(rank, weight.shape[1])
            with MAKING:  # while weights are loaded, torch's own starts do nothing
                nn.init.kaiming_uniform_(A, a=math.sqrt(5), generator=generator)
            adapter[key] = Factors(A, torch.zeros(weight.shape[0], rank), alpha)
    return adapter


def add_lora(model: BaseModel, rank: int, alpha: float, text_encoder: bool, generator: torch.Generator) -> None:
    """Put fresh LoRA layers on the UNet's attention, and the text encoder's where asked; they alone are trainable."""
    set_adapter(model, new_adapter(model, rank, alpha, text_encoder, generator))


def set_adapter(model: BaseModel, adapter: Adapter) -> None:
    """Make `adapter` the model's trainable LoRA layers.

    Layers in place are overwritten where they have the adapter's modules, rank and alpha, and replaced otherwise.
    Raises AdapterError where a module is not in the model, a shape does not fit, or ranks or alphas are mixed (merge
    such an adapter instead).
    """
    check_fits(model, adapter)
    layers = _lora_layers(model)
    if {key: _settings_of(layer) for key, layer in layers.items()} != {
        key: (factors.rank, factors.alpha) for key, factors in adapter.items()
    }:
        remove_lora(model)
        _inject(model, adapter)
        layers = _lora_layers(model)
    with torch.no_grad():
        for key, factors in adapter.items():
            layers[key].lora_A[LAYER].weight.copy_(factors.A)
            layers[key].lora_B[LAYER].weight.copy_(factors.B)


def get_adapter(model: BaseModel) -> Adapter:
    """A copy of the model's LoRA factors, float32 on the CPU. Raises AdapterError where it has no LoRA layers."""
    layers = _lora_layers(model)
    if not layers:
        raise AdapterError(f"model '{model.name}' has no LoRA layers; add them with add_lora or set_adapter")
    return {
        key: Factors(_copy(layer.lora_A[LAYER].weight), _copy(layer.lora_B[LAYER].weight), _settings_of(layer)[1])
        for key, layer in layers.items()
    }


def carries_lora(model: BaseModel, part: str) -> bool:
    """Whether `part` has LoRA layers."""
    return any(key.startswith(f"{part}.") for key in _lora_layers(model))


def remove_lora(model: BaseModel) -> None:
    """Take the LoRA layers out again; the frozen weights stay as they are."""
    for part in ("unet", "text_encoder"):
        if not model.is_loaded(part):
            continue
        root = model.part(part)
        for path, module in list(root.named_modules()):
            if isinstance(module, LoraLayer):
                parent, _, child = path.rpartition(".")
                setattr(root.get_submodule(parent), child, module.get_base_layer())
        if hasattr(root, "peft_config"):
            del root.peft_config


def trainable_parameters(model: BaseModel) -> dict[str, nn.Parameter]:
    """Key to parameter of all that training moves: `<key>.lora_A` and `<key>.lora_B`, on the model's device."""
    found: dict[str, nn.Parameter] = {}
    for key, layer in _lora_layers(model).items():
        found[f"{key}.lora_A"] = layer.lora_A[LAYER].weight
        found[f"{key}.lora_B"] = layer.lora_B[LAYER].weight
    return found


def merge(model: BaseModel, adapter: Adapter, weight: float = 1.0) -> None:
    """Add `weight * scaling * B A` to the frozen weights, computed in float32, with LoRA layers in place or not.

    Raises AdapterError where a module is not in the model or a shape does not fit; then nothing is changed.
    """
    check_fits(model, adapter)
    with torch.no_grad():
        for key, factors in adapter.items():
            target = _weight(_module(model, key))
            delta = factors.delta().to(device=target.device, dtype=torch.float32)
            target.copy_(target.float() + weight * delta.reshape(target.shape))
    model.mark_changed(*(key.partition(".")[0] for key in adapter))


def get_base_weights(model: BaseModel, keys: Iterable[str]) -> dict[str, Tensor]:
    """A copy of the frozen weights behind an adapter's keys, `<key>.weight`, float32 on the CPU."""
    return {f"{key}.weight": _copy(_weight(_module(model, key))) for key in keys}


def set_base_weights(model: BaseModel, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite frozen weights, named as `get_base_weights` does. Raises AdapterError for what does not fit."""
    targets = {name: _weight(_module(model, name.removesuffix(".weight"))) for name in tensors}
    for name, target in targets.items():
        if target.shape != tensors[name].shape:
            got, wanted = tuple(tensors[name].shape), tuple(target.shape)
            raise AdapterError(f"'{name}' has shape {got}, model '{model.name}' has {wanted}; is it of another base?")
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])
    model.mark_changed(*(name.partition(".")[0] for name in tensors))


@contextmanager
def merged(model: BaseModel, adapters: Sequence[tuple[Adapter, float]]) -> Iterator[None]:
    """Within the context `adapters`, each with its weight, are merged; afterwards every bit is as it was before."""
    for adapter, _ in adapters:
        check_fits(model, adapter)
    keys = {key for adapter, _ in adapters for key in adapter}
    originals = {key: _weight(_module(model, key)).detach().clone() for key in keys}
    parts_changed = model.changed_parts()
    try:
        for adapter, weight in adapters:
            merge(model, adapter, weight)
        yield
    finally:
        with torch.no_grad():
            for key, original in originals.items():
                _weight(_module(model, key)).copy_(original)
        model.mark_unchanged(*(model.changed_parts() - parts_changed))


def _key(part: str, path: str) -> str:
    if part == "text_encoder":
        path = f"text_model.{path.removeprefix('text_model.')}"
    return f"{part}.{path}"


def _plain_modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules by path as they are without LoRA layers: a wrapped layer stands for itself, its insides are left out."""
    wrapped: list[str] = []
    for path, module in root.named_modules():
        if any(path.startswith(f"{outer}.") for outer in wrapped):
            continue
        if isinstance(module, LoraLayer):
            wrapped.append(path)
        yield path, module


def _module(model: BaseModel, key: str) -> nn.Module:
    """The module behind an adapter's key."""
    part, _, path = key.partition(".")
    if part in ("unet", "text_encoder"):
        root = model.part(part)
        for candidate in (path, path.removeprefix("text_model.")):
            try:
                found: nn.Module = root.get_submodule(candidate)
            except AttributeError:
                continue
            if hasattr(found, "weight"):
                return found
    raise AdapterError(f"adapter module '{key}' is not in model '{model.name}'; was it trained on another base model?")


def _weight(module: nn.Module) -> Tensor:
    """The frozen weight of a layer, wrapped by LoRA or not."""
    layer: Any = module.get_base_layer() if isinstance(module, LoraLayer) else module
    weight: Tensor = layer.weight
    return weight


def check_fits(model: BaseModel, adapter: Adapter) -> None:
    """Raise AdapterError where the adapter is empty, a module is not in the model, or a shape is another."""
    if not adapter:
        raise AdapterError(f"the adapter for model '{model.name}' is empty; give one with at least one module")
    for key, factors in adapter.items():
        weight = _weight(_module(model, key))
        got = (factors.B.shape[0], *factors.A.shape[1:])
        if got != tuple(weight.shape):
            raise AdapterError(
                f"adapter module '{key}' has shape {got}, model '{model.name}' has {tuple(weight.shape)}; "
                f"was it trained on another base model?"
            )


def _inject(model: BaseModel, adapter: Adapter) -> None:
    settings = {(factors.rank, factors.alpha) for factors in adapter.values()}
    if len(settings) > 1:
        raise AdapterError(f"the adapter mixes ranks or alphas {sorted(settings)}; merge it into the base instead")
    ((rank, alpha),) = settings
    for part in ("unet", "text_encoder"):
        if any(key.startswith(f"{part}.") for key in adapter):
            paths = [path for path, _ in _plain_modules(model.part(part)) if _key(part, path) in adapter]
            config: Any = LoraConfig(r=rank, lora_alpha=alpha, target_modules=paths)
            with MAKING:
                inject_adapter_in_model(config, model.part(part), adapter_name=LAYER)


def _lora_layers(model: BaseModel) -> dict[str, Any]:
    """Key to peft layer; peft's containers are untyped, hence `Any`."""
    return {
        _key(part, path): module
        for part in ("unet", "text_encoder")
        if model.is_loaded(part)
        for path, module in model.part(part).named_modules()
        if isinstance(module, LoraLayer)
    }


def _settings_of(layer: Any) -> tuple[int, float]:
    return int(layer.r[LAYER]), float(layer.lora_alpha[LAYER])


def _copy(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", torch.float32, copy=True).contiguous()
