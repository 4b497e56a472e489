from __future__ import annotations

import pytest
import torch

from fedflow.errors import UpdateError
from fedflow.tensors import RunningMean, check_finite


def test_running_mean_of_two_weights() -> None:
    mean = RunningMean()
    mean.add(1.0, torch.tensor([0.0, 8.0]))
    mean.add(3.0, torch.tensor([4.0, 0.0]))
    assert mean.value.tolist() == [3.0, 2.0]
    assert mean.weight == 4.0


def test_running_mean_leaves_the_deviation_where_asked() -> None:
    mean = RunningMean()
    deviation = torch.zeros(2)
    mean.add(1.0, torch.tensor([1.0, 2.0]))
    mean.add(1.0, torch.tensor([4.0, 0.0]), deviation)
    assert deviation.tolist() == [3.0, -2.0]
    assert mean.value.tolist() == [2.5, 1.0]


def test_running_mean_does_not_touch_what_it_is_given() -> None:
    first = torch.tensor([1.0])
    mean = RunningMean()
    mean.add(1.0, first)
    mean.add(1.0, torch.tensor([3.0]))
    assert first.tolist() == [1.0]


def test_equal_tensors_stay_equal_bit_for_bit() -> None:
    value = torch.randn(50, generator=torch.Generator().manual_seed(0))
    mean = RunningMean()
    for weight in (3.0, 7.0, 11.0):
        mean.add(weight, value)
    assert torch.equal(mean.value, value)


def test_half_precision_is_summed_in_float32() -> None:
    mean = RunningMean()
    for value in (2048.0, 2049.0, 2049.0, 2049.0):
        mean.add(1.0, torch.tensor([value]).to(torch.float16))
    assert mean.value.dtype == torch.float32


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_not_finite_is_refused_by_name(bad: float) -> None:
    tensors = {"good": torch.ones(2), "up.weight": torch.tensor([1.0, bad, 2.0])}
    with pytest.raises(UpdateError, match=r"client 'a': tensor 'up.weight' holds NaN or Inf \(1 of 3 values\)"):
        check_finite(tensors, "client 'a'")


def test_opposite_infinities_and_overflowing_sums_are_told_apart() -> None:
    check_finite({"large": torch.full((4,), 3e38)}, "client 'a'")
    with pytest.raises(UpdateError):
        check_finite({"x": torch.tensor([float("inf"), float("-inf")])}, "client 'a'")
    check_finite({"steps": torch.tensor([1, 2])}, "client 'a'")
