"""What clients send, what comes out, and what is refused: the first update says what every later one must be like."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from fedflow.errors import UpdateError
from fedflow.lora import Adapter, Factors, energies
from fedflow.tensors import NamedTensors, check_finite

# How clients count: each by its number of examples, or all alike.
WEIGHTINGS = ("samples", "uniform")

# What a module's change may come to: the largest float32.
MAX_CHANGE = torch.finfo(torch.float32).max

# Above this a float64 weight no longer tells two counts apart.
MAX_EXAMPLES = 2**53


class Update(Protocol):
    """Who sends, and how many examples they trained on."""

    @property
    def client(self) -> str:
        """Name for messages."""
        ...

    @property
    def num_examples(self) -> int:
        """Number of training examples, at least 1."""
        ...


@dataclass(frozen=True)
class ClientUpdate:
    """Named tensors of one client, a whole model or a part of one; the mapping may read them when asked."""

    client: str
    num_examples: int
    tensors: NamedTensors


@dataclass(frozen=True)
class AdapterUpdate:
    """One client's LoRA; the mapping may read modules when asked."""

    client: str
    num_examples: int
    adapter: Mapping[str, Factors]


@dataclass(frozen=True)
class Aggregate:
    """What the server has after a round.

    `adapter` (FedIT, FedEx-LoRA) holds the means of A and B with the clients' alpha; `residual` (FedEx-LoRA) holds
    factors with alpha == rank that already contain the clients' scaling, so that adapter deltas plus residual deltas
    are the weighted sum of the clients' deltas; `tensors` (FedAvg) are the means by name.
    `discarded_energy` is the squared Frobenius norm that truncation took from the residual, an upper bound where
    `discarded_is_exact` is false.
    """

    clients: int
    total_weight: float
    adapter: Adapter | None = None
    tensors: dict[str, Tensor] | None = None
    residual: Adapter | None = None
    discarded_energy: float = 0.0
    discarded_is_exact: bool = True

    def __post_init__(self) -> None:
        """Raises UpdateError where a value left float32's range on the way: such an aggregate must not be written."""
        for name, tensor in (self.tensors or {}).items():
            if not bool(torch.isfinite(tensor.sum())) and not bool(torch.isfinite(tensor).all()):
                raise overflow(f"tensor '{name}' of the aggregate")
        for what, adapter in (("adapter", self.adapter), ("residual", self.residual)):
            for module, factors in (adapter or {}).items():
                if not _is_in_range(factors):
                    raise overflow(f"'{module}' of the aggregate's {what}")
        if not math.isfinite(self.discarded_energy):
            raise overflow("the energy that truncation discards")

    @cached_property
    def report(self) -> dict[str, float | int | str]:
        """Figures of the aggregation; measured when first asked for, as they cost more than the aggregation itself.

        `residual_rank`: the largest of any module. `discarded_energy`: share of the residual's squared norm that
        truncation took. `naive_error`: what FedIT would lose, ||residual|| / ||weighted sum of the clients' deltas||
        (Frobenius norms over all modules; where truncated, the discarded part is counted in).

        Raises UpdateError where adapter and residual together are out of float32's range.
        """
        report: dict[str, float | int | str] = {"clients": self.clients, "total_weight": self.total_weight}
        if self.adapter is None or self.residual is None:
            return report
        kept = total = 0.0
        for module, rest in self.residual.items():
            mean = self.adapter[module]
            module_kept, module_total = energies(mean.flat_B * mean.scaling, mean.flat_A, rest.flat_B, rest.flat_A)
            kept += module_kept
            total += module_total
        if not math.isfinite(kept + total):
            raise overflow("the sum of the aggregate's adapter and residual")
        residual = kept + self.discarded_energy
        total += self.discarded_energy
        report["residual_rank"] = max(rest.rank for rest in self.residual.values())
        report["discarded_energy"] = self.discarded_energy / residual if residual else 0.0
        report["discarded_energy_is"] = "exact" if self.discarded_is_exact else "an upper bound"
        report["naive_error"] = (residual / total) ** 0.5 if total else 0.0
        return report


