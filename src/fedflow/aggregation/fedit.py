"""FedIT: A and B averaged apart, for comparison: the mean of products is not the product of means."""

from __future__ import annotations

from collections.abc import Iterable

from fedflow.aggregation.update import AdapterUpdate, Aggregate, check_like, check_names, no_updates, weight_of
from fedflow.lora import Adapter, Factors
from fedflow.tensors import RunningMean


def fedit(updates: Iterable[AdapterUpdate], weighting: str) -> Aggregate:
    """Weighted means of A and of B. Zhang et al., arXiv 2305.05644.

    Args:
        updates: consumed once, one client at a time; modules, shapes, ranks and alphas as the first one's.
        weighting: 'samples' or 'uniform'.

    Returns:
        `adapter` in float32 with the clients' alpha.

    Raises:
        UpdateError: NaN or Inf, also in the outcome, a count below 1, unlike modules, shapes, ranks or alphas, no
            updates.
    """
    means: dict[str, tuple[RunningMean, RunningMean]] = {}
    adapter: Adapter = {}
    clients, total_weight = 0, 0.0
    for update in updates:
        weight = weight_of(update, weighting)
        modules = list(update.adapter)
        check_names(update.client, "module", modules, adapter or modules)
        for module, factors in update.adapter.items():
            check_like(update.client, module, factors, adapter.get(module, factors))
            mean_A, mean_B = means.setdefault(module, (RunningMean(), RunningMean()))
            mean_A.add(weight, factors.A)
            mean_B.add(weight, factors.B)
            # The means move in place: these factors are views of them.
            if module not in adapter:
                adapter[module] = Factors(mean_A.value, mean_B.value, factors.alpha)
        clients += 1
        total_weight += weight
    if not clients:
        raise no_updates()
    return Aggregate(clients, total_weight, adapter=adapter)
