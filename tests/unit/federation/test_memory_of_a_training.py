"""What memory a training is told to need, against what a process that trains has had at most."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fedflow.federation.estimates import BaseShapes, memory_needed, shapes_of
from fedflow.models import model_folder
from fedflow.plan import STARTER, Plan

TRAINS = """
import pathlib, sys, torch
from fedflow.federation.workbench import settle_torch
from fedflow.models import add_lora, open_model
from fedflow.training import train_lora, train_unet
from fedflow.training.caches import CaptionCache, LatentCache
from fedflow.training.recipe import Recipe

method, side, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
settle_torch(1)
model = open_model("starter")
captions = CaptionCache(("a", ""), torch.tensor([0]), model.encode_captions(["a", ""]).detach())
latents = LatentCache(torch.zeros(1, 1, 4, side, side), torch.ones(1, 1, 4, side, side))
recipe = Recipe(steps=1, batch_size=batch, learning_rate=1e-4)
if method == "fedex-lora":
    add_lora(model, 16, 16.0, False, torch.Generator().manual_seed(0))
    train_lora(model, latents, captions, recipe)
else:
    train_unet(model, latents, captions, recipe)
status = pathlib.Path("/proc/self/status").read_text()  # ru_maxrss would be the parent's before the exec, too
print(1024 * int(status.split("VmHWM:")[1].split()[0]))
"""


@pytest.fixture(scope="module")
def shapes() -> BaseShapes:
    folder = model_folder(STARTER)
    assert folder is not None
    return shapes_of(folder)


def told(shapes: BaseShapes, method: str, size_pixels: int, batch_size: int) -> int:
    training = {"batch_size": batch_size}
    plan = Plan.model_validate({"data": {"clients": ("a",)}, "method": method, "training": training})
    here = shapes.at(size_pixels)
    return memory_needed(4 * here.weights, 4 * here.numbers(plan), here.kept_bytes(plan))


@pytest.mark.parametrize(
    ("method", "size_pixels", "batch_size"),
    [("fedex-lora", 64, 2), ("fedex-lora", 64, 96), ("fedex-lora", 256, 4), ("fedavg", 256, 8)],
)
def test_what_is_told_is_within_twice_of_what_it_takes(
    shapes: BaseShapes, method: str, size_pixels: int, batch_size: int
) -> None:
    side = size_pixels // shapes.pixels_per_latent
    command = [sys.executable, "-c", TRAINS, method, str(side), str(batch_size)]
    peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert peak / 2 < told(shapes, method, size_pixels, batch_size) < 2 * peak


def test_it_grows_with_pictures_and_pixels(shapes: BaseShapes) -> None:
    base = told(shapes, "fedex-lora", 64, 1)
    one = told(shapes, "fedex-lora", 64, 2) - base
    assert told(shapes, "fedex-lora", 64, 9) - base == pytest.approx(8 * one, rel=0.01)
    assert told(shapes, "fedex-lora", 128, 9) > base + 3 * 8 * one
    assert told(shapes, "fedex-lora", 2048, 8) > 80_000_000_000
    plan = Plan.model_validate({"data": {"clients": ("a",)}})
    assert shapes.at(None) == shapes
    assert shapes.at(256).step_flops(plan) > 16 * shapes.step_flops(plan)
