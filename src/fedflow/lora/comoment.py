"""Means of A and B and the factors of sum w (B_k - B)(A_k - A), from clients taken in one at a time.

Shapes: d outputs, k inputs (times the kernel), r the clients' rank, R the rank of the residual.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fedflow.lora.compression import fold, truncate
from fedflow.tensors import RunningMean


@dataclass(frozen=True)
class Residual:
    """left (d, R) @ right (R, k), and the squared Frobenius norm that truncation took from it.

    `exact`: truncated at most once, so `lost_energy` is the squared error itself; otherwise it is an upper bound.
    """

    left: Tensor
    right: Tensor
    lost_energy: float
    exact: bool


class CoMoment:
    """What averaging A and B apart loses, exact and never as a dense matrix.

    FedEx-LoRA, arXiv 2410.09432, Eq. 5-8, where the residual is the weighted co-moment of B and A; it is updated like
    the co-moment of Chan, Golub, LeVeque 1983: with weight W so far, a client of weight w adds the block
    c^2 (B_k - B), (A_k - A) with c^2 = W w / (W + w), then the means move by w / (W + w).

    Memory: without `max_rank` the residual is exact and grows by r columns a client up to 1.5 min(d, k); with it,
    it is truncated whenever it would outgrow max_rank + 6 r, to 2 r columns more than asked for, so that a late
    client's directions are still weighed against early ones, and to max_rank at the end.
    """

    def __init__(self, max_rank: int | None = None) -> None:
        self._max_rank = max_rank
        self._mean_A = RunningMean()
        self._mean_B = RunningMean()
        # Blocks are written where they stay: columns of _left, rows of _right, the first _rank of them in use.
        self._left = torch.empty(0, 0)
        self._right = torch.empty(0, 0)
        self._rank = 0
        self._scales: list[float] = []
        self._lost_norms: list[float] = []

    @property
    def weight(self) -> float:
        """Total weight taken in."""
        return self._mean_A.weight

    @property
    def mean_A(self) -> Tensor:  # noqa: N802 - the paper's letter
        """Weighted mean of A, (r, k)."""
        return self._mean_A.value

    @property
    def mean_B(self) -> Tensor:  # noqa: N802 - the paper's letter
        """Weighted mean of B, (d, r)."""
        return self._mean_B.value

    def add(self, weight: float, A: Tensor, B: Tensor) -> None:
        """Take one client in: weight > 0, A (r, k), B (d, r), shapes as the first client's."""
        r, before = A.shape[0], self.weight
        if before == 0:
            self._mean_A.add(weight, A)
            self._mean_B.add(weight, B)
            return
        self._make_room(r)
        block = slice(self._rank, self._rank + r)
        self._mean_A.add(weight, A, self._right[block])
        self._mean_B.add(weight, B, self._left[:, block])
        # c^2 all on the left, and multiplied in once for many blocks: the same product for less work.
        self._scales += [before * weight / (before + weight)] * r
        self._rank += r

    def residual(self, scaling: float) -> Residual:
        """scaling / W times the co-moment, as factors; a zero of rank 1 after a single client. Takes nothing in after.

        Without `max_rank` nothing is lost, and R is at most min(d, k).
        """
        if self._rank == 0:
            left = self.mean_B.new_zeros(self.mean_B.shape[0], 1)
            return Residual(left, self.mean_A.new_zeros(1, self.mean_A.shape[1]), 0.0, exact=True)
        left, right = fold(*self._product(scaling / self.weight))
        if self._max_rank is not None and left.shape[1] > self._max_rank:
            left, right = self._truncated(left, right, self._max_rank)
        if right.shape[0] < self._right.shape[0]:
            # Views would keep the unused room alive.
            left, right = left.clone(memory_format=torch.contiguous_format), right.clone()
        # By the triangle inequality the norms of successive losses add up at most.
        return Residual(left, right, sum(self._lost_norms) ** 2, exact=len(self._lost_norms) < 2)

    def _product(self, unit: float) -> tuple[Tensor, Tensor]:
        """The blocks so far as factors of unit times their sum; what was lost on the way is counted in that unit."""
        left, right = self._left[:, : self._rank], self._right[: self._rank]
        left.mul_(torch.tensor(self._scales, dtype=torch.float64).mul_(unit).to(left.dtype))
        self._lost_norms = [norm * abs(unit) for norm in self._lost_norms]
        return left, right

    def _make_room(self, r: int) -> None:
        d, k = self.mean_B.shape[0], self.mean_A.shape[1]
        # A residual wider than min(d, k) is waste; folding it costs time, so it may grow by half before.
        limit = max(min(d, k) * 3 // 2, r)
        if self._max_rank is not None:
            limit = min(limit, self._max_rank + 6 * r)
        if self._rank + r > limit:
            left, right = fold(*self._product(1.0))
            if self._max_rank is not None and left.shape[1] > self._max_rank + 2 * r:
                left, right = self._truncated(left, right, self._max_rank + 2 * r)
            self._rank = left.shape[1]
            self._scales = [1.0] * self._rank
            self._left[:, : self._rank] = left
            self._right[: self._rank] = right
        room, needed = self._right.shape[0], self._rank + r
        if needed > room:
            room = max(min(2 * room, limit), needed, min(4 * r, limit))
            left, right = self.mean_B.new_empty(d, room), self.mean_A.new_empty(room, k)
            if self._rank:
                left[:, : self._rank] = self._left[:, : self._rank]
                right[: self._rank] = self._right[: self._rank]
            self._left, self._right = left, right

    def _truncated(self, left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor]:
        left, right, _, lost = truncate(left, right, rank)
        if lost:
            self._lost_norms.append(math.sqrt(lost))
        return left, right
