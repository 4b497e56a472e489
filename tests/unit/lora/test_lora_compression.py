from __future__ import annotations

import pytest
import torch

from fedflow.lora import energies, truncate
from fedflow.lora.compression import fold


def test_truncation_of_a_diagonal_drops_the_smallest() -> None:
    left, right, kept, lost = truncate(torch.diag(torch.tensor([3.0, 4.0, 0.0])), torch.eye(3), 1)
    assert left.shape == (3, 1)
    assert right.shape == (1, 3)
    torch.testing.assert_close(left @ right, torch.diag(torch.tensor([0.0, 4.0, 0.0])))
    assert (kept, lost) == pytest.approx((16.0, 9.0))


@pytest.mark.parametrize(("d", "k", "wide"), [(30, 30, 12), (20, 50, 12), (50, 20, 12), (10, 15, 24)])
def test_truncation_error_is_the_discarded_singular_values(d: int, k: int, wide: int) -> None:
    generator = torch.Generator().manual_seed(d)
    left, right = torch.randn(d, wide, generator=generator), torch.randn(wide, k, generator=generator)
    product = left.double() @ right.double()
    singular = torch.linalg.svdvals(product)
    short_left, short_right, kept, lost = truncate(left, right, 5)
    error = torch.linalg.matrix_norm(product - short_left.double() @ short_right.double())
    assert float(error) == pytest.approx(float(singular[5:].square().sum().sqrt()), rel=1e-5)
    assert lost / (kept + lost) == pytest.approx(float(singular[5:].square().sum() / singular.square().sum()), rel=1e-4)


def test_truncation_of_nothing_discards_nothing() -> None:
    left, right, kept, lost = truncate(torch.zeros(3, 2), torch.zeros(2, 4), 1)
    assert kept == lost == 0.0
    assert not (left @ right).any()


@pytest.mark.parametrize(("d", "k"), [(4, 9), (9, 4), (5, 5)])
def test_fold_keeps_the_product_in_the_fewest_columns(d: int, k: int) -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(d, 20, generator=generator), torch.randn(20, k, generator=generator)
    short_left, short_right = fold(left, right)
    assert short_left.shape == (d, min(d, k))
    torch.testing.assert_close(short_left @ short_right, left @ right, rtol=1e-4, atol=1e-4)


def test_energies_are_squared_norms() -> None:
    B, A = torch.tensor([[1.0], [0.0]]), torch.tensor([[2.0, 0.0]])
    left, right = torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0, 0.0]])
    assert energies(B, A, left, right) == (pytest.approx(10.0), pytest.approx(18.0))
