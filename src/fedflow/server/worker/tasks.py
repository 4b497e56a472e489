"""What a federation's rounds are made of: prepare a run, aggregate a round, export it, merge residuals into the base.

Each may be done twice and leaves the same behind.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

from fedflow.errors import ModelError
from fedflow.federation.exports import adapter_facts, as_one_adapter, in_layouts, stored_adapter
from fedflow.federation.firewall import WIRE_DTYPES
from fedflow.federation.joining import join_updates
from fedflow.federation.protocol import Layout
from fedflow.federation.workbench import Workbench, initial_adapter, settle_torch
from fedflow.models import BaseModel, model_folder, open_model, save_model
from fedflow.models.weights import get_weights
from fedflow.plan import Plan
from fedflow.server.database.tables import Job
from fedflow.server.services import base_models, commits, files, registry, runs
from fedflow.server.services.heldout import NOT_SCORED, heldout_folder
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.base_folders import place_of
from fedflow.tensors import NamedTensors, load_tensors, to_bytes

BYTES_PER_NUMBER = {"float32": 4, "float16": 2, "bfloat16": 2}


def prepare(store: Store, settings: ServerSettings, job: Job) -> None:
    """Open the run's base model, store its files and the adapter that round 1 starts from, and open the round.

    Raises ModelError where the model cannot be opened on the server's machine, StorageError for a full disk.
    """
    settle_torch(settings.worker_threads)
    plan = runs.plan(store, job.run)
    _, listed = base_models.of_run(store, job.run)
    place = place_of(store, job.run)
    model = open_model(place)
    base = listed or _store_base(store, model, place)
    initial, start = _start(store, model, plan)
    tensors = {name: list(tensor.shape) for name, tensor in start.items()}
    norm = math.sqrt(sum(float(tensor.double().square().sum()) for _, tensor in start.items()))
    heldout = heldout_folder(plan, settings.pictures)
    facts = {
        "tensors": tensors,
        "upload_bytes": _upload_bytes(tensors, plan.network.wire),
        "norm": norm,
        "merged_bytes": _merged_bytes(store, initial),
        "resolution": model.resolution,
        "scored": heldout is not None,
        "not_scored": None if heldout else NOT_SCORED.format(name=plan.data.heldout),
    }
    runs.begin(store, job.run, base=base, base_hash=model.content_hash, initial=initial, prepared=facts)


def aggregate(store: Store, settings: ServerSettings, job: Job) -> None:
    """Join the accepted updates of a closed round and commit it: blobs first, then one transaction."""
    closed = commits.round_to_join(store, job.run, job.round)
    if closed is None:
        return
    settle_torch(settings.worker_threads)
    committed = join_updates(store.blobs, closed.plan, closed.receipts, closed.before)
    commits.commit(store, job.run, job.round, committed)


def export(store: Store, settings: ServerSettings, job: Job) -> None:
    """Write what a round made as other tools open it: one exact adapter in both layouts, or the UNet's weights."""
    settle_torch(settings.worker_threads)
    made = commits.to_export(store, job.run, job.round)
    assert made.model.adapter is not None  # noqa: S101 - the round is committed
    if made.plan.trains_adapter:
        residuals = [stored_adapter(store.blobs, digest) for digest in made.model.residuals]
        whole = as_one_adapter(stored_adapter(store.blobs, made.model.adapter), residuals, rank=None)
        facts = adapter_facts(made.plan, made.resolution, f"joint model after round {job.round}")
        exports: dict[Layout, str] = {
            layout: store.blobs.put(content) for layout, content in in_layouts(whole.adapter, facts).items()
        }
    else:
        weights = load_tensors(store.blobs.get(made.model.adapter))
        plain = {name.removeprefix("unet."): tensor for name, tensor in weights.items()}
        exports = {"unet": store.blobs.put(to_bytes(plain, {"format": "pt"}))}
    registry.add_files(store, job.run, job.round, exports)


def merge(store: Store, settings: ServerSettings, job: Job) -> None:
    """Make the base weights with all residuals up to a round in them, for clients that lack many.

    Raises ModelError where the base model is another than the run was prepared with.
    """
    settle_torch(settings.worker_threads)
    found = commits.to_merge(store, job.run, job.round)
    if found is None:
        return
    plan, residuals = found
    bench = Workbench(
        plan, store.folder / "uploads", {}, "auto", None, base=place_of(store, job.run), blobs=store.blobs
    )
    check_base(store, job.run, bench)
    commits.keep_merged(store, job.run, job.round, store.blobs.put(bench.merged_weights(residuals)))


def check_base(store: Store, run_id: str, bench: Workbench) -> None:
    """Raise ModelError where the base model is another than the run was prepared with."""
    if bench.model.content_hash != runs.base_hash(store, run_id):
        raise ModelError(f"base model '{bench.plan.model}' has changed since run {run_id} was prepared; put it back")


TASKS = {"prepare": prepare, "aggregate": aggregate, "export": export, "merge": merge}


def _upload_bytes(tensors: dict[str, list[int]], wire: str) -> int:
    """What an update weighs, with its header; its metadata, some hundred bytes, are not counted."""
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + math.prod(shape) * BYTES_PER_NUMBER[wire]
        header[name] = {"dtype": WIRE_DTYPES[wire], "shape": shape, "data_offsets": [begin, end]}
    return 8 + len(json.dumps(header, separators=(",", ":"))) + end


def _merged_bytes(store: Store, initial: str | None) -> int | None:
    """What the weights weigh that an adapter of this shape changes, in float32; None for whole models."""
    if initial is None:
        return None
    adapter = stored_adapter(store.blobs, initial)
    return sum(4 * each.flat_B.shape[0] * each.flat_A.shape[1] for each in adapter.values())


def _store_base(store: Store, model: BaseModel, place: str) -> str:
    """Every file of the model's folder as a blob, and the list of them; a model of another layout is written as one."""
    with tempfile.TemporaryDirectory(
        dir=store.folder / "uploads"
    ) as scratch:  # collected where a killed worker left it
        folder = model_folder(place)
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
