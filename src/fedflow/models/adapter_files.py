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
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from fedflow.errors import AdapterError
from fedflow.lora import Adapter, Factors
from fedflow.tensors import TensorFile, check_finite, open_tensors, to_bytes

Layout = Literal["diffusers", "kohya"]
LAYOUTS: tuple[Layout, ...] = ("diffusers", "kohya")
Number = TypeVar("Number", int, float)

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
_UNET_GRAMMAR = re.compile(rf"({_UNET_WORDS}|{_UNET_PLAIN}|\d+)(?:_|$)")
_TEXT_GRAMMAR = re.compile(rf"({_TEXT_WORDS}|{_TEXT_PLAIN}|\d+)(?:_|$)")
_KOHYA_COMPONENTS = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
}
_KOHYA_PARTS = {"lora_down.weight": "A", "lora_up.weight": "B", "alpha": "alpha"}

# diffusers' first files (to_q_lora), peft's names (lora_A), diffusers' names today.
_DIFFUSERS_NAME = re.compile(
    r"(?P<module>.+?)(?:\.processor)?"
    r"(?:\.(?P<old>to_q|to_k|to_v|to_out)_lora\.(?P<old_part>down|up)\.weight"
    r"|\.lora_(?P<peft_part>[AB])(?:\.default)?\.weight"
    r"|\.lora(?:_linear_layer)?\.(?P<part>down|up)\.weight"
    r"|\.alpha)"
)
_OLD_UNET_NAMES = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}
_OLD_TEXT_NAMES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_UNET_ROOTS = ("down_blocks.", "mid_block.", "up_blocks.", "conv_in", "conv_out", "time_embedding.", "add_embedding.")
_TEXT_ROOTS = ("text_model.", "encoder.layers.")
_PLAIN_PATH = re.compile(r"[\w.]+")
_ONLY_PLAIN = "plain LoRA of the UNet and text encoder is supported (no DoRA, LoHa, LoKr, no bias, no SGM block names)"

# kohya's trainers write these about the training pictures: nobody's folders and tags leave with an adapter.
_PRIVATE_METADATA = ("ss_tag_frequency", "ss_dataset_dirs", "ss_datasets", "ss_bucket_info", "ss_reg_dataset_dirs")


@dataclass(frozen=True)
class _Pair:
    """Names of one module's tensors in the file; the alpha of the metadata where no tensor has it."""

    A: str
    B: str
    alpha_name: str | None
    alpha: float


class AdapterFile(Mapping[str, Factors]):
    """An adapter file as a mapping from dotted module path to float32 factors, each read when it is asked for.

    `layout`: 'diffusers' or 'kohya'; `peft_names`: a diffusers layout that says lora_A and lora_B.
    """

    def __init__(self, tensors: TensorFile, layout: Layout, pairs: dict[str, _Pair], peft_names: bool) -> None:
        self.path = tensors.path
        self.layout: Layout = layout
        self.peft_names = peft_names
        self._tensors = tensors
        self._pairs = pairs

    def __getitem__(self, module: str) -> Factors:
        pair = self._pairs[module]
        alpha = pair.alpha if pair.alpha_name is None else float(self._tensors[pair.alpha_name])
        if not math.isfinite(alpha):
            raise AdapterError(f"{self.path}: alpha of '{module}' is {alpha}; it must be a finite number: export again")
        return Factors(self._tensors[pair.A].float(), self._tensors[pair.B].float(), alpha)

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


def open_adapter(path: Path) -> AdapterFile:
    """Open an adapter file: names and shapes are checked at once, values are read module by module.

    Raises:
        AdapterError: not a safetensors file, no LoRA, another kind of adapter (DoRA, LoHa, LoKr), half of a pair
            missing, shapes that do not belong together.
    """
    tensors = open_tensors(path, AdapterError)
    is_kohya = any(name.startswith(tuple(_KOHYA_COMPONENTS)) for name in tensors)
    configs = {} if is_kohya else _configs(tensors)
    found: dict[str, dict[str, str]] = {}
    for name in tensors:
        module, part = _kohya_name(path, name) if is_kohya else _diffusers_name(path, name)
        parts = found.setdefault(module, {})
        if part in parts:
            raise AdapterError(f"{path}: '{name}' and '{parts[part]}' are the same module twice; export it again")
        parts[part] = name
    if not found:
        raise AdapterError(f"{path}: holds no LoRA tensors; give an adapter file in diffusers or kohya layout")
    pairs = {module: _pair(tensors, module, parts, configs) for module, parts in found.items()}
    peft_names = not is_kohya and any(".lora_A." in pair.A for pair in pairs.values())
    return AdapterFile(tensors, "kohya" if is_kohya else "diffusers", pairs, peft_names)


