"""The two factors of a LoRA update, and the exact sum of several.

Shapes: d outputs, k inputs, r rank, h w kernel; linear A (r, k), B (d, r); convolution A (r, k, h, w), B (d, r, 1, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from fedflow.errors import AdapterError


@dataclass(frozen=True)
class Factors:
    """One module's LoRA: the change of its weight is alpha / r * B @ A. Hu et al., arXiv 2106.09685, section 4.1."""

    A: Tensor
    B: Tensor
    alpha: float

    def __post_init__(self) -> None:
        fits = self.A.ndim == self.B.ndim and self.A.ndim in {2, 4} and self.A.shape[0] == self.B.shape[1] >= 1
        if not fits or (self.B.ndim == 4 and self.B.shape[2:] != (1, 1)):
            raise AdapterError(
                f"LoRA factors of shapes A {tuple(self.A.shape)} and B {tuple(self.B.shape)} do not belong together; "
                "expected A (rank, inputs) and B (outputs, rank), or those of a convolution"
            )

    @property
    def rank(self) -> int:
        """Rows of A."""
        return int(self.A.shape[0])

    @property
    def scaling(self) -> float:
        """What B @ A is multiplied by."""
        return self.alpha / self.rank

    @property
    def flat_A(self) -> Tensor:  # noqa: N802 - the paper's letter
        """A as a matrix (r, k*h*w)."""
        return self.A.flatten(1)

    @property
    def flat_B(self) -> Tensor:  # noqa: N802 - the paper's letter
        """B as a matrix (d, r)."""
        return self.B.flatten(1)

    def delta(self) -> Tensor:
        """The dense change of the weight, (d, k) or (d, k, h, w): for merging into a model, never for aggregation."""
        return (self.scaling * (self.flat_B @ self.flat_A)).reshape(self.B.shape[0], *self.A.shape[1:])

    def with_matrices(self, B: Tensor, A: Tensor, alpha: float) -> Factors:
        """Factors of the same module from matrices B (d, R) and A (R, k*h*w) of another rank R."""
        return Factors(
            A=A.reshape(A.shape[0], *self.A.shape[1:]),
            B=B.reshape(*B.shape, *self.B.shape[2:]),
            alpha=alpha,
        )


# Keyed by dotted module path with its component: unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q,
# text_encoder.text_model.encoder.layers.0.self_attn.q_proj
Adapter = dict[str, Factors]


def stack(terms: Sequence[Factors], weights: Sequence[float]) -> Factors:
    """The exact sum of w_i * delta_i as one LoRA whose rank is the sum of the ranks and whose alpha is that rank.

    Args:
        terms: factors of one module, of any ranks and alphas; at least one.
        weights: one factor per term.

    Raises:
        AdapterError: the terms belong to modules of unlike shapes.
    """
    first = terms[0]
    for term in terms:
        if term.A.shape[1:] != first.A.shape[1:] or term.B.shape[0] != first.B.shape[0]:
            raise AdapterError(
                f"LoRA factors of unlike modules cannot be summed: A {tuple(term.A.shape)}, B {tuple(term.B.shape)} "
                f"beside A {tuple(first.A.shape)}, B {tuple(first.B.shape)}"
            )
    scaled = [term.flat_B * (weight * term.scaling) for term, weight in zip(terms, weights, strict=True)]
    A = torch.cat([term.flat_A for term in terms])
    return first.with_matrices(torch.cat(scaled, dim=1), A, alpha=float(A.shape[0]))


def joined(parts: Sequence[tuple[Adapter, float]]) -> Adapter:
    """The exact sum of adapters, each times its weight, as one: a module that some lack is summed over the others.

    Raises AdapterError as `stack`.
    """
    terms: dict[str, list[tuple[Factors, float]]] = {}
    for adapter, weight in parts:
        for module, factors in adapter.items():
            terms.setdefault(module, []).append((factors, weight))
    return {
        module: stack([factors for factors, _ in found], [weight for _, weight in found])
        for module, found in terms.items()
    }


def same_rank(adapter: Adapter) -> Adapter:
    """The same changes with all modules at the largest rank, filled up with zeros, alpha equal to the rank.

    An adapter whose ranks and alphas are all alike already is returned as it is.

    diffusers 0.42 finds no module for the alphas of a kohya file in which they differ, and loads it too strong or
    too weak; where all are alike there is nothing to look up.
    """
    if len({(factors.rank, factors.alpha) for factors in adapter.values()}) == 1:
        return adapter
    rank = max(factors.rank for factors in adapter.values())
    filled: Adapter = {}
    for module, factors in adapter.items():
        missing = rank - factors.rank
        left = pad(factors.flat_B * factors.scaling, (0, missing))
        filled[module] = factors.with_matrices(left, pad(factors.flat_A, (0, 0, 0, missing)), float(rank))
    return filled
