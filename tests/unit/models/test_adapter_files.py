"""Adapter files against real diffusers: what it loads has the strength that we wrote, and what it writes we read."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fedflow.errors import AdapterError
from fedflow.lora import Adapter, Factors
from fedflow.models.adapter_files import adapter_bytes, kohya_name, open_adapter, read_adapter

Q = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONV = "unet.down_blocks.0.resnets.0.conv1"
FF = "unet.up_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj"
TEXT = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"


def sample_adapter(generator: torch.Generator) -> Adapter:
    """Of unlike ranks and alphas, none of them alpha == rank but one."""

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return {
        Q: Factors(random(4, 32), random(32, 4), 2.0),
        OUT: Factors(random(4, 64), random(64, 4), 2.0),
        CONV: Factors(random(2, 32, 3, 3), random(32, 2, 1, 1), 6.0),
        FF: Factors(random(4, 32), random(256, 4), 4.0),
        TEXT: Factors(random(4, 32), random(32, 4), 8.0),
        # diffusers knows a kohya text encoder by this module.
        TEXT.replace("q_proj", "out_proj"): Factors(random(4, 32), random(32, 4), 8.0),
    }


@pytest.fixture
def adapter() -> Adapter:
    return sample_adapter(torch.Generator().manual_seed(0))


def assert_same(got: Adapter, want: Adapter) -> None:
    assert set(got) == set(want)
    for module, factors in want.items():
        assert torch.equal(got[module].A, factors.A), module
        assert torch.equal(got[module].B, factors.B), module
        assert got[module].alpha == factors.alpha, module


@pytest.mark.parametrize(("layout", "peft_names"), [("kohya", False), ("diffusers", False), ("diffusers", True)])
def test_round_trip_is_bit_exact(tmp_path: Path, adapter: Adapter, layout: str, peft_names: bool) -> None:
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(adapter_bytes(adapter, layout, {}, peft_names))  # type: ignore[arg-type]
    got, got_layout = read_adapter(path)
    assert got_layout == layout
    assert open_adapter(path).peft_names == peft_names
    assert_same(got, adapter)


def test_kohya_names_and_header(tmp_path: Path, adapter: Adapter) -> None:
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(adapter_bytes({Q: adapter[Q], TEXT: adapter[TEXT]}, "kohya", {"modelspec.title": "Icons"}))
    tensors = load_file(path)
    assert sorted(tensors) == [
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj.alpha",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_up.weight",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight",
    ]
    assert tensors["lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.alpha"] == torch.tensor(2.0)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    assert header["ss_network_dim"] == "4"
    assert header["ss_network_alpha"] == "Dynamic"
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert header["modelspec.title"] == "Icons"
    assert len(header["modelspec.hash_sha256"]) == 66


@pytest.mark.parametrize(
    "module",
    [
        "unet.conv_in",
        "unet.time_embedding.linear_1",
        "unet.down_blocks.1.resnets.1.conv_shortcut",
        "unet.down_blocks.2.resnets.0.time_emb_proj",
        "unet.up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_out.0",
        "unet.up_blocks.0.upsamplers.0.conv",
        "unet.mid_block.attentions.0.proj_out",
        "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.2",
        "text_encoder.text_model.encoder.layers.11.mlp.fc1",
    ],
)
def test_every_kind_of_module_is_read_back_from_kohya(tmp_path: Path, module: str) -> None:
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(adapter_bytes({module: Factors(torch.ones(1, 2), torch.ones(3, 1), 1.0)}, "kohya", {}))
    assert list(open_adapter(path)) == [module]


def test_sdxl_text_encoders_are_numbered(tmp_path: Path) -> None:
    one = Factors(torch.ones(1, 2), torch.ones(3, 1), 1.0)
    second = TEXT.replace("text_encoder", "text_encoder_2")
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(adapter_bytes({TEXT: one, second: one}, "kohya", {}))
    assert {name.split("_")[1] for name in load_file(path)} == {"te1", "te2"}
    assert set(open_adapter(path)) == {TEXT, second}


def test_ambiguous_path_is_refused_for_kohya() -> None:
    with pytest.raises(AdapterError, match=r"unet\.my_layer.*no name in kohya"):
        kohya_name("unet.my_layer")


def test_private_metadata_is_refused(adapter: Adapter) -> None:
    with pytest.raises(AdapterError, match="ss_tag_frequency"):
        adapter_bytes(adapter, "kohya", {"ss_tag_frequency": "{}"})


def test_names_of_other_writers(tmp_path: Path) -> None:
    A, B = torch.ones(2, 3), torch.ones(5, 2)
    path = tmp_path / "adapter.safetensors"
    for names in (
        ("down_blocks.0.attentions.0.to_q.lora_A.weight", "down_blocks.0.attentions.0.to_q.lora_B.weight"),
        (
            "base_model.model.down_blocks.0.attentions.0.to_q.lora_A.default.weight",
            "base_model.model.down_blocks.0.attentions.0.to_q.lora_B.default.weight",
        ),
        (
            "unet.down_blocks.0.attentions.0.processor.to_q_lora.down.weight",
            "unet.down_blocks.0.attentions.0.processor.to_q_lora.up.weight",
        ),
    ):
        save_file({names[0]: A, names[1]: B}, path)
        got, layout = read_adapter(path)
        assert layout == "diffusers"
        assert list(got) == ["unet.down_blocks.0.attentions.0.to_q"]
        assert got["unet.down_blocks.0.attentions.0.to_q"].alpha == 2.0, "a missing alpha is the rank"


def test_alpha_of_lora_config(tmp_path: Path) -> None:
    module = "down_blocks.0.attentions.0.to_q"
    tensors = {f"unet.{module}.lora_A.weight": torch.ones(4, 3), f"unet.{module}.lora_B.weight": torch.ones(5, 4)}
    path = tmp_path / "adapter.safetensors"
    for config, alpha in (
        ({"unet.r": 4, "unet.lora_alpha": 8}, 8.0),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attentions.0.to_q": 3}}, 3.0),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"^attentions.0.to_q": 3}}, 8.0),
        ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 16.0),
        ({"r": 4, "lora_alpha": 12}, 12.0),
    ):
        save_file(tensors, path, metadata={"lora_adapter_metadata": json.dumps(config)})
        assert read_adapter(path)[0][f"unet.{module}"].alpha == alpha, config


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"weight": torch.ones(2, 2)}, {}, "tensor 'weight' is no part of a plain LoRA"),
        ({"unet.mid_block.x.lora_A.weight": torch.ones(2, 2)}, {}, "lacks its other half"),
        ({"lora_unet_mid_block_attentions_0_proj_in.hada_w1_a": torch.ones(2, 2)}, {}, "no LoHa|no DoRA, LoHa"),
        (
            {"lora_unet_wat.lora_down.weight": torch.ones(2, 2), "lora_unet_wat.lora_up.weight": torch.ones(2, 2)},
            {},
            "'lora_unet_wat' is no module",
        ),
        (
            {"unet.conv_in.lora_A.weight": torch.ones(2, 3), "unet.conv_in.lora_B.weight": torch.ones(5, 4)},
            {},
            r"unet\.conv_in.*A \(2, 3\) and B \(5, 4\)",
        ),
        (
            {"unet.conv_in.lora_A.weight": torch.ones(2, 3), "unet.conv_in.lora_B.weight": torch.ones(5, 2)},
            {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 1, "unet.alpha_pattern": {"(a+)+$": 2}})},
            "not a plain module path",
        ),
        (
            {"unet.conv_in.lora_A.weight": torch.ones(2, 3), "unet.conv_in.lora_B.weight": torch.ones(5, 2)},
            {"lora_adapter_metadata": "{"},
            "not JSON",
        ),
    ],
)
def test_refused_files_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str], words: str
) -> None:
    path = tmp_path / "their.safetensors"
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(AdapterError, match=words) as caught:
        open_adapter(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_alpha_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "their.safetensors"
    path.write_bytes(
        adapter_bytes(
            {"unet.conv_in": Factors(torch.ones(1, 2), torch.ones(3, 1), float("nan"))},
            "kohya",
            {"ss_network_alpha": "?"},
        )
    )
    with pytest.raises(AdapterError, match=r"alpha of 'unet\.conv_in' is nan"):
        read_adapter(path)


def tiny_pipeline() -> object:
    """A random Stable Diffusion of a hundred thousand parameters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from diffusers import (  # noqa: PLC0415 - seconds to import, and only two tests need it
            AutoencoderKL,
            DDIMScheduler,
            StableDiffusionPipeline,
            UNet2DConditionModel,
        )
        from transformers import CLIPTextConfig, CLIPTextModel  # noqa: PLC0415
        from transformers import logging as transformers_logging  # noqa: PLC0415

        transformers_logging.set_verbosity_error()
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            norm_num_groups=8,
            attention_head_dim=8,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
            )
        )
        return StableDiffusionPipeline(
            vae=AutoencoderKL(block_out_channels=(16,), norm_num_groups=4),
            text_encoder=text_encoder,
            tokenizer=None,
            unet=unet,
            scheduler=DDIMScheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("layout", "peft_names"), [("kohya", False), ("diffusers", False), ("diffusers", True)])
