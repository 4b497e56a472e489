"""Norm clipping, by hand."""

from __future__ import annotations

import torch

from fedflow.aggregation import clip_change
from fedflow.lora import Factors

START = {
    "a": Factors(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0]]), 1.0),
    "b": Factors(torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0]]), 1.0),
}
MOVED = {
    "a": Factors(torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0]]), 1.0),
    "b": Factors(torch.tensor([[0.0, 4.0]]), torch.tensor([[2.0]]), 1.0),
}
"""The change is 3 in one entry and 4 in another: its norm is 5."""


def test_a_change_beyond_the_norm_is_scaled_over_all_modules_together() -> None:
    clipped, was_clipped = clip_change(MOVED, START, 2.5)
    assert was_clipped
    assert clipped["a"].A.tolist() == [[2.5, 0.0]]
    assert clipped["b"].A.tolist() == [[0.0, 2.0]]
    assert clipped["b"].B.tolist() == [[2.0]]
    assert clipped["a"].alpha == 1.0


def test_a_change_within_the_norm_keeps_every_bit() -> None:
    clipped, was_clipped = clip_change(MOVED, START, 5.0)
    assert not was_clipped
    assert all(clipped[module] is MOVED[module] for module in MOVED)


def test_half_precision_updates_are_clipped_in_single_precision() -> None:
    half = {module: Factors(each.A.half(), each.B.half(), each.alpha) for module, each in MOVED.items()}
    clipped, _ = clip_change(half, START, 2.5)
    assert clipped["a"].A.dtype == torch.float32
    assert clipped["b"].A.tolist() == [[0.0, 2.0]]
