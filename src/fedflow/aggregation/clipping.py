"""Norm clipping: no client moves the joint model further than it may."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from fedflow.lora import Adapter, Factors


def clip_change(adapter: Mapping[str, Factors], start: Mapping[str, Factors], max_norm: float) -> tuple[Adapter, bool]:
    """The adapter with its change since `start` scaled down to `max_norm`, and whether that was needed.

    The change is that of all entries of A and B of all modules, its norm Euclidean, computed in float64; what is
    within is returned bit for bit. Norm bounding as in Sun et al. 2019, arXiv 1911.07963, section 4. Both adapters
    have the same modules and shapes.
    """
    norm = math.sqrt(sum(_squared_distance(own, begun) for own, begun in _pairs(adapter, start)))
    if norm <= max_norm:
        return dict(adapter), False
    share = max_norm / norm
    clipped: Adapter = {}
    for module, own in adapter.items():
        begun = start[module]
        clipped[module] = Factors(_towards(begun.A, own.A, share), _towards(begun.B, own.B, share), own.alpha)
    return clipped, True


def _pairs(adapter: Mapping[str, Factors], start: Mapping[str, Factors]) -> Iterator[tuple[Tensor, Tensor]]:
    for module, factors in adapter.items():
        yield factors.A, start[module].A
        yield factors.B, start[module].B


def _squared_distance(own: Tensor, begun: Tensor) -> float:
    return float((own.double() - begun.double()).square().sum())


def _towards(begun: Tensor, own: Tensor, share: float) -> Tensor:
    return torch.lerp(begun.float(), own.float(), share)
