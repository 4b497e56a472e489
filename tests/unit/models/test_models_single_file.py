"""A checkpoint of one file, named as the original Stable Diffusion code names its tensors."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fedflow.errors import ModelError
from fedflow.models import BaseModel, open_model
from fedflow.models.checkpoints import has_shapes_of
from fedflow.shipped import starter_folder

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
# Places of the tiny model's blocks (two levels, one layer each) in the original's flat lists.
UNET_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "down_blocks.0.resnets.0": "input_blocks.1.0",
    "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0",
    "down_blocks.1.attentions.0": "input_blocks.3.1",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
    "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1",
    "up_blocks.0.resnets.1": "output_blocks.1.0",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0": "output_blocks.1.2",
    "up_blocks.1.resnets.0": "output_blocks.2.0",
    "up_blocks.1.resnets.1": "output_blocks.3.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}
VAE_BLOCKS = {
    "encoder.down_blocks.0.resnets.0": "encoder.down.0.block.0",
    "encoder.down_blocks.0.downsamplers.0": "encoder.down.0.downsample",
    "encoder.down_blocks.1.resnets.0": "encoder.down.1.block.0",
    "decoder.up_blocks.0.resnets": "decoder.up.1.block",
    "decoder.up_blocks.0.upsamplers.0": "decoder.up.1.upsample",
    "decoder.up_blocks.1.resnets": "decoder.up.0.block",
    "encoder.mid_block.resnets.0": "encoder.mid.block_1",
    "encoder.mid_block.resnets.1": "encoder.mid.block_2",
    "decoder.mid_block.resnets.0": "decoder.mid.block_1",
    "decoder.mid_block.resnets.1": "decoder.mid.block_2",
    "encoder.conv_norm_out": "encoder.norm_out",
    "decoder.conv_norm_out": "decoder.norm_out",
}


def original_name(name: str, blocks: dict[str, str]) -> str:
    """`name` with the longest known beginning replaced."""
    for ours in sorted(blocks, key=len, reverse=True):
        if name.startswith(f"{ours}."):
            return blocks[ours] + name.removeprefix(ours)
    return name


def single_file(model: BaseModel) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.unet.state_dict().items():
        original = original_name(name, UNET_BLOCKS)
        if ".resnets." in name:
            for ours, theirs in RESNET.items():
                original = original.replace(f".{ours}.", f".{theirs}.")
        tensors[f"model.diffusion_model.{original}"] = tensor.contiguous()
    for name, tensor in model.vae.state_dict().items():
        original = original_name(name, VAE_BLOCKS).replace("conv_shortcut", "nin_shortcut")
        tensors[f"first_stage_model.{original}"] = tensor.contiguous()
    for name, tensor in model.text_encoder.state_dict().items():
        tensors[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = tensor.contiguous()
    return tensors


def test_a_single_file_is_the_same_model_as_its_folder(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_model = open_model(str(tiny_model_folder))
    save_file(single_file(folder_model), tmp_path / "sd.safetensors")
    shutil.copytree(tiny_model_folder, tmp_path / "sd", ignore=shutil.ignore_patterns("*.safetensors"))
    model = open_model(str(tmp_path / "sd.safetensors"))
    assert model.content_hash == folder_model.content_hash
    alone = Path(shutil.copy(tmp_path / "sd.safetensors", tmp_path / "alone.safetensors"))
    assert not has_shapes_of(alone, starter_folder())
    assert not has_shapes_of(alone, tmp_path)
    alike = open_model(str(alone), [starter_folder(), tiny_model_folder])
    assert alike.content_hash == folder_model.content_hash
    assert alike.prediction_type == folder_model.prediction_type == "v_prediction"
    noise = Path(shutil.copytree(tiny_model_folder, tmp_path / "other")) / "scheduler" / "scheduler_config.json"
    noise.write_text(noise.read_text().replace("v_prediction", "epsilon"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for told in (noise.read_text(), "[]", "no JSON"):
        noise.write_text(told)
        with pytest.raises(ModelError, match="holds no configs"):  # which of the two it is nobody knows
            open_model(str(alone), [tiny_model_folder, noise.parents[1]])
    model.release("vae", "unet")
    assert torch.equal(model.unet.conv_in.weight, folder_model.unet.conv_in.weight)
    assert torch.equal(model.vae.encoder.conv_in.weight, folder_model.vae.encoder.conv_in.weight)


def test_without_configs_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    path = tmp_path / "sd.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"holds no configs and no tokenizer.*put a diffusers folder") as raised:
        open_model(str(path))
    assert "\n" not in str(raised.value)


def test_what_is_no_checkpoint_is_named(tiny_model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "sd.safetensors"
    path.write_bytes(b"nothing of the kind")
    shutil.copytree(tiny_model_folder, tmp_path / "sd", ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(ModelError, match=r"sd\.safetensors: cannot be opened") as raised:
        open_model(str(path))
    assert "\n" not in str(raised.value)
    notes = tmp_path / "notes.txt"
    notes.touch()
    with pytest.raises(ModelError, match=r"is no \.safetensors file"):
        open_model(str(notes))
