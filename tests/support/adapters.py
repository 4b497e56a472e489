"""Adapters for tests, put into an app's library."""

from __future__ import annotations

import torch

from fedflow.client.services import library
from fedflow.client.services.jobs import new_id
from fedflow.client.store import Store
from fedflow.lora import Factors
from fedflow.models import BaseModel, adapter_bytes, new_adapter
from fedflow.models.adapter_files import LAYOUTS


def add_adapter(
    store: Store,
    model: BaseModel,
    name: str,
    *,
    base_hash: str | None = None,
    spread: float = 0.5,
    asset_id: str | None = None,
    text_encoder: bool = False,
    rank: int = 2,
) -> str:
    """An adapter that changes what `model` draws; gives its identifier. `spread` is that of its random factors B."""
    generator = torch.Generator().manual_seed(len(name))
    adapter = {
        key: Factors(factors.A, torch.randn(factors.B.shape, generator=generator) * spread, factors.alpha)
        for key, factors in new_adapter(model, rank, 2.0, text_encoder, generator).items()
    }
    asset_id = asset_id or new_id()
    diffusers, kohya = (adapter_bytes(adapter, layout, {}) for layout in LAYOUTS)
    library.write_adapter(store, asset_id, diffusers=diffusers, kohya=kohya)
    known = model.content_hash if base_hash is None else base_hash
    new = library.New(library.ADAPTER, name, model.name, known, origin={"how": "trained"})
    return library.keep(store, asset_id, new).id
