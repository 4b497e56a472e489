"""What a run will cost, told before it starts: bytes, memory and time; from the base model's headers, without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from fedflow.federation.pace import USUAL_FLOPS_S, text_flops, text_outputs, unet_flops, unet_outputs
from fedflow.plan import Lora, Plan, Training
from fedflow.storage.blobs import part_of
from fedflow.tensors.header import header_of

NUMBER_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}

PROGRAM_BYTES = 300_000_000
"""What training needs beside the numbers: libraries and pictures."""

COPIES_TRAINED = 4
"""Of what is trained: the weights, their gradient, and the optimiser's two moments."""

TARGETS = {
    "unet": ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight"),
    "text_encoder": ("q_proj.weight", "k_proj.weight", "v_proj.weight", "out_proj.weight"),
}
"""The weights that LoRA adapts, by part of the model: those of the attention's projections."""

PASSES = {"adapter": 2, "model": 3}
"""What a step costs, in ways forth: the way back of a whole model is two, that of an adapter one, as frozen weights
have no gradient.
"""

KEPT = {"adapter": 2.5, "model": 3.2}
"""What a step holds for its way back, in outputs of the layers that have weights: inputs of these, of the norms and of
the activation functions between them. Measured on the starter, from 64 to 256 px and from 1 to 128 pictures.
"""

FEW_PICTURES = 100
"""What time is told of where no member has told its number of pictures."""

USUAL_SIDE, USUAL_TOKENS = 64, 77
"""Height and width of Stable Diffusion 1.5's latents, and the length of its captions: where a model tells neither."""

USUAL_PIXELS = 8
"""Pixels a side that each of its latents stands for, where its VAE does not tell."""

UNET_CONFIG = "unet/config.json"
MOST_SIDE = 1024
MOST_CONFIG_BYTES = 1_000_000

HEADER_BYTES_PER_TENSOR = 130
"""About what a tensor's name, shape and place take in a file's header."""


class Trains(Protocol):
    """Settings of a training: a run's plan, or those of one on one machine."""

    @property
    def trains_adapter(self) -> bool:
        """Whether an adapter is trained rather than the whole UNet."""

    @property
    def lora(self) -> Lora:
        """The adapter's settings."""

    @property
    def training(self) -> Training:
        """The training's."""


