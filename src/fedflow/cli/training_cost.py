"""What `fedflow train` will take, told before it starts, as the app's page tells it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from fedflow.client.consent import size_text
from fedflow.client.memory import own_gpu_free_bytes
from fedflow.client.training_cost import Cost, cost_of, shapes_in
from fedflow.errors import RunError
from fedflow.lora import Adapter
from fedflow.plan import Lora, Training

MINUTE_S, HOUR_S = 60, 3600


@dataclass(frozen=True)
class Asked:
    """What is trained, as estimates take it."""

    lora: Lora
    training: Training
    trains_adapter: bool


def lora_of(adapter: Adapter) -> Lora:
    """What an adapter to go on from counts as: its largest rank, and the text encoder where it adapts that."""
    rank = max(factors.rank for factors in adapter.values())
    text_encoder = any(key.startswith("text_encoder.") for key in adapter)
    return Lora.model_construct(rank=rank, text_encoder=text_encoder)  # joined ones exceed what a fresh one may have


def tell_cost(model: str, asked: Asked, pictures: int, size: int | None, out: Path) -> None:
    """Say on stderr what it will take, and warn where memory lacks. Raises RunError where the disk has too little."""
    shapes = shapes_in(model)
    if shapes is None:
        print("What it will take is not known: that is told of the starter and of models in a folder.", file=sys.stderr)
        return
    cost = cost_of(asked, shapes.at(size), pictures, out, gpu_free=own_gpu_free_bytes(), pace=None)
    print(_line(cost), file=sys.stderr)
    if cost.lacks_disk:
        raise RunError(
            f"{out}: the disk has {size_text(cost.disk_free)} free, and checkpoint and result take "
            f"{size_text(cost.disk_bytes)}; free space or choose another --out"
        )
    if cost.lacks_memory:
        print(
            "fedflow: this machine has less memory free than it needs; take a smaller --batch-size or --size, train an "
            "adapter, or close other programs",
            file=sys.stderr,
        )


def _line(cost: Cost) -> str:
    free = "" if cost.memory_free is None else f" ({size_text(cost.memory_free)} free)"
    where = "memory of the graphics card" if cost.on_gpu else "memory"
    time = "" if cost.on_gpu else f", {_about(cost.seconds)} on two processor cores"
    return (
        f"It will take {cost.steps} {'step' if cost.steps == 1 else 'steps'}{time}, about "
        f"{size_text(cost.memory_bytes)} of {where}{free} and {size_text(cost.disk_bytes)} of disk "
        f"({size_text(cost.disk_free)} free)."
    )


def _about(seconds: float) -> str:
    if seconds < MINUTE_S:
        return "under a minute"
    if seconds < HOUR_S:
        return f"about {round(seconds / MINUTE_S)} min"
    return f"about {seconds / HOUR_S:.1f} hours"
