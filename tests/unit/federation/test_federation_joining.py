"""Updates joined into the next state: clipped where the plan says so, and told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedflow.federation.joining import join_updates
from fedflow.federation.rounds import GlobalState, Receipt
from fedflow.lora import Factors
from fedflow.models import adapter_bytes, read_adapter
from fedflow.plan import Plan
from fedflow.storage import Blobs

MODULE = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def stored(blobs: Blobs, A: float, B: float) -> str:
    factors = Factors(torch.full((1, 4), A), torch.full((4, 1), B), 1.0)
    return blobs.put(adapter_bytes({MODULE: factors}, "diffusers", {}))


@pytest.mark.parametrize(("max_change_norm", "clipped", "mean_B"), [(None, None, 4.0), (100.0, 0, 4.0), (2.0, 1, 0.75)])
def test_an_update_beyond_the_norm_counts_only_as_far(
    max_change_norm: float | None, clipped: int | None, mean_B: float, tmp_path: Path
) -> None:
    blobs = Blobs(tmp_path)
    before = GlobalState(stored(blobs, 1.0, 0.0))
    receipts = (
        Receipt("gentle", 1, stored(blobs, 1.0, 0.5), 1),  # its change has norm 1
        Receipt("harsh", 1, stored(blobs, 1.0, 7.5), 1),  # 15
    )
    joined = join_updates(blobs, Plan(max_change_norm=max_change_norm), receipts, before)
    adapter, _ = read_adapter(blobs.get(joined.adapter))
    assert adapter[MODULE].B.flatten().tolist() == pytest.approx([mean_B] * 4)
    assert adapter[MODULE].A.flatten().tolist() == [1.0] * 4
    assert joined.report.get("clipped") == clipped
    assert joined.exact_error is not None
    assert joined.exact_error < 1e-6


def test_whole_models_are_not_clipped() -> None:
    with pytest.raises(ValueError, match="not clipped; take it out"):
        Plan(method="fedavg", max_change_norm=1.0)