def weight_of(update: Update, weighting: str) -> float:
    """The update's weight before division by the total.

    Raises:
        UpdateError: the example count is not a whole number of at least 1.
    """
    count: object = update.num_examples
    if type(count) is not int or not 1 <= count <= MAX_EXAMPLES:
        raise UpdateError(
            f"client '{update.client}': example count {count!r} is not a whole number from 1 to {MAX_EXAMPLES}; "
            "give the number of pictures it trained on"
        )
    if weighting not in WEIGHTINGS:
        raise UpdateError(f"weighting '{weighting}' is unknown; choose one of {', '.join(WEIGHTINGS)}")
    return float(count) if weighting == "samples" else 1.0


def check_names(client: str, what: str, got: Collection[str], want: Collection[str]) -> None:
    """Refuse an update that lacks a name of the first one, or has another. `what`: 'tensor' or 'module'."""
    if not got:
        raise UpdateError(f"client '{client}': the update is empty; it must hold at least one {what}")
    missing = sorted(set(want) - set(got))
    extra = sorted(set(got) - set(want))
    if missing:
        raise UpdateError(
            f"client '{client}': {what} '{missing[0]}' is missing ({len(missing)} missing in all) although the first "
            "update has it; train every client with the same targets"
        )
    if extra:
        raise UpdateError(
            f"client '{client}': {what} '{extra[0]}' is not in the first update ({len(extra)} such in all); "
            "train every client with the same targets"
        )


def check_like(client: str, module: str, factors: Factors, first: Factors) -> None:
    """Refuse factors of another shape, rank or alpha than the first client's, NaN, Inf, and a change out of range."""
    for name, got, want in (("A", factors.A, first.A), ("B", factors.B, first.B)):
        if got.shape != want.shape:
            raise UpdateError(
                f"client '{client}': '{module}' lora_{name} has shape {tuple(got.shape)}, the first update's has "
                f"{tuple(want.shape)}; train every client with the same rank on the same base model"
            )
    if factors.alpha != first.alpha:
        raise UpdateError(
            f"client '{client}': '{module}' has alpha {factors.alpha:g}, the first update has {first.alpha:g}; "
            "train every client with the same alpha"
        )
    if not _is_in_range(factors):
        check_finite({f"{module} lora_A": factors.A, f"{module} lora_B": factors.B}, f"client '{client}'")
        bound = _bound(factors, torch.float64)
        raise UpdateError(
            f"client '{client}': '{module}' changes its weights by up to {bound:.1g}, more than float32 holds; "
            "the training diverged: lower its learning rate and train again, or leave this update out"
        )


def overflow(what: str) -> UpdateError:
    """What an aggregation is answered with whose updates are in float32's range and whose outcome is not."""
    return UpdateError(
        f"{what} leaves the range of float32, although every update is within; "
        "leave out the update with the largest values: its training diverged"
    )


def _is_in_range(factors: Factors) -> bool:
    """Whether factors and change are within float32; NaN and Inf are not."""
    # The first is one pass without a temporary; only where squares overflow it is the second paid for.
    return _bound(factors, torch.float32) < MAX_CHANGE or _bound(factors, torch.float64) < MAX_CHANGE


def _bound(factors: Factors, dtype: torch.dtype) -> float:
    """No entry of the module's change is larger, by Cauchy and Schwarz."""
    norms = [float(torch.linalg.vector_norm(matrix, dtype=dtype)) for matrix in (factors.A, factors.B)]
    return norms[0] * norms[1] * abs(factors.scaling)


def no_updates() -> UpdateError:
    """What an empty stream is answered with."""
    return UpdateError("there are no updates to aggregate; give at least one")
