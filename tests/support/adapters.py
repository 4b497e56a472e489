"""Adapters for tests, put into an app's library."""

from __future__ import annotations

import torch

from fedflow.client.services import library
from fedflow.client.store import Store
from fedflow.lora import Factors
from fedflow.models import BaseModel, adapter_bytes, new_adapter


def add_adapter(store: Store, model: BaseModel, name: str, *, base_hash: str | None = None, spread: float = 0.5) -> str:
    """An adapter that changes what `model` draws; gives its identifier. `spread` is that of its random factors B."""
    generator = torch.Generator().manual_seed(len(name))
    adapter = {
        key: Factors(factors.A, torch.randn(factors.B.shape, generator=generator) * spread, factors.alpha)
        for key, factors in new_adapter(model, 2, 2.0, False, generator).items()
    }
    asset_id = library.begin(store)
    library.adapter_file(store, asset_id).write_bytes(adapter_bytes(adapter, "diffusers", {}))
    known = model.content_hash if base_hash is None else base_hash
    new = library.New(library.ADAPTER, name, model.name, known, origin={"how": "trained"})
    return library.keep(store, asset_id, new).id
