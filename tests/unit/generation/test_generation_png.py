"""PNG files and the settings they carry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fedflow.generation import parameters_text, save_png


def text(prompt: str) -> str:
    return parameters_text(
        prompt,
        negative="blurry",
        steps=12,
        sampler="DPM++ 2M",
        guidance=3.0,
        seed=7,
        size=64,
        model_name="starter",
        model_hash="0123456789abcdef",
        adapters=[("style", 0.8)],
    )


def test_the_settings_stand_in_three_lines() -> None:
    assert text("fluent_style, red_apple") == (
        "fluent_style, red_apple <lora:style:0.8>\n"
        "Negative prompt: blurry\n"
        "Steps: 12, Sampler: DPM++ 2M, CFG scale: 3, Seed: 7, Size: 64x64, Model hash: 0123456789, Model: starter"
    )


def test_a_size_of_two_is_width_and_height() -> None:
    told = parameters_text(
        "cat", negative="", steps=1, sampler="DDIM", guidance=1.0, seed=1, size=(48, 32), model_name="m", model_hash="h"
    )
    assert "Size: 48x32," in told


def test_a_png_gives_picture_and_settings_back(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for name, prompt in (("plain", "red_apple"), ("unicode", "красное яблоко 🍎")):
        path = tmp_path / f"{name}.png"
        save_png(path, picture, text(prompt))
        with Image.open(path) as read:
            assert np.array_equal(np.asarray(read), picture)
            assert read.text["parameters"] == text(prompt)  # type: ignore[attr-defined]
