"""Settings out of PNG files."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fedflow.errors import MistakeError
from fedflow.generation import parameters_text, png_bytes, read_settings


def png(**texts: str) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def test_our_own_come_back_as_they_were_written() -> None:
    text = parameters_text(
        "a (cat:1.2), hat",
        negative="blurry, dark",
        steps=12,
        sampler="DPM++ 2M",
        guidance=3.5,
        seed=4294967295,
        size=64,
        model_name="starter",
        model_hash="0123456789abcdef",
        adapters=[("Some style 2", -0.85)],
        strength=0.4,
    )
    found = read_settings(png_bytes(np.zeros((8, 8, 3), np.uint8), text))
    assert (found.prompt, found.negative) == ("a (cat:1.2), hat", "blurry, dark")
    assert (found.steps, found.guidance, found.seed, found.width) == (12, 3.5, 4294967295, 64)
    assert (found.sampler, found.model, found.model_hash) == ("dpm++", "starter", "0123456789")
    assert found.adapters == [("Some style 2", -0.85)]


def test_those_of_a1111_are_read() -> None:
    text = (
        "masterpiece, cat\nsecond line <lora:fur:0.7:1>\nNegative prompt: bad\nworse\n"
        "Steps: 30, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 5, Size: 512x768, Model: v1-5, "
        'Lora hashes: "a: b, c: d"'
    )
    found = read_settings(png(parameters=text))
    assert (found.prompt, found.negative) == ("masterpiece, cat second line", "bad worse")
    assert (found.steps, found.sampler, found.width, found.height, found.model) == (30, "dpm++", 512, 768, "v1-5")
    assert found.adapters == [("fur", 0.7)]
    assert read_settings(png(parameters="only words")).prompt == "only words"


def test_a_workflow_of_comfyui_is_followed() -> None:
    nodes = {
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 2**40, "steps": 20, "cfg": 8, "sampler_name": "euler_ancestral", "model": ["10", 0],
                "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
            },
        },
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/base.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly"}},
        "8": {"class_type": "Text", "inputs": {"string": "a cat"}},
        "10": {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": "x.safetensors", "strength_model": 0.5, "model": ["4", 0]},
        },
    }  # fmt: skip
    found = read_settings(png(prompt=json.dumps(nodes)))
    assert (found.prompt, found.negative, found.seed, found.guidance) == ("a cat", "ugly", 2**40, 8.0)
    assert (found.sampler, found.model, found.adapters) == ("euler-a", "sd/base.safetensors", [("x.safetensors", 0.5)])
    assert (found.width, found.steps) == (512, 20)


def test_links_in_a_circle_and_nonsense_come_to_an_end() -> None:
    circle = {"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "model": ["2", 0], "steps": "many"}}}
    circle["2"] = {"class_type": "X", "inputs": {"text": ["2", 0], "model": ["2", 0]}}
    found = read_settings(png(prompt=json.dumps(circle)))
    assert (found.prompt, found.steps) == ("", None)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no PNG picture"),
        (b"GIF89a", "no PNG picture"),
        (png(), "carries no settings"),
        (png(prompt="[]"), "no graph of nodes"),
        (png(prompt="[" * 100_000), "no graph of nodes"),
        (png(prompt="{}"), "no KSampler"),
        (png(parameters="a" * 1_000_001), "longer than a million"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(content: bytes, told: str) -> None:
    with pytest.raises(MistakeError, match=told):
        read_settings(content)
