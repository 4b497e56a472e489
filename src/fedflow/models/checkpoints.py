"""A base model as one checkpoint: its tensors by the names of the original Stable Diffusion code.

What ComfyUI and its kin load, and diffusers with `from_single_file`. The names count the blocks in flat lists:
https://github.com/CompVis/stable-diffusion/tree/main/ldm/modules/diffusionmodules, openaimodel.py and model.py.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from torch import Tensor

from fedflow.errors import ModelError
from fedflow.models.base_model import BaseModel
from fedflow.tensors.header import Entry, read_header

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
OPEN_CLIP_WIDTH = 1024
NOISE = ("prediction_type", "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "rescale_betas_zero_snr")
"""Of a scheduler's settings those that a model was trained with; the others are how it is drawn with."""

_UNET_PLAIN = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_PLAIN = {
    "conv_norm_out": "norm_out",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.attentions.0": "mid.attn_1",
    "mid_block.resnets.1": "mid.block_2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def has_shapes_of(file: Path, folder: Path) -> bool:
    """Whether UNet and text encoder in a checkpoint file have the shapes of those in a diffusers folder.

    Headers alone are read; what has none that can be read is not alike.
    """
    try:
        its = read_header(file, ModelError).entries
        return all(
            (shapes := _shapes(its, prefix)) and shapes == _shapes_in(folder / part)
            for prefix, part in ((UNET, "unet"), (TEXT, "text_encoder"))
        )
    except ModelError:
        return False


def settings_digest(folder: Path) -> str:
    """What tells a diffusers folder's noise and vocabulary from others'; of what cannot be read it is its place."""
    try:
        noise = json.loads((folder / "scheduler" / "scheduler_config.json").read_bytes())
        whole, words = folder / "tokenizer" / "tokenizer.json", folder / "tokenizer" / "vocab.json"
        vocabulary = json.loads(words.read_bytes() if words.is_file() else whole.read_bytes())
        vocabulary = vocabulary if words.is_file() else vocabulary["model"]["vocab"]
        told = [{name: noise.get(name) for name in NOISE}, vocabulary]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not there, no JSON, or none of an object
        return str(folder)
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def text_width(file: Path) -> int:
    """The width of the text that a checkpoint's UNet reads; 0 where it reads none. Raises ModelError."""
    entries = read_header(file, ModelError).entries
    read = (entry.shape for name, entry in entries.items() if name.endswith(".attn2.to_k.weight"))
    return max((shape[-1] for shape in read if shape), default=0)


def _shapes_in(folder: Path) -> Counter[tuple[int, ...]]:
    found: Counter[tuple[int, ...]] = Counter()
    for path in folder.glob("*.safetensors"):
        found.update(_shapes(read_header(path, ModelError).entries))
    return found


def _shapes(entries: Mapping[str, Entry], prefix: str = "") -> Counter[tuple[int, ...]]:
    """How often each shape is there; positions are numbers that some files hold and some do not."""
    return Counter(
        entry.shape for name, entry in entries.items() if name.startswith(prefix) and not name.endswith("position_ids")
    )


def checkpoint_tensors(model: BaseModel) -> dict[str, Tensor]:
    """The weights of UNet, autoencoder and text encoder, named as the original code names them, in their own type.

    Raises ModelError for a model whose parts have no name there: that of Stable Diffusion 2's text encoder is another.
    """
    if int(model.text_encoder.config.hidden_size) >= OPEN_CLIP_WIDTH:
        raise ModelError(
            f"{model.name}: a checkpoint of one file is written for Stable Diffusion 1 and its like; take the merged "
            "folder, which every diffusers and ComfyUI opens too"
        )
    found = dict(_unet(model)) | dict(_vae(model))
    for name, tensor in model.text_encoder.state_dict().items():
        found[TEXT + name.removeprefix("text_model.")] = tensor
    return found


def _unet(model: BaseModel) -> Iterator[tuple[str, Tensor]]:
    config = model.unet.config
    layers = config.layers_per_block
    if not isinstance(layers, int):
        raise ModelError(f"{model.name}: its blocks have unlike numbers of layers; take the merged folder")
    levels = len(config.block_out_channels)
    blocks = dict(_UNET_PLAIN)
    for level in range(levels):
        first = 1 + level * (layers + 1)
        for layer in range(layers):
            blocks[f"down_blocks.{level}.resnets.{layer}"] = f"input_blocks.{first + layer}.0"
            blocks[f"down_blocks.{level}.attentions.{layer}"] = f"input_blocks.{first + layer}.1"
        blocks[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{first + layers}.0.op"
        has_attention = "CrossAttn" in config.up_block_types[level]
        for layer in range(layers + 1):
            place = level * (layers + 1) + layer
            blocks[f"up_blocks.{level}.resnets.{layer}"] = f"output_blocks.{place}.0"
            blocks[f"up_blocks.{level}.attentions.{layer}"] = f"output_blocks.{place}.1"
        last = level * (layers + 1) + layers
        blocks[f"up_blocks.{level}.upsamplers.0"] = f"output_blocks.{last}.{2 if has_attention else 1}"
    for name, tensor in model.unet.state_dict().items():
        yield UNET + _renamed(model, name, blocks, _RESNET if ".resnets." in name else {}), tensor


def _vae(model: BaseModel) -> Iterator[tuple[str, Tensor]]:
    levels = len(model.vae.config.block_out_channels)
    blocks: dict[str, str] = {}
    for half in ("encoder", "decoder"):
        blocks |= {f"{half}.{ours}": f"{half}.{theirs}" for ours, theirs in _VAE_PLAIN.items()}
        blocks |= {f"{half}.{name}": f"{half}.{name}" for name in ("conv_in", "conv_out")}
    for level in range(levels):
        up = levels - 1 - level  # the original counts the decoder's levels from the finest
        blocks[f"encoder.down_blocks.{level}.resnets"] = f"encoder.down.{level}.block"
        blocks[f"encoder.down_blocks.{level}.downsamplers.0"] = f"encoder.down.{level}.downsample"
        blocks[f"decoder.up_blocks.{level}.resnets"] = f"decoder.up.{up}.block"
        blocks[f"decoder.up_blocks.{level}.upsamplers.0"] = f"decoder.up.{up}.upsample"
    blocks |= {name: name for name in ("quant_conv", "post_quant_conv")}
    for name, tensor in model.vae.state_dict().items():
        is_attention = ".attentions." in name
        inner = _VAE_ATTENTION if is_attention else {"conv_shortcut": "nin_shortcut"}
        is_convolution = is_attention and tensor.ndim == 2  # of one pixel, there
        yield VAE + _renamed(model, name, blocks, inner), tensor[:, :, None, None] if is_convolution else tensor


def _renamed(model: BaseModel, name: str, blocks: Mapping[str, str], inner: Mapping[str, str]) -> str:
    """`name` with its block in the original's place, and what is inside the block in the original's words."""
    block = max((each for each in blocks if name.startswith(f"{each}.")), key=len, default=None)
    if block is None:
        raise ModelError(f"{model.name}: '{name}' has no name in a checkpoint of one file; take the merged folder")
    rest = name.removeprefix(block)
    for ours, theirs in inner.items():
        rest = re.sub(rf"(^|\.){re.escape(ours)}\.", rf"\g<1>{theirs}.", rest)
    return blocks[block] + rest
