"""`fedflow server import`: whoever runs the server brings a model or adapter in, from anywhere on its machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal, cast

from sqlalchemy import select

from fedflow.errors import MistakeError
from fedflow.plan import REGISTRY
from fedflow.server.database.tables import Federation
from fedflow.server.opening import open_to_serve
from fedflow.server.services import base_models, federations, imports
from fedflow.server.services.identity import SERVER
from fedflow.server.services.imports import Wanted
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import EVALUATION, carry_out

KINDS = ("model", "adapter")


def bring_in(
    settings: ServerSettings,
    name: str,
    source: str,
    *,
    kind: str,
    base: str | None,
    hub: bool,
    federation: str | None,
) -> None:
    """Import it at once, in this process, and say what came of it. Raises MistakeError where nothing did."""
    if kind not in KINDS:
        raise MistakeError(f"--kind {kind}: is none of {', '.join(KINDS)}")
    store = open_to_serve(settings)
    federation_id = _federation(store, federation)
    base_id = None if base is None else _base(store, federation_id, base)
    place = source if hub else str(Path(source).expanduser().absolute())
    wanted = Wanted(cast(Literal["model", "adapter"], kind), name, "hub" if hub else "machine", place, base_id)
    worker = f"{socket.gethostname()}-{os.getpid()}"
    import_id, job_id = imports.of_machine(store, SERVER, federation_id, wanted, worker)
    carry_out(store, settings, EVALUATION, job_id, worker)
    row = imports.one(store, SERVER, import_id)
    store.engine.dispose()
    if row.phase == "failed":
        raise MistakeError(row.message)
    if row.phase != "done":
        print(f"'{name}' is {row.phase}; a worker of the server goes on with it")
        return
    print(f"imported: {kind} '{name}', version {row.version_id}")
    if kind == "model":
        print(f'A run starts from it with model = "{REGISTRY}{name}".')


def _federation(store: Store, name: str | None) -> str:
    first = federations.first_federation(store)
    if name is None:
        return first
    with store.read() as session:
        found = session.scalar(select(Federation.id).where(Federation.name == name))
        there = session.scalars(select(Federation.name).order_by(Federation.name)).all()
    if found is None:
        raise MistakeError(f"--federation {name}: the server has {', '.join(there) or 'none'}")
    return found


def _base(store: Store, federation_id: str, name: str) -> str:
    with store.read() as session:
        found = base_models.version(session, federation_id, f"{REGISTRY}{name}")
    if found is None:
        raise MistakeError(f"--base {name}: the federation has no such model; import it first")
    return found.id
