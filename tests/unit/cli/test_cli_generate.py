"""`fedflow generate` writes pictures that carry their settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fedflow.cli.generate import generate, split_weight
from fedflow.errors import AdapterError, ModelError
from fedflow.lora import Factors
from fedflow.models import adapter_bytes, new_adapter, open_model


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_pictures_of_every_prompt_and_seed(tiny_model_folder: Path, tmp_path: Path) -> None:
    written = generate(str(tiny_model_folder), ["red", "green"], tmp_path, seed=7, count=2, steps=2)
    assert [path.name for path in written] == [
        "001-seed-7.png",
        "001-seed-8.png",
        "002-seed-7.png",
        "002-seed-8.png",
    ]
    with Image.open(written[3]) as picture:
        assert picture.size == (16, 16)
        settings = picture.text["parameters"]  # type: ignore[attr-defined]
    assert settings.startswith("green\nNegative prompt: \nSteps: 2, Sampler: UniPC, CFG scale: 3, Seed: 8, Size: 16x16")


def test_adapters_act_by_their_weights(tiny_model_folder: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    fresh = new_adapter(open_model(str(tiny_model_folder)), 2, 2.0, False, generator)
    adapter = {key: Factors(f.A, torch.randn(f.B.shape, generator=generator), f.alpha) for key, f in fresh.items()}
    file = tmp_path / "style.safetensors"
    file.write_bytes(adapter_bytes(adapter, "kohya", {}))

    def drawn(name: str, *adapters: str) -> Path:
        return generate(str(tiny_model_folder), ["red"], tmp_path / name, adapters=list(adapters), steps=2)[0]

    base, none = drawn("base"), drawn("none", f"{file}:0")
    whole, halves = drawn("whole", str(file)), drawn("halves", f"{file}:0.5", f"{file}:0.5")
    assert np.array_equal(pixels(base), pixels(none))
    assert np.abs(pixels(base) - pixels(whole)).max() > 1
    assert np.abs(pixels(whole) - pixels(halves)).max() <= 1
    with Image.open(halves) as picture:
        assert picture.text["parameters"].startswith("red <lora:style:0.5> <lora:style:0.5>\n")  # type: ignore[attr-defined]


def test_a_weight_stands_behind_the_last_colon(tmp_path: Path) -> None:
    assert split_weight("a/b.safetensors") == (Path("a/b.safetensors"), 1.0)
    assert split_weight("a/b.safetensors:0.8") == (Path("a/b.safetensors"), 0.8)
    odd = tmp_path / "b:7"
    odd.touch()
    assert split_weight(str(odd)) == (odd, 1.0)
    with pytest.raises(AdapterError, match="weight 'strong' is not a number"):
        split_weight("b.safetensors:strong")


def test_nothing_to_draw_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="0 prompts, 1 pictures each"):
        generate(str(tiny_model_folder), [], tmp_path)
    with pytest.raises(AdapterError, match=r"missing\.safetensors"):
        generate(str(tiny_model_folder), ["red"], tmp_path, adapters=[f"{tmp_path}/missing.safetensors:1"])
