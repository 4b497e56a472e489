"""How long and how hard a training is: plain numbers, and the arithmetic of steps and learning rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedflow.plan import Training

SCHEDULES = ("constant", "cosine")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Recipe:
    """The numbers of one training.

    steps: optimiser steps; `steps_for` gives them from epochs.
    batch_size: examples of one forward pass.
    accumulation: batches whose gradients make one step.
    learning_rate: AdamW's, after the warm-up.
    schedule: 'constant', or 'cosine' down to zero at the last step.
    warmup_steps: steps over which the rate rises linearly.
    weight_decay: AdamW's.
    clip_norm: the gradient's largest norm.
    min_snr_gamma: clamp of the Min-SNR weights (arXiv 2303.09556); None weighs all noise levels alike.
    weight_floor: smallest weight of a noise level, so that a Min-SNR weight does not vanish at pure noise.
    caption_dropout: share of examples that are trained without caption, for classifier-free guidance.
    precision: 'float32', 'bfloat16' (autocast), or 'auto': bfloat16 on a GPU; on a CPU float32, but in LoRA training
        bfloat16 for the frozen convolutions where the processor multiplies it.
    seed: every random number of the training follows from it.
    checkpoint_every: steps between two checkpoints, where a folder for them is given.
    """

    steps: int
    batch_size: int = 8
    accumulation: int = 1
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    min_snr_gamma: float | None = 5.0
    weight_floor: float = 0.25
    caption_dropout: float = 0.1
    precision: str = "auto"
    seed: int = 0
    checkpoint_every: int = 100

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule '{self.schedule}': known are {', '.join(SCHEDULES)}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision '{self.precision}': known are {', '.join(PRECISIONS)}")
        for name in ("steps", "batch_size", "accumulation", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")

    def rate_at(self, step: int) -> float:
        """Learning rate of the step with index `step`, from 0."""
        rate = self.learning_rate
        if step < self.warmup_steps:
            return rate * (step + 1) / (self.warmup_steps + 1)
        if self.schedule == "cosine":
            share = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
            rate *= 0.5 * (1.0 + math.cos(math.pi * share))
        return rate


def recipe_of(chosen: Training, steps: int, seed: int) -> Recipe:
    """The recipe of a plan's, or a form's, settings of training."""
    return Recipe(
        steps=steps,
        batch_size=chosen.batch_size,
        accumulation=chosen.gradient_accumulation,
        learning_rate=chosen.learning_rate,
        schedule=chosen.schedule,
        warmup_steps=chosen.warmup_steps,
        min_snr_gamma=chosen.min_snr_gamma,
        weight_floor=chosen.weight_floor,
        caption_dropout=chosen.caption_dropout,
        seed=seed,
        checkpoint_every=chosen.checkpoint_every,
    )


def smaller_batches(batch_size: int, accumulation: int) -> tuple[int, int] | None:
    """At most half a batch, and how many of them learn the same in a step; None where a batch is one picture."""
    pictures = batch_size * accumulation
    fitting = [size for size in range(1, batch_size // 2 + 1) if pictures % size == 0]
    return (fitting[-1], pictures // fitting[-1]) if fitting else None
