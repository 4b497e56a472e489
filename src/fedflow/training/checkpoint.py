"""Checkpoints of a training: one safetensors file with weights, AdamW's moments and the losses so far."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fedflow.errors import PlanError, StorageError
from fedflow.storage import write_atomic
from fedflow.tensors import open_tensors, to_bytes
from fedflow.training.optimizer import FlatAdamW
from fedflow.training.recipe import Recipe

CHECKPOINT_NAME = "training.safetensors"
DATA = ("num_examples", "data")
"""The facts that are of the examples."""


def identity_of(recipe: Recipe, facts: Mapping[str, str | int], parameters: Mapping[str, nn.Parameter]) -> str:
    """What a checkpoint must agree with to be gone on from: settings, data and the weights at the start, as JSON.

    How often checkpoints are written is left out: it changes nothing in the result.
    """
    digest = hashlib.sha256()
    for name in sorted(parameters):
        digest.update(name.encode())
        digest.update(parameters[name].detach().cpu().contiguous().numpy().tobytes())
    numbers = {key: value for key, value in asdict(recipe).items() if key != "checkpoint_every"}
    return json.dumps({**numbers, **facts, "start": digest.hexdigest()}, sort_keys=True)


def save_checkpoint(folder: Path, identity: str, optimizer: FlatAdamW, losses: Tensor) -> None:
    """Write the state after `len(losses)` steps. Raises StorageError where the disk does not take it."""
    write_atomic(folder / CHECKPOINT_NAME, to_bytes({"losses": losses, **optimizer.state()}, {"identity": identity}))


@dataclass(frozen=True)
class Begun:
    """What a checkpoint says of its training: `step` of `steps` done, on `num_examples` examples of this `data`."""

    step: int
    steps: int
    num_examples: int
    data: str


def begun_in(folder: Path) -> Begun | None:
    """What was begun in `folder`; None where there is no checkpoint. Raises StorageError where it is damaged."""
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return None
    file = open_tensors(path)
    try:
        told = json.loads(file.metadata["identity"])
        return Begun(len(file["losses"]), told["steps"], told["num_examples"], told["data"])
    except KeyError as error:
        raise StorageError(f"{path}: lacks {error}; remove it and run the same command again") from error


def load_checkpoint(folder: Path, identity: str, optimizer: FlatAdamW, *, of_other_data: bool = False) -> Tensor:
    """Restore the state saved in `folder` and return its losses, one per step done; empty where there is no checkpoint.

    With `of_other_data` it may be of other examples. Raises PlanError where the checkpoint is of another training,
    StorageError where it is damaged.
    """
    path = folder / CHECKPOINT_NAME
    if not path.is_file():
        return torch.empty(0)
    file = open_tensors(path)
    _check_identity(path, file.metadata.get("identity", "{}"), identity, DATA if of_other_data else ())
    try:
        losses = file["losses"]
        optimizer.restore(file, len(losses))
    except KeyError as error:
        raise StorageError(f"{path}: lacks tensor {error}; remove it and run the same command again") from error
    return losses


def _check_identity(path: Path, found: str, wanted: str, ignored: Collection[str]) -> None:
    before, now = (
        {key: value for key, value in json.loads(text).items() if key not in ignored} for text in (found, wanted)
    )
    if before == now:
        return
    changed = [key for key in now if before.get(key) != now[key] and key != "start"]
    differences = [f"{key} {before.get(key)}, now {now[key]}" for key in changed]
    raise PlanError(
        f"{path}: checkpoint of another training ({'; '.join(differences) or 'other weights at the start'}); "
        f"remove it, choose another folder, or give the settings of before"
    )
