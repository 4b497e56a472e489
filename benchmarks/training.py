"""Training speed: FedFlow's loop against a bare loop, and against encoding at every step.

    python benchmarks/training.py [--quick] [--model starter] [--rank 16] [--batch-size 8]

Three loops train the same LoRA layers of the same UNet, in turn, in one process:

- fedflow: `train_lora` on cached latents and captions, as `fedflow train` runs it;
- bare: forward, squared error, backward, clipped fused AdamW on one fixed batch of random tensors: what the UNet
  costs with nothing around it;
- encoding: the way of the diffusers LoRA example (train_text_to_image_lora.py) with its defaults: at every step the
  pictures are decoded, flipped and encoded by the VAE, the captions tokenised and encoded by the text encoder;
  AdamW as torch gives it. The picture files lie in memory.

How to read: each ratio is the median over rounds of (the other loop's time / fedflow's time) in the same round.
fedflow/bare of 0.95 or more: the loop adds at most 5% to the UNet's own work. fedflow/encoding of 1.5 or more:
caching makes training half as fast again. Other work on the machine moves single rounds, hardly the median.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable

from fedflow.openmp import wait_briefly

wait_briefly()

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fedflow.diffusion import TARGETS, noisy_latents
from fedflow.models import BaseModel, add_lora, best_device, open_model, trainable_parameters
from fedflow.training import CaptionCache, LatentCache, Recipe, train_lora

NUM_EXAMPLES = 40
LEARNING_RATE = 1e-4
GOAL_BARE, GOAL_ENCODING = 0.95, 1.5


def update(model: BaseModel, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Backward and one optimiser step."""
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(trainable_parameters(model).values(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def synchronise(model: BaseModel) -> None:
    """Wait until the device has done what it was told."""
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def png(size: int, generator: torch.Generator) -> bytes:
    """A PNG file of coloured squares, about as large as a drawn icon's."""
    squares = torch.randint(256, (8, 8, 3), generator=generator, dtype=torch.uint8).numpy()
    buffer = io.BytesIO()
    Image.fromarray(squares).resize((size, size), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def decoded(file: bytes, size: int) -> Tensor:
    """Pixels (3, size, size) in [-1, 1], by the example's steps: decode, convert, resize, scale."""
    picture = Image.open(io.BytesIO(file)).convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 127.5 - 1.0


class Loops:
    """The three loops over one model; each runs a number of steps and returns seconds per step."""

    def __init__(self, name: str, rank: int, batch_size: int) -> None:
        self.model = open_model(name).to(best_device())
        generator = torch.Generator().manual_seed(0)
        add_lora(self.model, rank, float(rank), False, generator)
        self.batch_size = batch_size
        self.captions = [f"fluent_style, red_apple, number {number}" for number in range(NUM_EXAMPLES)]
        size = self.model.resolution
        self.files = [png(size, generator) for _ in range(NUM_EXAMPLES)]
        with torch.no_grad():
            mean, std = self.model.encode_pictures(decoded(self.files[0], size)[None])
            shape = (NUM_EXAMPLES, 2, *mean.shape[1:])
            self.latents = LatentCache(torch.randn(shape, generator=generator), std.cpu().expand(shape).clone())
            texts = (*self.captions, "")
            embeddings = torch.cat([self.model.encode_captions([text]).cpu() for text in texts])
        self.caption_cache = CaptionCache(texts, torch.arange(NUM_EXAMPLES), embeddings)
        self.levels = self.model.levels()
        self.target = TARGETS[self.model.prediction_type]
        # train_lora frees the frozen parts; here the encoding loop needs them back every round, unmeasured.
        self.model.mark_changed("vae", "text_encoder")
        self.bfloat16 = self.model.device.type == "cuda"

    def autocast(self) -> torch.autocast:
        """The precision that `train_lora` chooses by itself."""
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)

    def fedflow(self, steps: int) -> float:
        """Our loop."""
        recipe = Recipe(steps=steps, batch_size=self.batch_size, learning_rate=LEARNING_RATE)
        synchronise(self.model)
        began = time.perf_counter()
        train_lora(self.model, self.latents, self.caption_cache, recipe)
        synchronise(self.model)
        return (time.perf_counter() - began) / steps

    def bare(self, steps: int) -> float:
        """The UNet on one fixed batch."""
        model, device = self.model, self.model.device
        noisy = self.latents.mean_NVCHW[: self.batch_size, 0].to(device)
        target = self.latents.mean_NVCHW[: self.batch_size, 1].to(device)
        context = self.caption_cache.embeddings_ULD[: self.batch_size].to(device)
        timesteps = torch.arange(self.batch_size, device=device) * 100
        optimizer = torch.optim.AdamW(trainable_parameters(model).values(), lr=LEARNING_RATE, fused=True)
        synchronise(model)
        began = time.perf_counter()
        for _ in range(steps):
            with self.autocast():
                predicted = model.unet(noisy, timesteps, context).sample
            update(model, optimizer, (predicted.float() - target).square().mean())
        synchronise(model)
        return (time.perf_counter() - began) / steps

    def encoding(self, steps: int) -> float:
        """VAE and text encoder at every step."""
        model, device = self.model, self.model.device
        optimizer = torch.optim.AdamW(trainable_parameters(model).values(), lr=LEARNING_RATE)
        synchronise(model)
        began = time.perf_counter()
        for _ in range(steps):
            chosen = torch.randint(NUM_EXAMPLES, (self.batch_size,))
            with self.autocast(), torch.no_grad():
                pixels = torch.stack([decoded(self.files[number], model.resolution) for number in chosen.tolist()])
                flipped = torch.rand(self.batch_size, 1, 1, 1) < 0.5
                mean, std = model.encode_pictures(torch.where(flipped, pixels.flip(-1), pixels))
                context = model.encode_captions([self.captions[number] for number in chosen.tolist()])
            latents = (mean + std * torch.randn_like(std)).float().cpu()
            noise = torch.randn_like(latents)
            level = torch.randint(len(self.levels), (self.batch_size,))
            noisy = noisy_latents(self.levels, level, latents, noise)
            target = self.target(self.levels, level, latents, noise)
            with self.autocast():
                timesteps = self.levels.timesteps_T[level]
                predicted = model.unet(noisy.to(device), timesteps.to(device), context).sample
            update(model, optimizer, (predicted.float() - target.to(device)).square().mean())
        synchronise(model)
        return (time.perf_counter() - began) / steps


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, for a first impression")
    arguments = parser.parse_args()
    rounds, steps = (5, 4) if arguments.quick else (12, 10)
    loops = Loops(arguments.model, arguments.rank, arguments.batch_size)
    measured: dict[str, Callable[[int], float]] = {
        "fedflow": loops.fedflow,
        "bare": loops.bare,
        "encoding": loops.encoding,
    }
    for run in measured.values():
        run(2)
    seconds: dict[str, list[float]] = {name: [] for name in measured}
    for number in range(rounds):
        names = list(measured) if number % 2 == 0 else list(reversed(measured))
        for name in names:
            seconds[name].append(measured[name](steps))
    print(f"{arguments.model}, rank {arguments.rank}, batch {arguments.batch_size}, {loops.model.device.type}, "
          f"{torch.get_num_threads()} threads, {rounds} rounds of {steps} steps")  # fmt: skip
    for name, taken in seconds.items():
        print(f"  {name:<9}{statistics.median(taken):8.4f} s a step")
    for name, goal in (("bare", GOAL_BARE), ("encoding", GOAL_ENCODING)):
        ratio = statistics.median(other / ours for other, ours in zip(seconds[name], seconds["fedflow"], strict=True))
        print(f"  fedflow's steps per second / {name}'s: {ratio:.3f} (goal: at least {goal}; more is better)")


if __name__ == "__main__":
    main()
