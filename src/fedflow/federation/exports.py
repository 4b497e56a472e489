"""A run's adapters as other tools open them, and the joint model as one LoRA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedflow.errors import AdapterError
from fedflow.lora import Adapter, fold, same_rank, stack, truncate
from fedflow.models.adapter_files import LAYOUTS, Layout, adapter_bytes, read_adapter
from fedflow.plan import Plan
from fedflow.storage import BlobStore, write_atomic


@dataclass(frozen=True)
class OneAdapter:
    """The joint model as one adapter; `discarded_energy` is the share of its squared norm that truncation took."""

    adapter: Adapter
    discarded_energy: float

    @property
    def rank(self) -> int:
        """The largest rank of any module."""
        return max(factors.rank for factors in self.adapter.values())


def as_one_adapter(adapter: Adapter, residuals: Sequence[Adapter], rank: int | None) -> OneAdapter:
    """Adapter plus residuals as one LoRA: exact where `rank` is None or suffices, else the nearest of that rank.

    After T rounds the joint model is W0 + residuals + scaled B A, a LoRA of rank up to r + T (K - 1) r and never
    more than min(d, k) (FedEx-LoRA, arXiv 2410.09432, section 4; truncation by Eckart and Young 1936).
    """
    if rank is not None and rank < 1:
        raise AdapterError(f"rank {rank}: must be at least 1; leave it out for the exact adapter")
    joined: Adapter = {}
    kept = lost = 0.0
    for module, factors in adapter.items():
        terms = [factors, *(residual[module] for residual in residuals)]
        whole = stack(terms, [1.0] * len(terms))
        left, right = fold(whole.flat_B, whole.flat_A)
        if rank is not None and left.shape[1] > rank:
            left, right, module_kept, module_lost = truncate(left, right, rank)
            kept, lost = kept + module_kept, lost + module_lost
        else:
            kept += float((left.double().T @ left.double()).mul(right.double() @ right.double().T).sum())
        joined[module] = factors.with_matrices(left, right, float(left.shape[1]))
    return OneAdapter(joined, lost / (kept + lost) if lost else 0.0)


def adapter_facts(plan: Plan, resolution: int, what: str) -> dict[str, str]:
    """Header lines of an exported adapter (ModelSpec 1.0.1); `what` it is of the plan's run, for people."""
    facts = {"modelspec.title": f"{plan.name}, {what}", "modelspec.resolution": f"{resolution}x{resolution}"}
    return facts | ({"modelspec.trigger_phrase": plan.data.trigger} if plan.data.trigger else {})


def in_layouts(adapter: Adapter, facts: dict[str, str]) -> dict[Layout, bytes]:
    """The adapter's file in every layout, with `facts` in its header."""
    return {layout: adapter_bytes(same_rank(adapter), layout, facts) for layout in LAYOUTS}


def write_layouts(path_of: dict[Layout, Path], adapter: Adapter, facts: dict[str, str]) -> None:
    """Write `adapter` to one file per layout, with `facts` in its header."""
    for layout, path in path_of.items():
        write_atomic(path, adapter_bytes(same_rank(adapter), layout, facts))


def stored_adapter(blobs: BlobStore, digest: str) -> Adapter:
    """The adapter kept under a content hash."""
    adapter, _ = read_adapter(blobs.get(digest))
    return adapter
