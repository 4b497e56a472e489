"""What a worker does: prepare a run, aggregate a round. Each may be done twice and leaves the same behind."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

from fedflow.federation.joining import join_updates
from fedflow.federation.workbench import initial_adapter
from fedflow.models import BaseModel, model_folder, open_model, save_model
from fedflow.models.weights import get_weights
from fedflow.plan import Plan
from fedflow.server.database.tables import Job
from fedflow.server.services import commits, files, runs
from fedflow.server.store import Store
from fedflow.tensors import NamedTensors, load_tensors

BYTES_PER_NUMBER = {"float32": 4, "float16": 2, "bfloat16": 2}


def prepare(store: Store, job: Job) -> None:
    """Open the run's base model, store its files and the adapter that round 1 starts from, and open the round.

    Raises ModelError where the model cannot be opened on the server's machine, StorageError for a full disk.
    """
    plan = runs.plan(store, job.run_id)
    model = open_model(plan.model)
    base = _store_base(store, model, plan)
    initial, start = _start(store, model, plan)
    tensors = {name: list(tensor.shape) for name, tensor in start.items()}
    numbers = sum(math.prod(shape) for shape in tensors.values())
    norm = math.sqrt(sum(float(tensor.double().square().sum()) for _, tensor in start.items()))
    facts = {"tensors": tensors, "upload_bytes": numbers * BYTES_PER_NUMBER[plan.network.wire], "norm": norm}
    runs.begin(store, job.run_id, base=base, base_hash=model.content_hash, initial=initial, prepared=facts)


def aggregate(store: Store, job: Job) -> None:
    """Join the accepted updates of a closed round and commit it: blobs first, then one transaction."""
    closed = commits.round_to_join(store, job.run_id, job.round)
    if closed is None:
        return
    committed = join_updates(store.blobs, closed.plan, closed.receipts, closed.before)
    commits.commit(store, job.run_id, job.round, committed)


TASKS = {"prepare": prepare, "aggregate": aggregate}


def _store_base(store: Store, model: BaseModel, plan: Plan) -> str:
    """Every file of the model's folder as a blob, and the list of them; a model of another layout is written as one."""
    with tempfile.TemporaryDirectory(dir=store.folder) as scratch:
        folder = model_folder(plan.model)
        if folder is None:
            folder = Path(scratch) / "model"
            save_model(model, folder)
        listed = []
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest = files.put(store, path, "base")
                listed.append(
                    {"path": path.relative_to(folder).as_posix(), "sha256": digest, "size_bytes": path.stat().st_size}
                )
    return files.put(store, json.dumps(listed).encode(), "base")


def _start(store: Store, model: BaseModel, plan: Plan) -> tuple[str | None, NamedTensors]:
    """The adapter that round 1 starts from, stored, and its tensors; for whole models None and the UNet's weights."""
    if not plan.trains_adapter:
        return None, get_weights(model)
    digest = files.put(store, initial_adapter(model, plan, plan.seeds[0]), "adapter")
    return digest, load_tensors(store.blobs.get(digest))
