"""FedAvg: the weighted mean of any named tensors."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fedflow.aggregation.update import Aggregate, ClientUpdate, check_names, no_updates, weight_of
from fedflow.errors import UpdateError
from fedflow.tensors import RunningMean, check_finite


def fedavg(updates: Iterable[ClientUpdate], weighting: str) -> Aggregate:
    """sum_k n_k / n * w_k per tensor. McMahan et al., arXiv 1602.05629, Algorithm 1.

    Args:
        updates: consumed once, one client at a time; names, shapes and element types as the first one's.
        weighting: 'samples' or 'uniform'.

    Returns:
        `tensors` with the first update's element types; accumulated in at least float32. Tensors of whole numbers
        (position indices, counters) have no mean: they must be equal and are handed on.

    Raises:
        UpdateError: NaN or Inf, also in the outcome, a count below 1, unlike names, shapes, types or whole numbers, no
            updates.
    """
    slots: dict[str, _Slot] = {}
    clients, total_weight = 0, 0.0
    for update in updates:
        weight = weight_of(update, weighting)
        names = list(update.tensors)
        check_names(update.client, "tensor", names, slots or names)
        for name, tensor in update.tensors.items():
            slots.setdefault(name, _Slot(tensor)).add(update.client, name, weight, tensor)
        clients += 1
        total_weight += weight
    if not clients:
        raise no_updates()
    return Aggregate(clients, total_weight, tensors={name: slot.result() for name, slot in slots.items()})


class _Slot:
    """One tensor's place in the mean, and what the first client says that it must be like."""

    def __init__(self, first: Tensor) -> None:
        self._shape = first.shape
        self._dtype = first.dtype
        self._mean = RunningMean() if first.is_floating_point() else None
        self._whole: Tensor | None = None

    def add(self, client: str, name: str, weight: float, tensor: Tensor) -> None:
        if tensor.shape != self._shape or tensor.dtype != self._dtype:
            raise UpdateError(
                f"client '{client}': tensor '{name}' is {_words(tensor.shape, tensor.dtype)}, the first update's is "
                f"{_words(self._shape, self._dtype)}; train every client on the same base model"
            )
        if self._mean is not None:
            check_finite({name: tensor}, f"client '{client}'")
            self._mean.add(weight, tensor)
        elif self._whole is None:
            self._whole = tensor.clone()
        elif not torch.equal(self._whole, tensor):
            raise UpdateError(
                f"client '{client}': tensor '{name}' holds whole numbers that differ from the first update's, and "
                "whole numbers have no mean; leave it out of every update"
            )

    def result(self) -> Tensor:
        if self._mean is not None:
            return self._mean.value.to(self._dtype)
        assert self._whole is not None  # noqa: S101 - add() came before
        return self._whole


def _words(shape: torch.Size, dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} {tuple(shape)}"
