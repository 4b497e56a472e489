"""Jobs of a run and their outcomes: plain values that go to worker processes and into files. No torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedflow.federation.rounds import Merged
from fedflow.plan import Plan

if TYPE_CHECKING:
    from fedflow.datasets import Dataset


@dataclass(frozen=True)
class TrainJob:
    """Train as participant `who` on the pictures of `clients`, `steps` optimiser steps, from a global state."""

    seed: int
    who: str
    round: int
    clients: tuple[str, ...]
    steps: int
    adapter: str | None
    residuals: tuple[str, ...]
    merged: Merged | None = None

    @property
    def name(self) -> str:
        """The job's name, unique in its run."""
        return f"seed-{self.seed}/train/{self.who}-round-{self.round}"


@dataclass(frozen=True)
class Trained:
    """A training's outcome: the update by content hash, mean loss of its first and last quarter, wall-clock seconds."""

    update: str
    update_bytes: int
    num_examples: int
    steps: int
    first_loss: float
    last_loss: float
    seconds: float


@dataclass(frozen=True)
class DrawJob:
    """Draw the held-out captions and the gallery with a model: its adapter (or weights) on the base plus residuals."""

    seed: int
    who: str
    round: int
    adapter: str | None
    residuals: tuple[str, ...]

    @property
    def name(self) -> str:
        """The job's name, unique in its run."""
        return f"seed-{self.seed}/draw/{self.who}-round-{self.round}"


@dataclass(frozen=True)
class Drawn:
    """A drawing's outcome: features of the held-out captions' pictures, and the gallery's folder, in the run folder."""

    features: str
    gallery: str
    seconds: float


@dataclass(frozen=True)
class Real:
    """Features of the real pictures, in the run folder, what measured them, and the base model that was opened.

    `resolution` is the base model's, in pixels.
    """

    heldout: str
    clients: str
    extractor: str
    resize: str
    base_hash: str
    resolution: int


@dataclass(frozen=True)
class Committed:
    """One round's aggregate, by content hash, with its figures; bytes are those of all clients together.

    `bytes_down` counts the global state that the round's clients fetch before it: adapter and newest residual.
    """

    adapter: str
    residual: str | None
    bytes_up: int
    bytes_down: int
    report: dict[str, float | int | str]
    exact_error: float | None


def derived_seed(seed: int, purpose: str) -> int:
    """A seed below 2^63 for one purpose of a run, from the run's seed."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8]) >> 1


def gallery_prompts(plan: Plan, heldout: Dataset) -> list[str]:
    """The plan's gallery prompts, or held-out captions spread over the whole folder."""
    if plan.gallery.prompts:
        return list(plan.gallery.prompts)
    captions = [picture.caption for picture in heldout.pictures]
    count = min(plan.gallery.count, len(captions))
    return [captions[number * len(captions) // count] for number in range(count)]
