"""What tests of imports and downloads bring along: adapters that fit the tiny model, and a worker that is called."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from fedflow.lora import Adapter
from fedflow.models import adapter_bytes, new_adapter, open_model
from fedflow.server.services import imports, jobs, uploads
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.imports import Wanted
from fedflow.server.services.upload_writing import Body
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import EVALUATION, carry_out


def tiny_adapter(folder: Path, rank: int = 2, alpha: float = 4.0) -> Adapter:
    """A LoRA on the tiny model's UNet whose matrices are all but zero."""
    generator = torch.Generator().manual_seed(7)
    adapter = new_adapter(open_model(str(folder)), rank, alpha, text_encoder=False, generator=generator)
    for factors in adapter.values():
        factors.B.copy_(torch.randn(factors.B.shape, generator=generator))
    return adapter


def kohya_file(folder: Path, phrase: str = "foxy, red fox", rank: int = 2) -> bytes:
    return adapter_bytes(tiny_adapter(folder, rank), "kohya", {"modelspec.trigger_phrase": phrase})


def upload(store: Store, caller: Caller, content: bytes) -> tuple[str, str]:
    """An upload of `content` in two pieces; its identifier and its SHA-256."""
    made = uploads.create(store, caller, len(content), "", 10**9, 1e6)
    half = len(content) // 2
    for at, piece in ((0, content[:half]), (half, content[half:])):
        pieces = iter([piece, b""])
        uploads.append(store, caller, made.id, at, Body(lambda _, left=pieces: next(left), len(piece)), None, 1e6)
    return made.id, hashlib.sha256(content).hexdigest()


def work(store: Store, **settings: object) -> None:
    """Do what waits for a worker of the second sort."""
    for job_id in jobs.waiting(store, ("import", "download")):
        given = ServerSettings.model_validate({"folder": store.folder, **settings})
        carry_out(store, given, EVALUATION, job_id, "worker")


def brought(store: Store, federation_id: str, wanted: Wanted, content: bytes, caller: Caller = SERVER) -> str:
    """An upload handed in and taken in, or refused; the import's identifier."""
    upload_id, sha256 = upload(store, caller, content)
    made = imports.hand_in(store, caller, federation_id, wanted, upload_id, sha256)
    work(store)
    return made