def test_diffusers_loads_our_files_at_their_strength(
    tmp_path: Path, adapter: Adapter, layout: str, peft_names: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline = tiny_pipeline()
    before = {
        "unet": {name: value.clone() for name, value in pipeline.unet.state_dict().items()},  # type: ignore[attr-defined]
        "text_encoder": {name: value.clone() for name, value in pipeline.text_encoder.state_dict().items()},  # type: ignore[attr-defined]
    }
    path = tmp_path / "pytorch_lora_weights.safetensors"
    path.write_bytes(adapter_bytes(adapter, layout, {}, peft_names))  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING):
        pipeline.load_lora_weights(path)  # type: ignore[attr-defined]
    pipeline.fuse_lora()  # type: ignore[attr-defined]
    pipeline.unload_lora_weights()  # type: ignore[attr-defined]
    changed = set()
    for component, old in before.items():
        for name, value in getattr(pipeline, component).state_dict().items():
            if not torch.equal(value, old[name]):
                module = f"{component}.{name.removesuffix('.weight')}"
                module = module.replace("text_encoder.encoder", "text_encoder.text_model.encoder")
                torch.testing.assert_close(value - old[name], adapter[module].delta(), rtol=1e-4, atol=1e-5)
                changed.add(module)
    assert changed == set(adapter)
