"""LoRA algebra: factors, exact sums, streaming co-moments, truncation. No files."""

from __future__ import annotations

from fedflow.lora.comoment import CoMoment, Residual
from fedflow.lora.compression import energies, fold, truncate
from fedflow.lora.factors import Adapter, Factors, joined, same_rank, stack

__all__ = [
    "Adapter",
    "CoMoment",
    "Factors",
    "Residual",
    "energies",
    "fold",
    "joined",
    "same_rank",
    "stack",
    "truncate",
]
