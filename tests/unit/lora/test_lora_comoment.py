from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fedflow.lora import CoMoment


def clients(count: int, d: int, k: int, r: int) -> list[tuple[float, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(count)
    return [
        (1.0 + index % 3, torch.randn(r, k, generator=generator), torch.randn(d, r, generator=generator))
        for index in range(count)
    ]


def dense_residual(terms: list[tuple[float, Tensor, Tensor]]) -> Tensor:
    total = sum(weight for weight, _, _ in terms)
    zero = torch.zeros((), dtype=torch.float64)
    mean_A = sum((weight / total * A.double() for weight, A, _ in terms), zero)
    mean_B = sum((weight / total * B.double() for weight, _, B in terms), zero)
    return sum((weight / total * (B.double() @ A.double()) for weight, A, B in terms), zero) - mean_B @ mean_A


def filled(terms: list[tuple[float, Tensor, Tensor]], max_rank: int | None = None) -> CoMoment:
    moment = CoMoment(max_rank)
    for weight, A, B in terms:
        moment.add(weight, A, B)
    return moment


def test_two_clients_by_hand() -> None:
    # weights 1 and 3, d = k = r = 1: means 2.5 and 4; 0.25 * 1 * 1 + 0.75 * 3 * 5 - 2.5 * 4 = 1.5
    moment = filled(
        [(1.0, torch.tensor([[1.0]]), torch.tensor([[1.0]])), (3.0, torch.tensor([[5.0]]), torch.tensor([[3.0]]))]
    )
    assert moment.mean_A.item() == 4.0
    assert moment.mean_B.item() == 2.5
    residual = moment.residual(2.0)
    assert (residual.left @ residual.right).item() == pytest.approx(3.0)
    assert residual.lost_energy == 0.0


def test_one_client_leaves_a_zero_of_rank_one() -> None:
    residual = filled(clients(1, 4, 6, 2)).residual(1.0)
    assert residual.left.shape == (4, 1)
    assert residual.right.shape == (1, 6)
    assert not (residual.left @ residual.right).any()


@pytest.mark.parametrize(("d", "k"), [(24, 24), (16, 40), (40, 16)])
@pytest.mark.parametrize("count", [2, 5, 30])
def test_exact_residual_is_the_dense_one(d: int, k: int, count: int) -> None:
    terms = clients(count, d, k, 3)
    residual = filled(terms).residual(0.5)
    want = 0.5 * dense_residual(terms)
    assert residual.left.shape[1] == min((count - 1) * 3, d, k)
    assert residual.exact
    got = residual.left.double() @ residual.right.double()
    assert float((got - want).abs().max() / want.abs().max()) < 1e-5


def test_rank_above_the_matrix_itself() -> None:
    terms = clients(4, 2, 3, 5)
    residual = filled(terms).residual(1.0)
    assert residual.left.shape == (2, 2)
    torch.testing.assert_close((residual.left @ residual.right).double(), dense_residual(terms), rtol=1e-4, atol=1e-5)


def test_truncation_that_fits_the_room_is_the_nearest_and_its_loss_exact() -> None:
    terms = clients(5, 30, 30, 2)
    residual = filled(terms, max_rank=3).residual(1.0)
    want = dense_residual(terms)
    discarded = torch.linalg.svdvals(want)[3:].square().sum()
    assert residual.left.shape == (30, 3)
    assert residual.exact
    assert residual.lost_energy == pytest.approx(float(discarded), rel=1e-4)
    error = torch.linalg.matrix_norm(want - residual.left.double() @ residual.right.double()).square()
    assert float(error) == pytest.approx(float(discarded), rel=1e-4)


def test_streamed_truncation_is_bounded_by_what_it_says_and_near_the_best() -> None:
    terms = clients(60, 40, 40, 2)
    residual = filled(terms, max_rank=8).residual(1.0)
    want = dense_residual(terms)
    error = float(torch.linalg.matrix_norm(want - residual.left.double() @ residual.right.double()).square())
    best = float(torch.linalg.svdvals(want)[8:].square().sum())
    assert residual.left.shape == (40, 8)
    assert not residual.exact
    assert best * 0.999 <= error <= residual.lost_energy
    assert error < 1.5 * best


def test_low_rank_streams_lose_nothing_by_recompression() -> None:
    generator = torch.Generator().manual_seed(0)
    basis_A, basis_B = torch.randn(2, 40, generator=generator), torch.randn(40, 2, generator=generator)
    terms = [
        (1.0, torch.randn(2, 2, generator=generator) @ basis_A, basis_B @ torch.randn(2, 2, generator=generator))
        for _ in range(50)
    ]
    residual = filled(terms, max_rank=4).residual(1.0)
    want = dense_residual(terms)
    torch.testing.assert_close((residual.left @ residual.right).double(), want, rtol=1e-3, atol=1e-3)
    assert residual.lost_energy < 1e-6 * float(want.square().sum())
