"""Products of two factors brought to fewer columns: exactly where that is possible, else to the nearest of a rank.

Shapes: d outputs, k inputs, R rank before, m rank after; a product is left (d, R) @ right (R, k), never formed whole.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rows of a product that are formed at a time to measure it.
_ROWS = 128


def truncate(left: Tensor, right: Tensor, rank: int) -> tuple[Tensor, Tensor, float, float]:
    """The nearest product of at most `rank` columns, by QR of both factors and SVD of the small core.

    Eckart and Young 1936: no product of that rank is nearer in the Frobenius norm.

    Args:
        left: (d, R).
        right: (R, k).
        rank: the most columns to keep, at least 1.

    Returns:
        left (d, m), right (m, k) with m = min(rank, R, d, k), and the squared Frobenius norms kept and discarded.
    """
    q_left, r_left = torch.linalg.qr(left)
    q_right, r_right = torch.linalg.qr(right.T)
    u, s, vh = torch.linalg.svd(r_left @ r_right.T, full_matrices=False)
    energy = s.double().square()
    root = s[:rank].sqrt()
    short_left = q_left @ (u[:, :rank] * root)
    short_right = (root[:, None] * vh[:rank]) @ q_right.T
    return short_left, short_right, float(energy[:rank].sum()), float(energy[rank:].sum())


def fold(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same product with at most min(d, k) columns: nothing is lost, and what is wider is waste."""
    rank = left.shape[1]
    if rank <= min(left.shape[0], right.shape[1]):
        return left, right
    if left.shape[0] <= right.shape[1]:
        q, r = torch.linalg.qr(left.T)
        return r.T.contiguous(), q.T @ right
    q, r = torch.linalg.qr(right)
    return left @ q, r


def energies(B: Tensor, A: Tensor, left: Tensor, right: Tensor) -> tuple[float, float]:
    """Squared Frobenius norms of left @ right and of B @ A + left @ right, from a few rows at a time."""
    residual_energy = total_energy = 0.0
    for start in range(0, B.shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        residual = left[rows] @ right
        residual_energy += float(torch.linalg.vector_norm(residual, dtype=torch.float64)) ** 2
        residual.addmm_(B[rows], A)
        total_energy += float(torch.linalg.vector_norm(residual, dtype=torch.float64)) ** 2
    return residual_energy, total_energy
