"""What a training on this machine will take, told before it starts; from the base model's headers, without torch."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from fedflow.client.memory import available_bytes
from fedflow.errors import FedFlowError
from fedflow.federation.estimates import BaseShapes, Trains, memory_needed, shapes_of
from fedflow.federation.pace import USUAL_FLOPS_S
from fedflow.plan import STARTER
from fedflow.shipped import starter_folder

CHECKPOINT_COPIES = 3
"""What is trained, and the optimiser's two moments, in float32."""


@dataclass(frozen=True)
class Cost:
    """What a training will take, before it starts.

    pictures: that can be used. memory_bytes: about what it needs; `memory_free` what the machine has, None where
    nobody knows, and `on_gpu` whether that is the graphics card's. disk_bytes: for checkpoint and result; `disk_free`
    what there is. seconds: about, at the pace of an `is_measured` training of before on this machine, else of two
    processor cores that do what they do at the moment, too.
    """

    pictures: int
    steps: int
    memory_bytes: int
    memory_free: int | None
    on_gpu: bool
    disk_bytes: int
    disk_free: int
    seconds: float
    is_measured: bool

    @property
    def lacks_memory(self) -> bool:
        """Whether the machine has less memory free than it needs."""
        return self.memory_free is not None and self.memory_free < self.memory_bytes

    @property
    def lacks_disk(self) -> bool:
        """Whether the disk has less free."""
        return self.disk_free < self.disk_bytes


def cost_of(
    asked: Trains, shapes: BaseShapes, pictures: int, folder: Path, *, gpu_free: int | None, pace: float | None
) -> Cost:
    """What it will take with so many pictures, of a model with these shapes at the size that is trained.

    `folder` lies on the disk that checkpoint and result go to; `gpu_free` are bytes of the graphics card, None without
    one; `pace` is the floating-point operations a second that were measured here, None where none were.
    """
    trained = 4 * shapes.numbers(asked)
    result = trained if asked.trains_adapter else 4 * shapes.weights
    steps = asked.training.steps(pictures)
    return Cost(
        pictures=pictures,
        steps=steps,
        memory_bytes=memory_needed(4 * shapes.weights, trained, shapes.kept_bytes(asked)),
        memory_free=available_bytes() if gpu_free is None else gpu_free,
        on_gpu=gpu_free is not None,
        disk_bytes=CHECKPOINT_COPIES * trained + result,
        disk_free=shutil.disk_usage(folder).free,
        seconds=steps * shapes.step_flops(asked) / (pace or USUAL_FLOPS_S * share_of_processor()),
        is_measured=pace is not None,
    )


def shapes_in(place: str) -> BaseShapes | None:
    """The shapes of the model that `open_model` opens for a place; None but for the starter and a folder here."""
    folder = starter_folder() if place == STARTER else Path(place)
    try:
        folder = folder.expanduser()
        return shapes_of(folder) if folder.is_dir() else None
    except (FedFlowError, RuntimeError):  # the latter for a home that nobody knows
        return None


def share_of_processor() -> float:
    """What a training gets of it beside all that runs already, from 0 to 1; 1 where the system does not tell."""
    try:
        busy = os.getloadavg()[0]
    except (AttributeError, OSError):
        return 1.0
    cores = os.cpu_count() or 1
    return cores / (cores + busy)
