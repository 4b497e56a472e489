"""Opening base models: folders, single files, hub names, and what is refused."""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from fedflow.errors import ModelError
from fedflow.models import open_model, save_model
from fedflow.models.base_model import PARTS


def test_a_folder_opens_in_float32_and_frozen(tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    assert model.resolution == 16
    assert model.latent_size() == (4, 8, 8)
    assert model.latent_size(32) == (4, 16, 16)
    assert model.prediction_type == "v_prediction"
    for part in ("unet", "vae", "text_encoder"):
        parameters = list(model.part(part).parameters())
        assert {parameter.dtype for parameter in parameters} == {torch.float32}
        assert not any(parameter.requires_grad for parameter in parameters)


def test_captions_have_the_embeddings_of_the_pipeline(tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_folder)
    wanted, empty = pipeline.encode_prompt("red, apple", torch.device("cpu"), 1, True, "")
    got = model.encode_captions(["red, apple", ""])
    assert got.shape == (2, 16, 8)
    assert torch.equal(got[0], wanted[0])
    assert torch.equal(got[1], empty[0])
    room = model.tokenizer.model_max_length - 2  # beside its start and end; one token per letter
    assert model.too_long(["", "a" * room, "a" * (room + 1)]) == [2]


def test_the_hash_follows_the_weights_and_not_the_layout(tiny_model_folder: Path, tmp_path: Path) -> None:
    model = open_model(str(tiny_model_folder))
    copy = tmp_path / "copy"
    save_model(model, copy)
    assert open_model(str(copy)).content_hash == model.content_hash
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    tensors["conv_in.bias"][0] += 1.0
    save_file(tensors, weights, {"format": "pt"})
    assert open_model(str(copy)).content_hash != model.content_hash


def test_float16_files_open_in_float32(tiny_model_folder: Path, tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_folder)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.half()
    pipeline.save_pretrained(tmp_path / "half")
    model = open_model(str(tmp_path / "half"))
    for part in ("unet", "vae", "text_encoder"):
        assert {parameter.dtype for parameter in model.part(part).parameters()} == {torch.float32}


def test_a_released_part_comes_back_and_a_changed_one_stays(tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    before = model.vae.state_dict()["decoder.conv_in.weight"].clone()
    model.release("vae")
    assert not model.is_loaded("vae")
    with torch.inference_mode():
        again = model.vae.decoder.conv_in.weight
    assert torch.equal(again, before)
    assert not again.is_inference()
    model.mark_changed("vae")
    model.release("vae")
    assert model.is_loaded("vae")


def test_zero_terminal_snr_is_in_the_levels(tiny_model_folder: Path) -> None:
    levels = open_model(str(tiny_model_folder)).levels()
    assert len(levels) == 1000
    assert levels.signal_T[-1].item() == 0.0
    assert levels.noise_T[-1].item() == 1.0


def test_a_flow_scheduler_gives_flow_levels(tiny_model_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model_folder, tmp_path / "flow")
    index = json.loads((tmp_path / "flow" / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    (tmp_path / "flow" / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "flow" / "scheduler" / "scheduler_config.json").write_text(
        json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 100, "shift": 3.0})
    )
    model = open_model(str(tmp_path / "flow"))
    assert model.prediction_type == "flow"
    levels = model.levels()
    assert len(levels) == 100
    assert levels.noise_T[49].item() == pytest.approx(3 * 0.5 / (1 + 2 * 0.5))


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "weights.BIN"])
def test_pickles_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match=r"is a pickle.*use a \.safetensors file"):
        open_model(str(path))


def test_a_pickle_in_a_folder_is_not_opened(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="unet: cannot be opened") as raised:
        open_model(str(folder))
    assert "\n" not in str(raised.value)


def test_a_damaged_folder_is_one_line(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(tiny_model_folder, folder)
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="vae: cannot be opened") as raised:
        open_model(str(folder))
    assert "\n" not in str(raised.value)


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no model_index\.json"):
        open_model(str(tmp_path))
    with pytest.raises(ModelError, match="no such folder or file"):
        open_model("nowhere")
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline", "scheduler": ["diffusers", "X"]}')
    with pytest.raises(ModelError, match="is a FluxPipeline; FedFlow opens the Stable Diffusion 1 and 2 family"):
        open_model(str(tmp_path))


def test_a_name_said_to_be_of_the_hub_is_no_folder_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"owner/name: has no model_index\.json"):
        open_model("owner/name")
    with pytest.raises(ModelError, match="owner/name: not in the hub cache"):
        open_model("hub:owner/name")


def test_a_hub_that_cannot_be_reached_is_one_line_and_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(ModelError, match="not in the hub cache, and the hub cannot be reached") as raised:
        open_model("nobody/nothing")
    assert time.monotonic() - began < 10
    assert "\n" not in str(raised.value)


def test_offline_mode_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="not in the hub cache, and HF_HUB_OFFLINE is set"):
        open_model("nobody/nothing")


def test_a_size_that_does_not_fit_is_named(tiny_model_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"size 17: .* needs a multiple of 2 pixels; its own is 16"):
        open_model(str(tiny_model_folder)).latent_size(17)


def test_models_that_several_threads_open_at_once_are_whole(tiny_model_folder: Path) -> None:
    """A worker draws with one while a round opens another: the libraries change torch for all as they load weights."""
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_model(str(tiny_model_folder)), range(24)))
    assert len({model.content_hash for model in opened}) == 1
    for model in opened:
        assert not any(weight.is_meta for part in PARTS for weight in model.part(part).parameters())