def read_adapter(path: Path) -> tuple[Adapter, Layout]:
    """A whole adapter in float32, and its file's layout.

    Raises AdapterError as `open_adapter`, UpdateError for NaN or Inf.
    """
    file = open_adapter(path)
    adapter = dict(file.items())
    for module, factors in adapter.items():
        check_finite({f"{module} lora_A": factors.A, f"{module} lora_B": factors.B}, str(path))
    return adapter, file.layout


def adapter_bytes(
    adapter: Mapping[str, Factors], layout: Layout, metadata: Mapping[str, str], peft_names: bool = False
) -> bytes:
    """An adapter as a file's bytes, factors in the type they have.

    Args:
        adapter: modules keyed 'unet.…', 'text_encoder.text_model.…' or 'text_encoder_2.…'; ranks and alphas may differ.
        layout: 'diffusers' or 'kohya'.
        metadata: added to the header and winning over what is filled in by itself; say 'modelspec.title',
            'modelspec.resolution' ('512x512'), 'modelspec.trigger_phrase', 'ss_base_model_version' there.
        peft_names: in diffusers layout, lora_A and lora_B instead of lora.down and lora.up.

    Raises:
        AdapterError: a module that the layout cannot name, or metadata about the training pictures.
    """
    private = [key for key in metadata if key in _PRIVATE_METADATA]
    if private:
        raise AdapterError(f"metadata '{private[0]}' tells of the training pictures and must not leave; leave it out")
    if layout == "kohya":
        tensors = _kohya_tensors(adapter)
        header = _kohya_header(adapter, tensors)
    else:
        tensors = _diffusers_tensors(adapter, peft_names)
        header = {"format": "pt", LORA_CONFIG_KEY: json.dumps(_lora_configs(adapter), indent=2, sort_keys=True)}
    return to_bytes(tensors, {**header, **metadata})


def kohya_name(module: str) -> str:
    """`unet.mid_block.attentions.0.proj_in` as `lora_unet_mid_block_attentions_0_proj_in`.

    Raises AdapterError for a path that could not be read back, as its underscores are ambiguous.
    """
    component, _, path = module.partition(".")
    for prefix, name in _KOHYA_COMPONENTS.items():
        if name == component and _dotted(prefix, path.replace(".", "_")) == path:
            return prefix + path.replace(".", "_")
    raise AdapterError(f"module '{module}' has no name in kohya layout; write this adapter in diffusers layout")


def _dotted(prefix: str, underscored: str) -> str | None:
    """The dotted path of a kohya name without its prefix, or None where a word is unknown."""
    grammar = _UNET_GRAMMAR if prefix == "lora_unet_" else _TEXT_GRAMMAR
    words: list[str] = []
    position = 0
    while position < len(underscored):
        match = grammar.match(underscored, position)
        if match is None:
            return None
        words.append(match[1])
        position = match.end()
    return ".".join(words)


def _kohya_name(path: Path, name: str) -> tuple[str, str]:
    stem, _, suffix = name.partition(".")
    prefix = next((prefix for prefix in _KOHYA_COMPONENTS if stem.startswith(prefix)), None)
    if prefix is None or suffix not in _KOHYA_PARTS:
        raise AdapterError(f"{path}: tensor '{name}' is no part of a plain LoRA in kohya layout; {_ONLY_PLAIN}")
    dotted = _dotted(prefix, stem.removeprefix(prefix))
    if not dotted:
        raise AdapterError(f"{path}: '{stem}' is no module of a diffusers UNet or a CLIP text encoder; {_ONLY_PLAIN}")
    return f"{_KOHYA_COMPONENTS[prefix]}.{dotted}", _KOHYA_PARTS[suffix]