@dataclass(frozen=True)
class BaseShapes:
    """Shapes of a base model's tensors by part, 'unet' and 'text_encoder'; all its weights, by number and in bytes.

    `side` is the height and width of its latents, each of which stands for `pixels_per_latent` pixels a side.
    """

    parts: Mapping[str, Mapping[str, tuple[int, ...]]]
    weights: int
    weights_bytes: int
    side: int = USUAL_SIDE
    pixels_per_latent: int = USUAL_PIXELS

    def at(self, size_pixels: int | None) -> BaseShapes:
        """The same with latents of pictures of this size; the model's own where None."""
        if size_pixels is None:
            return self
        return replace(self, side=max(1, size_pixels // self.pixels_per_latent))

    def adapted(self, plan: Trains) -> list[tuple[int, int]]:
        """Outputs d and inputs k of every layer that the plan's LoRA adapts."""
        parts = ("unet", "text_encoder") if plan.lora.text_encoder else ("unet",)
        return [
            (shape[0], math.prod(shape[1:]))
            for part in parts
            for name, shape in self.parts[part].items()
            if name.endswith(tuple(f".{target}" for target in TARGETS[part]))
        ]

    def numbers(self, plan: Trains) -> int:
        """How many numbers an update holds."""
        if plan.trains_adapter:
            return sum(plan.lora.rank * (d + k) for d, k in self.adapted(plan))
        return sum(math.prod(shape) for shape in self.parts["unet"].values())

    def step_flops(self, plan: Trains) -> float:
        """Floating-point operations of an optimiser step; the encodings of pictures and captions are cached before."""
        encoder, tokens = self.parts["text_encoder"], self._tokens()
        forth = unet_flops(self.parts["unet"], self.side, tokens)
        if plan.trains_adapter and plan.lora.text_encoder:
            forth += text_flops(encoder, tokens)
        examples = plan.training.batch_size * plan.training.gradient_accumulation
        return PASSES["adapter" if plan.trains_adapter else "model"] * forth * examples

    def kept_bytes(self, plan: Trains) -> int:
        """What a batch keeps in memory for its way back, in float32."""
        encoder, tokens = self.parts["text_encoder"], self._tokens()
        outputs = unet_outputs(self.parts["unet"], self.side, tokens)
        if plan.trains_adapter and plan.lora.text_encoder:
            outputs += text_outputs(encoder, tokens)
        return int(4 * KEPT["adapter" if plan.trains_adapter else "model"] * outputs * plan.training.batch_size)

    def _tokens(self) -> int:
        """The length of a caption."""
        encoder, ends = self.parts["text_encoder"], "position_embedding.weight"
        return next((shape[0] for name, shape in encoder.items() if name.endswith(ends)), USUAL_TOKENS)

    def tensors(self, plan: Trains) -> int:
        """How many tensors an update holds."""
        return 2 * len(self.adapted(plan)) if plan.trains_adapter else len(self.parts["unet"])


@dataclass(frozen=True)
class Estimate:
    """Bytes and seconds of a run before it starts.

    upload_bytes: one update, to some hundred bytes.
    download_bytes: the most that a member fetches for a round: the joint adapter or model, and the newest residual.
    base_bytes: fetched once by a member that lacks the base model.
    total_bytes: all members' traffic over all rounds, the base model apart.
    memory_bytes: about what a member's machine needs.
    steps: optimiser steps of a round by member, for those whose number of pictures is known.
    round_s: what the slowest of those trains in a round, or a member with FEW_PICTURES where none is known.
    is_measured: whether the pace is that of the member's own earlier rounds; else that of two processor cores.
    """

    upload_bytes: int
    download_bytes: int
    base_bytes: int
    total_bytes: int
    memory_bytes: int
    steps: Mapping[str, int]
    round_s: float
    is_measured: bool


def memory_needed(weights_bytes: int, trained_bytes: int, kept_bytes: int = 0) -> int:
    """About what training needs: the base model's weights, what is trained, its gradient and the two moments, and what
    a batch keeps for its way back. Without the last, which only a model's shapes tell, it is the least."""
    return PROGRAM_BYTES + weights_bytes + COPIES_TRAINED * trained_bytes + kept_bytes


def estimate(plan: Plan, shapes: BaseShapes, num_examples: Mapping[str, int], flops_s: Mapping[str, float]) -> Estimate:
    """What `plan` will cost on this base model.

    Args:
        plan: the run's.
        shapes: the base model's.
        num_examples: pictures by member, of those that have told.
        flops_s: floating-point operations a second by member, from its earlier rounds on whatever base model.
    """
    numbers = shapes.numbers(plan)
    head = HEADER_BYTES_PER_TENSOR * shapes.tensors(plan)
    wanted = plan.clients_per_round or len(plan.data.clients)
    asked = min(len(plan.data.clients), math.ceil(wanted * plan.network.over_selection))
    upload = numbers * NUMBER_BYTES[plan.network.wire] + head
    download = 4 * numbers + head
    if plan.method == "fedex-lora":
        download += head + 4 * sum(_residual_rank(plan, asked, d, k) * (d + k) for d, k in shapes.adapted(plan))
    steps = {name: plan.training.steps(count) for name, count in num_examples.items() if name in plan.data.clients}
    flops = shapes.step_flops(plan)
    times = [(count * flops / flops_s.get(name, USUAL_FLOPS_S), name in flops_s) for name, count in steps.items()]
    round_s, is_measured = max(times, default=(plan.training.steps(FEW_PICTURES) * flops / USUAL_FLOPS_S, False))
    return Estimate(
        upload_bytes=upload,
        download_bytes=download,
        base_bytes=shapes.weights_bytes,
        total_bytes=plan.rounds * asked * (upload + download),
        memory_bytes=memory_needed(4 * shapes.weights, 4 * numbers, shapes.kept_bytes(plan)),
        steps=steps,
        round_s=round_s,
        is_measured=is_measured,
    )


@dataclass(frozen=True)
class Lying:
    """A file wherever it lies: `part` gives bytes of it, by their start and number."""

    size_bytes: int
    part: Callable[[int, int], bytes]


def shapes_of(folder: Path) -> BaseShapes:
    """The shapes of a model in the diffusers layout. Raises StorageError for a folder that holds none."""
    found = (path for path in sorted(folder.glob("*/*")) if path.is_file())
    return shapes_of_files(
        {path.relative_to(folder).as_posix(): Lying(path.stat().st_size, partial(part_of, path)) for path in found}
    )


def shapes_of_files(files: Mapping[str, Lying]) -> BaseShapes:
    """The same of files by their places in such a folder, of which no more is read than headers and settings.

    Raises StorageError.
    """
    parts: dict[str, dict[str, tuple[int, ...]]] = {"unet": {}, "text_encoder": {}}
    weights = weights_bytes = 0
    side = USUAL_SIDE
    for place, file in files.items():
        if place == UNET_CONFIG:
            side = _side(file.part(0, MOST_CONFIG_BYTES)) or side
        if not place.endswith(".safetensors"):
            continue
        weights_bytes += file.size_bytes
        found = {name: entry.shape for name, entry in header_of(file.part, file.size_bytes, place).entries.items()}
        weights += sum(math.prod(shape) for shape in found.values())
        parts.setdefault(place.partition("/")[0], {}).update(found)
    halvings = sum("downsamplers.0.conv.weight" in name for name in parts.get("vae", ()) if "encoder" in name)
    return BaseShapes(parts, weights, weights_bytes, side, 2**halvings if halvings else USUAL_PIXELS)


def _side(config: bytes) -> int | None:
    try:
        side = json.loads(config)["sample_size"]
    except (ValueError, LookupError, TypeError):
        return None
    return side if isinstance(side, int) and 0 < side <= MOST_SIDE else None


def _residual_rank(plan: Plan, clients: int, d: int, k: int) -> int:
    exact = min((clients - 1) * plan.lora.rank, d, k)
    return exact if plan.max_residual_rank is None else min(exact, plan.max_residual_rank)
