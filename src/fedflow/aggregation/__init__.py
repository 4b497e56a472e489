"""Client updates in, one aggregate out: pure functions over streams.

A new algorithm is one file beside these, one line in AGGREGATORS, one hand-computed test.
"""

from __future__ import annotations

from collections.abc import Callable

from fedflow.aggregation.clipping import clip_change
from fedflow.aggregation.fedavg import fedavg
from fedflow.aggregation.fedex_lora import fedex_lora
from fedflow.aggregation.fedit import fedit
from fedflow.aggregation.update import WEIGHTINGS, AdapterUpdate, Aggregate, ClientUpdate

AGGREGATORS: dict[str, Callable[..., Aggregate]] = {
    "fedavg": fedavg,
    "fedit": fedit,
    "fedex-lora": fedex_lora,
}

__all__ = [
    "AGGREGATORS",
    "WEIGHTINGS",
    "AdapterUpdate",
    "Aggregate",
    "ClientUpdate",
    "clip_change",
    "fedavg",
    "fedex_lora",
    "fedit",
]