def _diffusers_name(path: Path, name: str) -> tuple[str, str]:
    match = _DIFFUSERS_NAME.fullmatch(name)
    module = _with_component(match["module"]) if match else None
    if match is None or module is None:
        raise AdapterError(f"{path}: tensor '{name}' is no part of a plain LoRA in diffusers layout; {_ONLY_PLAIN}")
    if match["old"]:
        names = _OLD_UNET_NAMES if module.startswith("unet.") else _OLD_TEXT_NAMES
        module = f"{module}.{names[match['old']]}"
    part = match["old_part"] or match["part"] or match["peft_part"] or "alpha"
    return module, {"down": "A", "up": "B"}.get(part, part)


def _with_component(module: str) -> str | None:
    """The path with its component in front, where peft or a single model's file left that out."""
    module = module.removeprefix("base_model.model.")
    if module.startswith(_UNET_ROOTS):
        return f"unet.{module}"
    if module.startswith(_TEXT_ROOTS):
        module = f"text_encoder.{module}"
    component, _, path = module.partition(".")
    if component not in _KOHYA_COMPONENTS.values():
        return None
    # transformers 5 dropped this level of the text encoder, the files did not.
    return f"{component}.text_model.{path}" if component != "unet" and path.startswith("encoder.") else module


def _pair(tensors: TensorFile, module: str, parts: dict[str, str], configs: dict[str, dict[str, Any]]) -> _Pair:
    if "A" not in parts or "B" not in parts:
        half = next(iter(parts.values()))
        raise AdapterError(f"{tensors.path}: '{half}' lacks its other half (down and up); export the adapter again")
    A, B, alpha_name = parts["A"], parts["B"], parts.get("alpha")
    try:
        # On the meta device: the shapes are checked as the factors will check them, and nothing is read.
        empty_A, empty_B = (torch.empty(tensors.shape(name), device="meta") for name in (A, B))
        rank = Factors(empty_A, empty_B, alpha=1.0).rank
    except AdapterError as error:
        raise AdapterError(f"{tensors.path}: '{module}': {error}") from None
    for name in (A, B, *([alpha_name] if alpha_name else [])):
        if not tensors.dtype(name).is_floating_point and name != alpha_name:
            raise AdapterError(f"{tensors.path}: '{name}' holds whole numbers, a LoRA has fractions; export it again")
        if name == alpha_name and math.prod(tensors.shape(name)) != 1:
            raise AdapterError(f"{tensors.path}: '{name}' is not one number; export the adapter again")
    component, _, path = module.partition(".")
    return _Pair(A, B, alpha_name, _config_alpha(tensors.path, configs.get(component, {}), path, rank))


def _configs(tensors: TensorFile) -> dict[str, dict[str, Any]]:
    """LoraConfig by component, from the metadata that diffusers writes; a single model's has no prefix."""
    text = tensors.metadata.get(LORA_CONFIG_KEY, "{}")
    try:
        flat = json.loads(text)
    except (ValueError, RecursionError):
        flat = None
    if not isinstance(flat, dict):
        raise AdapterError(f"{tensors.path}: its metadata '{LORA_CONFIG_KEY}' is not JSON; export the adapter again")
    configs: dict[str, dict[str, Any]] = {}
    for key, value in flat.items():
        component, _, setting = key.partition(".")
        if setting and component in _KOHYA_COMPONENTS.values():
            configs.setdefault(component, {})[setting] = value
        else:
            for name in ("unet", "text_encoder"):
                configs.setdefault(name, {}).setdefault(key, value)
    return configs


