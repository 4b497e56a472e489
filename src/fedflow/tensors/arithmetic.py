"""Weighted means that take one tensor at a time, and the check that nothing in an update is NaN or Inf."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from fedflow.errors import UpdateError

NamedTensors = Mapping[str, Tensor]


def check_finite(tensors: NamedTensors, owner: str) -> None:
    """Refuse NaN and Inf.

    Args:
        tensors: any named tensors; integers and booleans always pass.
        owner: whose they are, as a message should say it: "client 'studio-3'", a file's path.

    Raises:
        UpdateError: naming the owner and the first tensor with a value that is not finite.
    """
    for name, tensor in tensors.items():
        # A sum is one pass without a temporary, and any NaN or Inf survives it; a finite tensor whose sum
        # overflows is told apart by the exact check, which only then is paid for.
        if math.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all()):
            continue
        bad = int((~torch.isfinite(tensor)).sum())
        raise UpdateError(
            f"{owner}: tensor '{name}' holds NaN or Inf ({bad} of {tensor.numel()} values); "
            "the training diverged: lower its learning rate and train again, or leave this update out"
        )


class RunningMean:
    """Weighted mean of a stream of like tensors. West 1979, CACM 22(9); weights float64, values at least float32.

    Tensors that are equal leave the mean equal to them, bit for bit.
    """

    def __init__(self) -> None:
        self.weight = 0.0
        self._value: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The mean so far, of the shape of what was added."""
        if self._value is None:
            raise ValueError("the mean of nothing: add a tensor first")
        return self._value

    def add(self, weight: float, tensor: Tensor, deviation: Tensor | None = None) -> None:
        """Take one tensor in, of weight > 0.

        Args:
            weight: this tensor's weight.
            tensor: of the first one's shape; the first is copied.
            deviation: where to leave the tensor's deviation from the mean before it; untouched by the first tensor.
        """
        self.weight += weight
        if self._value is None:
            self._value = tensor.to(torch.promote_types(tensor.dtype, torch.float32), copy=True)
            return
        wide = tensor.to(self._value.dtype)
        if deviation is not None:
            torch.sub(wide, self._value, out=deviation)
        self._value.lerp_(wide, weight / self.weight)
