"""Scores of drawn pictures, and what real pictures reach."""

from __future__ import annotations

import torch

from fedflow.federation.scoring import halved_floor


def test_the_floor_of_halves_is_about_nought_and_the_same_each_time() -> None:
    real = torch.randn(80, 6, generator=torch.Generator().manual_seed(2)).double().numpy()
    floor = halved_floor(1, real, "icons-v1")
    assert floor is not None
    assert floor.kid_low < 0.0 < floor.kid_high
    assert (floor.num_real, floor.num_generated) == (40, 40)
    assert halved_floor(1, real, "icons-v1") == floor


def test_three_pictures_have_no_floor() -> None:
    real = torch.randn(4, 6, generator=torch.Generator().manual_seed(2)).double().numpy()
    assert halved_floor(1, real[:3], "icons-v1") is None
    assert halved_floor(1, real, "icons-v1") is not None