def _config_alpha(path: Path, config: dict[str, Any], module: str, rank: int) -> float:
    """What LoraConfig says of the module's alpha: alpha_pattern, else lora_alpha, else the rank."""
    if config.get("use_dora"):
        raise AdapterError(f"{path}: is a DoRA; {_ONLY_PLAIN}")
    alpha = config.get("lora_alpha", rank)
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise AdapterError(f"{path}: alpha_pattern in its metadata is no map; export the adapter again")
    for pattern, value in patterns.items():
        # peft takes the keys for regular expressions; a stranger's are not run, plain paths are all that is written.
        plain = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
        if not _PLAIN_PATH.fullmatch(plain):
            raise AdapterError(f"{path}: alpha_pattern '{pattern}' is not a plain module path; export it as kohya file")
        short = module.removeprefix("text_model.")
        if plain in (module, short) or (not pattern.startswith("^") and module.endswith(f".{plain}")):
            alpha = value
            break
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise AdapterError(f"{path}: alpha of '{module}' in its metadata is not a number; export the adapter again")
    # rsLoRA, arXiv 2312.03732: scaled by alpha / sqrt(r) instead of alpha / r.
    return float(alpha) * math.sqrt(rank) if config.get("use_rslora") else float(alpha)


def _kohya_tensors(adapter: Mapping[str, Factors]) -> dict[str, Tensor]:
    is_sdxl = any(module.startswith("text_encoder_2.") for module in adapter)
    tensors: dict[str, Tensor] = {}
    for module, factors in adapter.items():
        name = kohya_name(module)
        if is_sdxl and name.startswith("lora_te_"):
            name = name.replace("lora_te_", "lora_te1_", 1)
        tensors[f"{name}.lora_down.weight"] = factors.A
        tensors[f"{name}.lora_up.weight"] = factors.B
        tensors[f"{name}.alpha"] = torch.tensor(factors.alpha, dtype=torch.float32)
    return tensors


def _diffusers_tensors(adapter: Mapping[str, Factors], peft_names: bool) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for module, factors in adapter.items():
        stem = "lora" if module.startswith("unet.") else "lora_linear_layer"
        down, up = ("lora_A", "lora_B") if peft_names else (f"{stem}.down", f"{stem}.up")
        tensors[f"{module}.{down}.weight"] = factors.A
        tensors[f"{module}.{up}.weight"] = factors.B
    return tensors


def _lora_configs(adapter: Mapping[str, Factors]) -> dict[str, Any]:
    """LoraConfig of every component as diffusers writes it; what differs from the usual stands in the patterns."""
    flat: dict[str, Any] = {}
    for component in sorted({module.partition(".")[0] for module in adapter}):
        # Without text_model these paths end like the modules of transformers 4 and are those of transformers 5.
        modules = {
            module.removeprefix(f"{component}.").removeprefix("text_model."): factors
            for module, factors in adapter.items()
            if module.startswith(f"{component}.")
        }
        rank = _commonest(factors.rank for factors in modules.values())
        alpha = _commonest(factors.alpha for factors in modules.values())
        config = {
            "peft_type": "LORA",
            "r": rank,
            "lora_alpha": _whole(alpha),
            "lora_dropout": 0.0,
            "bias": "none",
            "use_rslora": False,
            "use_dora": False,
            "target_modules": sorted(modules),
            "rank_pattern": {path: factors.rank for path, factors in modules.items() if factors.rank != rank},
            "alpha_pattern": {
                path: _whole(factors.alpha) for path, factors in modules.items() if factors.alpha != alpha
            },
        }
        flat.update({f"{component}.{key}": value for key, value in config.items()})
    return flat


def _kohya_header(adapter: Mapping[str, Factors], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """kohya's metadata and ModelSpec 1.0.1, https://github.com/Stability-AI/ModelSpec; no word about pictures."""
    ranks = {factors.rank for factors in adapter.values()}
    alphas = {factors.alpha for factors in adapter.values()}
    plain = to_bytes(tensors, {})
    digest = hashlib.sha256(memoryview(plain)[8 + int.from_bytes(plain[:8], "little") :]).hexdigest()
    return {
        "ss_v2": "False",
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(ranks.pop()) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": str(_whole(alphas.pop())) if len(alphas) == 1 else "Dynamic",
        "sshs_model_hash": digest,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
        "modelspec.title": "FedFlow LoRA",
        "modelspec.hash_sha256": f"0x{digest}",
    }


def _commonest(values: Iterable[Number]) -> Number:
    return Counter(values).most_common(1)[0][0]


def _whole(number: float) -> int | float:
    return int(number) if float(number).is_integer() else number
