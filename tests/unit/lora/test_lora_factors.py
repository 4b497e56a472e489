from __future__ import annotations

import pytest
import torch

from fedflow.errors import AdapterError
from fedflow.lora import Factors, same_rank, stack


def test_delta_is_alpha_over_rank_times_b_a() -> None:
    factors = Factors(torch.tensor([[1.0, 2.0, 0.0]]), torch.tensor([[3.0], [1.0]]), alpha=0.5)
    assert factors.rank == 1
    assert factors.scaling == 0.5
    assert factors.delta().tolist() == [[1.5, 3.0, 0.0], [0.5, 1.0, 0.0]]


def test_convolution_delta_has_the_weights_shape() -> None:
    factors = Factors(torch.ones(2, 3, 3, 3), torch.ones(5, 2, 1, 1), alpha=2.0)
    assert factors.flat_A.shape == (2, 27)
    assert factors.delta().shape == (5, 3, 3, 3)
    assert torch.equal(factors.delta(), torch.full((5, 3, 3, 3), 2.0))


@pytest.mark.parametrize(
    ("A", "B"), [((2, 3), (5, 3)), ((0, 3), (5, 0)), ((2, 3, 3, 3), (5, 2)), ((2, 3, 3, 3), (5, 2, 3, 3)), ((2,), (2,))]
)
def test_factors_that_do_not_belong_together_are_refused(A: tuple[int, ...], B: tuple[int, ...]) -> None:
    with pytest.raises(AdapterError, match="do not belong together"):
        Factors(torch.zeros(A), torch.zeros(B), 1.0)


def test_stack_is_the_weighted_sum() -> None:
    one = Factors(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0], [0.0]]), alpha=3.0)
    two = Factors(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]), alpha=1.0)
    total = stack([one, two], [1.0, 0.5])
    assert total.rank == 3
    assert total.alpha == 3.0
    assert total.delta().tolist() == [[6.0, 0.25], [0.25, 0.25]]


def test_stack_of_convolutions_keeps_the_kernel() -> None:
    term = Factors(torch.ones(1, 2, 3, 3), torch.ones(4, 1, 1, 1), alpha=1.0)
    total = stack([term, term], [1.0, 2.0])
    assert total.A.shape == (2, 2, 3, 3)
    assert torch.equal(total.delta(), 3 * term.delta())


def test_stack_of_unlike_modules_is_refused() -> None:
    with pytest.raises(AdapterError, match="cannot be summed"):
        stack(
            [Factors(torch.ones(1, 2), torch.ones(3, 1), 1.0), Factors(torch.ones(1, 4), torch.ones(3, 1), 1.0)], [1, 1]
        )


def test_same_rank_keeps_every_change_and_leaves_like_adapters_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    mixed = {
        "wide": Factors(torch.randn(3, 5, generator=generator), torch.randn(4, 3, generator=generator), 6.0),
        "narrow": Factors(torch.randn(1, 2, generator=generator), torch.randn(2, 1, generator=generator), 1.0),
    }
    filled = same_rank(mixed)
    assert {(factors.rank, factors.alpha) for factors in filled.values()} == {(3, 3.0)}
    for module, factors in mixed.items():
        torch.testing.assert_close(filled[module].delta(), factors.delta())
    assert same_rank(filled) is filled
