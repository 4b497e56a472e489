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
    assert found.lost == ["Denoising strength"], "the picture that it was drawn over is not in the file"


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
    assert found.lost == ["Karras", "Lora hashes"]
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
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly"}},
        "8": {"class_type": "Text", "inputs": {"string": "a cat"}},
        "10": {
            "class_type": "LoraLoader",
            "inputs": {
                "lora_name": "x.safetensors", "strength_model": 0.5, "strength_clip": 0.5, "model": ["4", 0]
            },
        },
    }  # fmt: skip
    found = read_settings(png(prompt=json.dumps(nodes)))
    assert (found.prompt, found.negative, found.seed, found.guidance) == ("a cat", "ugly", 2**40, 8.0)
    assert (found.sampler, found.model, found.adapters) == ("euler-a", "sd/base.safetensors", [("x.safetensors", 0.5)])
    assert (found.width, found.steps) == (512, 20)
    assert found.lost == []
    nodes["10"]["inputs"] |= {"strength_clip": 1.0}  # type: ignore[operator]
    nodes["5"]["inputs"] |= {"batch_size": 2}  # type: ignore[operator]
    assert read_settings(png(prompt=json.dumps(nodes))).lost == ["strength_clip", "batch_size"]


@pytest.mark.parametrize(
    ("settings", "lost"),
    [
        ("Sampler: Euler a, Size: 8x8, Model hash: abc, Model: m, Version: v1.9", []),
        ("Sampler: Euler, Schedule type: Automatic, Clip skip: 1, ENSD: 0", []),
        ("Sampler: Euler, Schedule type: SGM Uniform, Clip skip: 2, ENSD: 31337", ["SGM Uniform", "Clip skip", "ENSD"]),
        (
            "Hires upscale: 2, Hires steps: 10, Hires upscaler: Latent, Denoising strength: 0.7",
            ["Hires fix", "Denoising strength"],
        ),
        ('Hashes: {"model": "ab", "lora:fur": "cd"}, Civitai resources: [{"type":"lora","weight":1}], VAE: x', ["VAE"]),
        ('Lora hashes: "fur: ab, ink: cd", NGMS: 2', ["Lora hashes", "NGMS"]),
        (", ".join(f"Key {number}: 1" for number in range(99)), [f"Key {number}" for number in range(20)]),
    ],
)
def test_settings_of_a1111_without_a_place_here_are_named_once(settings: str, lost: list[str]) -> None:
    assert read_settings(png(parameters=f"cat\nNegative prompt: \nSteps: 9, {settings}")).lost == lost


def test_nodes_of_comfyui_that_are_not_known_are_named_once() -> None:
    nodes = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base"}},
        "2": {"class_type": "FreeU", "inputs": {"b1": 1.3, "model": ["1", 0]}},
        "3": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["1", 1]}},
        "4": {"class_type": "CLIPTextEncode", "inputs": {"text": "cat", "clip": ["3", 0]}},
        "5": {"class_type": "ControlNetApply", "inputs": {"conditioning": ["4", 0], "image": ["6", 0]}},
        "6": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "7": {"class_type": "EmptyLatentImage", "inputs": {"width": ["8", 0], "height": 48}},
        "8": {"class_type": "PrimitiveInt", "inputs": {"value": 32}},
        "9": {
            "class_type": "KSampler",
            "inputs": {
                "steps": 5, "model": ["2", 0], "positive": ["5", 0], "negative": ["4", 0], "latent_image": ["7", 0],
                "scheduler": "karras", "denoise": 1.0, "sampler_name": "euler",
            },
        },
        "10": {"class_type": "KSampler", "inputs": {"latent_image": ["9", 0], "denoise": 0.5}},
        "11": {"class_type": "VAEDecode", "inputs": {"samples": ["10", 0]}},
        "12": {"class_type": "SaveImage", "inputs": {"images": ["11", 0]}},
    }  # fmt: skip
    found = read_settings(png(prompt=json.dumps(nodes)))
    assert (found.width, found.height, found.prompt, found.model) == (32, 48, "cat", "base")
    assert found.lost == ["karras", "FreeU", "CLIPSetLastLayer", "ControlNetApply", "LoadImage", "KSampler"]
    nodes["9"]["inputs"] |= {"denoise": 0.5, "scheduler": "normal", "latent_image": ["6", 0]}  # type: ignore[index,operator]
    lost = read_settings(png(prompt=json.dumps(nodes))).lost
    assert lost[0] == "denoise"
    assert "EmptyLatentImage" in lost


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
