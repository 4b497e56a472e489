"""How exact an aggregate is: measured against the dense weighted sum, in float64. For simulations only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from fedflow.aggregation import Aggregate
from fedflow.lora import Factors


def exact_error(updates: Iterable[tuple[int, Mapping[str, Factors]]], weighting: str, aggregate: Aggregate) -> float:
    """Largest relative error of any module: ||committed - sum w_k s B_k A_k|| / ||sum w_k s B_k A_k||, Frobenius.

    `updates` are (example count, adapter). What is committed is the adapter's change plus the residual's. A module
    that no client moved counts as exact.
    """
    wanted: dict[str, Tensor] = {}
    total = 0.0
    for num_examples, adapter in updates:
        weight = float(num_examples) if weighting == "samples" else 1.0
        total += weight
        for module, factors in adapter.items():
            change = weight * _change(factors)
            wanted[module] = wanted[module] + change if module in wanted else change
    worst = 0.0
    for module, summed in wanted.items():
        target = summed / total
        assert aggregate.adapter is not None
        committed = _change(aggregate.adapter[module])
        if aggregate.residual is not None:
            committed = committed + _change(aggregate.residual[module])
        size = float(torch.linalg.vector_norm(target))
        if size > 0.0:
            worst = max(worst, float(torch.linalg.vector_norm(committed - target)) / size)
    return worst


def _change(factors: Factors) -> Tensor:
    return factors.scaling * (factors.flat_B.double() @ factors.flat_A.double())
