"""FedEx-LoRA: A and B averaged, and what that loses kept as low-rank factors to fold into the frozen weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from fedflow.aggregation.update import (
    AdapterUpdate,
    Aggregate,
    check_like,
    check_names,
    no_updates,
    overflow,
    weight_of,
)
from fedflow.errors import UpdateError
from fedflow.lora import Adapter, CoMoment


def fedex_lora(updates: Iterable[AdapterUpdate], weighting: str, max_rank: int | None = None) -> Aggregate:
    """Exact LoRA aggregation. FedEx-LoRA, arXiv 2410.09432, Eq. 5-8, by the streaming co-moment of A and B.

    Args:
        updates: consumed once, one client at a time; modules, shapes, ranks and alphas as the first one's.
        weighting: 'samples' or 'uniform'; the same weights stand in all three means, else nothing is exact.
        max_rank: the largest rank of the residual, at least 1; None keeps it exact, at most (K-1) r and min(d, k).

    Returns:
        `adapter` with the clients' alpha and `residual` with alpha == rank, both float32.

    Raises:
        UpdateError: NaN or Inf, also in the outcome, a count below 1, unlike modules, shapes, ranks or alphas, no
            updates, max_rank < 1.
    """
    if max_rank is not None and max_rank < 1:
        raise UpdateError(f"max_rank {max_rank} is below 1; leave it out for the exact residual")
    moments: dict[str, CoMoment] = {}
    adapter: Adapter = {}
    clients, total_weight = 0, 0.0
    for update in updates:
        weight = weight_of(update, weighting)
        modules = list(update.adapter)
        check_names(update.client, "module", modules, adapter or modules)
        for module, factors in update.adapter.items():
            check_like(update.client, module, factors, adapter.get(module, factors))
            if module not in moments:
                moments[module] = CoMoment(max_rank)
            moment = moments[module]
            with _in_range(module):
                moment.add(weight, factors.flat_A, factors.flat_B)
            # The means live in the co-moment and move in place: these factors are views of them.
            if module not in adapter:
                adapter[module] = factors.with_matrices(moment.mean_B, moment.mean_A, factors.alpha)
        clients += 1
        total_weight += weight
    if not clients:
        raise no_updates()
    residual: Adapter = {}
    lost_energy, is_exact = 0.0, True
    for module, mean in adapter.items():
        # Popped, so that a module's stacked blocks are gone before the next one's are put together.
        with _in_range(module):
            rest = moments.pop(module).residual(mean.scaling)
        residual[module] = mean.with_matrices(rest.left, rest.right, alpha=float(rest.left.shape[1]))
        lost_energy += rest.lost_energy
        is_exact = is_exact and rest.exact
    return Aggregate(
        clients,
        total_weight,
        adapter=adapter,
        residual=residual,
        discarded_energy=lost_energy,
        discarded_is_exact=is_exact,
    )


@contextmanager
def _in_range(module: str) -> Iterator[None]:
    """Name the module whose blocks overflowed when they are decomposed."""
    try:
        yield
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        raise overflow(f"the residual of '{module}'") from None
