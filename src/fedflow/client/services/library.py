"""The library: models and adapters on this machine, each in a folder of its own.

An adapter is a file in each of the layouts that others open; a model a folder in the diffusers layout. The starter
ships with FedFlow and has no row.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select

from fedflow.client.database.tables import Asset
from fedflow.client.store import Store
from fedflow.errors import FedFlowError, MistakeError
from fedflow.plan import STARTER
from fedflow.storage import write_atomic
from fedflow.tensors.header import read_header

Kind = Literal["model", "adapter"]

MODEL: Kind = "model"
ADAPTER: Kind = "adapter"
ADAPTER_FILES = {"diffusers": "adapter.safetensors", "kohya": "adapter.kohya.safetensors"}
NAME = re.compile(r"[\w][\w .+-]{0,79}")
DOWN = ("lora.down.weight", "lora_A.weight")
LONGEST_TRIGGER = 200
PREFIX = "library:"
"""Before a model's identifier where a job or a form names one."""


@dataclass(frozen=True)
class New:
    """What is known of a model or adapter that comes into the library; as the row's columns."""

    kind: Kind
    name: str
    base: str = ""
    base_hash: str = ""
    trigger: str = ""
    origin: dict[str, Any] | None = None


def folder(store: Store, asset_id: str) -> Path:
    """Where the files of a model or adapter lie."""
    return store.folder / "library" / asset_id


def adapter_file(store: Store, asset_id: str) -> Path:
    """The file of an adapter, in the diffusers layout."""
    return folder(store, asset_id) / ADAPTER_FILES["diffusers"]


def checkpoint(store: Store, asset_id: str) -> Path:
    """Where a model is written as one file, on demand."""
    return store.folder / "exports" / f"{asset_id}.safetensors"


def place(store: Store, model: str) -> str:
    """What `open_model` opens for a model that a job or form names: a `library:` identifier, the starter, a path.

    Raises MistakeError where it is no longer in the library.
    """
    if not model.startswith(PREFIX):
        return model
    row = one(store, model.removeprefix(PREFIX))
    if row is None or row.kind != MODEL:
        raise MistakeError("the model is no longer in the library; choose another")
    return str(folder(store, row.id))


def called(store: Store, model: str) -> str:
    """What people call a model that a job or form names."""
    row = one(store, model.removeprefix(PREFIX)) if model.startswith(PREFIX) else None
    return model if row is None else row.name


def write_adapter(store: Store, asset_id: str, *, diffusers: bytes, kohya: bytes) -> None:
    """Write an adapter's file in each layout into its folder; before `keep`, and as often as one likes."""
    here = folder(store, asset_id)
    here.mkdir(parents=True, exist_ok=True)
    write_atomic(here / ADAPTER_FILES["diffusers"], diffusers)
    write_atomic(here / ADAPTER_FILES["kohya"], kohya)


def models(store: Store) -> tuple[tuple[str, str], ...]:
    """Models to choose from, as a job or form names them, with what people call them; the starter first."""
    return ((STARTER, STARTER), *((PREFIX + row.id, row.name) for row in listed(store, MODEL)))


def keep(store: Store, asset_id: str, new: New) -> Asset:
    """Put what lies in its folder into the library; a name that is taken gets a number behind it."""
    # An adapter weighs what one of its files does: the other holds the same for other programs.
    weighed = [adapter_file(store, asset_id)] if new.kind == ADAPTER else folder(store, asset_id).rglob("*")
    row = Asset(
        id=asset_id,
        kind=new.kind,
        name=new.name,
        base=new.base,
        base_hash=new.base_hash,
        trigger=new.trigger,
        origin=new.origin or {},
        size_bytes=sum(path.stat().st_size for path in weighed if path.is_file()),
        added_at=store.clock(),
    )
    with store.begin() as session:
        known = session.get(Asset, asset_id)
        if known is not None:
            return known
        taken = set(session.scalars(select(Asset.name).where(Asset.kind == new.kind)))
        number = 2
        while row.name in taken or row.name == STARTER:
            row.name = f"{new.name} {number}"
            number += 1
        session.add(row)
    return row


def listed(store: Store, kind: Kind | None = None) -> list[Asset]:
    """Models and adapters, or those of one kind, newest first."""
    query = select(Asset).order_by(Asset.added_at.desc(), Asset.id.desc())
    with store.read() as session:
        return list(session.scalars(query if kind is None else query.where(Asset.kind == kind)))


def model_folders(store: Store) -> list[Path]:
    """The folders of all models in the library."""
    return [folder(store, row.id) for row in listed(store, MODEL)]


def base_of(row: Asset, models: Sequence[Asset]) -> Asset | None:
    """That of the library's models that a row was made from: of several with the same weights the one of its name.

    None where it is not among them; the starter never is.
    """
    wanted = row.origin.get("base_hash") if row.kind == MODEL else row.base_hash
    if row.base == STARTER or not wanted:
        return None
    same = [each for each in models if each.base_hash == wanted and each.id != row.id]
    return next((each for each in same if each.name == row.base), next(iter(same), None))


def rank(store: Store, row: Asset) -> int | None:
    """The largest rank of an adapter's layers; None where its file cannot be read."""
    known = row.origin.get("rank")
    if isinstance(known, int):
        return known
    try:
        entries = read_header(adapter_file(store, row.id)).entries
    except FedFlowError:
        return None
    ranks = [entry.shape[0] for name, entry in entries.items() if name.endswith(DOWN) and entry.shape]
    return max(ranks, default=None)


def one(store: Store, asset_id: str) -> Asset | None:
    """A model or adapter; None where there is none."""
    with store.read() as session:
        return session.get(Asset, asset_id)


def rename(store: Store, asset_id: str, name: str) -> None:
    """Call it something else. Raises MistakeError for a name that is none, or is taken."""
    name = " ".join(name.split())
    if not NAME.fullmatch(name):
        raise MistakeError("a name has up to 80 letters, digits, spaces, dots, dashes, and begins with a letter")
    with store.begin() as session:
        row = session.get(Asset, asset_id)
        if row is None:
            raise MistakeError("it is no longer in the library")
        same = select(Asset.id).where(Asset.kind == row.kind, Asset.name == name, Asset.id != asset_id)
        if session.scalar(same) is not None or name == STARTER:
            raise MistakeError(f"'{name}' is taken; choose another name")
        row.name = name


def set_trigger(store: Store, asset_id: str, words: str) -> None:
    """Words that belong in a prompt drawn with an adapter; none where empty. Its files stay as they are.

    Raises MistakeError.
    """
    words = " ".join(words.split())
    if len(words) > LONGEST_TRIGGER:
        raise MistakeError(f"a trigger has up to {LONGEST_TRIGGER} characters; shorten it")
    with store.begin() as session:
        row = session.get(Asset, asset_id)
        if row is None:
            raise MistakeError("it is no longer in the library")
        row.trigger = words


def remove(store: Store, asset_id: str) -> None:
    """Delete it, its files too; pictures that were drawn with it stay."""
    with store.begin() as session:
        row = session.get(Asset, asset_id)
        if row is not None:
            session.delete(row)
    shutil.rmtree(folder(store, asset_id), ignore_errors=True)
    checkpoint(store, asset_id).unlink(missing_ok=True)
