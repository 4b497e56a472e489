"""Take a model or adapter into the library, join adapters, write a model as one file. Done twice, it is there once."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fedflow.client.database.tables import Job
from fedflow.client.services import jobs, library, shelving, shelving_uploads
from fedflow.client.services.leftovers import IMPORTING
from fedflow.client.services.shelving import ImportRequest, MergeRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import RefusedError
from fedflow.errors import AdapterError, FedFlowError, HubAway, MistakeError
from fedflow.federation.workbench import settle_torch
from fedflow.lora import joined
from fedflow.models import (
    adapter_bytes,
    checkpoint_tensors,
    hub_adapter,
    hub_folder,
    one_model,
    open_model,
    read_adapter,
)
from fedflow.models.adapter_files import LAYOUTS
from fedflow.models.adapter_intake import read_adapter_file
from fedflow.models.archives import unpack
from fedflow.models.model_intake import copy_model, open_checked, open_checkpoint
from fedflow.storage import write_atomic
from fedflow.tensors import to_bytes

MOST_BYTES = 40_000_000_000


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Do what the job asks for. Raises FedFlowError, one line, for what cannot be done."""
    settle_torch(settings.threads)
    one_model.close()
    if job.kind == shelving.IMPORT:
        _import(store, job, shelving_uploads.asked(job))
    elif job.kind == shelving.MERGE:
        _merge(store, job, MergeRequest.model_validate(job.asked))
    else:
        _export(store, str(job.asked["model"]))
    jobs.note(store, job.id, 1, 1)


def _import(store: Store, job: Job, request: ImportRequest) -> None:
    kept = shelving_uploads.kept(store, job)
    if kept is not None:
        _take_in_kept(store, job, request, kept)
        return
    source = Path(request.place).expanduser()
    is_hub = not source.is_absolute()
    if is_hub:
        source = hub_folder(request.place) if request.kind == library.MODEL else hub_adapter(request.place)
    if not source.exists():
        raise MistakeError(f"{source}: is not there any more; check the path")
    _take_in(store, job, request, source, links=True)


def _take_in_kept(store: Store, job: Job, request: ImportRequest, kept: Path) -> None:
    """Take in what came through the browser, and keep it no longer.

    Raises RefusedError for what would be refused however often it is tried; HubAway, StorageError.
    """
    if library.one(store, job.id) is not None:
        kept.unlink(missing_ok=True)
        return
    try:
        if not kept.is_file():
            raise MistakeError("the file is no longer kept; bring it once more")
        with tempfile.TemporaryDirectory(dir=store.folder, prefix=IMPORTING) as name:
            unpacked = Path(name) / "unpacked"
            source = unpack(kept, unpacked, MOST_BYTES) if kept.suffix == ".zip" else kept
            try:
                _take_in(store, job, request, source, links=False)
            except MistakeError as error:
                told = str(error)
                for place in (source, unpacked, library.folder(store, job.id)):
                    told = told.replace(str(place), request.place)
                raise type(error)(told) from error
    except HubAway:
        raise
    except MistakeError as error:
        kept.unlink(missing_ok=True)
        raise RefusedError(str(error)) from error
    kept.unlink(missing_ok=True)


def _take_in(store: Store, job: Job, request: ImportRequest, source: Path, *, links: bool) -> None:
    origin: dict[str, object] = {"how": "imported", "from": request.place}
    if request.kind == library.ADAPTER:
        new = _adapter(store, job.id, request, source, origin)
    else:
        new = _model(store, job.id, request, source, origin, links=links)
    library.keep(store, job.id, new)


def _adapter(
    store: Store, asset_id: str, request: ImportRequest, source: Path, origin: dict[str, object]
) -> library.New:
    base = open_model(library.place(store, request.base))
    with tempfile.TemporaryDirectory(dir=store.folder, prefix=IMPORTING) as scratch:
        found = read_adapter_file(source, Path(scratch), base)
    library.write_adapter(store, asset_id, diffusers=found.content, kohya=found.layouts["kohya"])
    trigger = ", ".join(found.trigger_words)
    called = library.called(store, request.base)
    return library.New(library.ADAPTER, request.name, called, base.content_hash, trigger, origin | found.facts)


def _model(
    store: Store, asset_id: str, request: ImportRequest, source: Path, origin: dict[str, object], *, links: bool
) -> library.New:
    folder = library.folder(store, asset_id)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_dir():
            folder.mkdir()
            copy_model(source, folder, MOST_BYTES, links=links)
            found = open_checked(folder, "diffusers")
        else:
            found = open_checkpoint(source, folder, library.model_folders(store))
    except FedFlowError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return library.New(library.MODEL, request.name, "", found.content_hash, "", origin | found.facts)


def _merge(store: Store, job: Job, request: MergeRequest) -> None:
    rows = [library.one(store, asset_id) for asset_id, _ in request.parts]
    if None in rows:
        raise MistakeError("an adapter is no longer in the library; choose again")
    known = [row for row in rows if row is not None]
    if len({row.base_hash for row in known if row.base_hash}) > 1:
        raise AdapterError("the adapters were trained on different base models; choose ones of the same")
    parts = [(read_adapter(library.adapter_file(store, asset_id))[0], weight) for asset_id, weight in request.parts]
    adapter = joined(parts)
    title = {"modelspec.title": request.name}
    diffusers, kohya = (adapter_bytes(adapter, layout, title) for layout in LAYOUTS)
    library.write_adapter(store, job.id, diffusers=diffusers, kohya=kohya)
    told = [[row.name, weight] for row, (_, weight) in zip(known, request.parts, strict=True)]
    trigger = ", ".join(dict.fromkeys(row.trigger for row in known if row.trigger))
    base = next((row for row in known if row.base_hash), known[0])
    origin: dict[str, object] = {
        "how": "merged",
        "parts": told,
        "rank": max(factors.rank for factors in adapter.values()),
    }
    library.keep(store, job.id, library.New(library.ADAPTER, request.name, base.base, base.base_hash, trigger, origin))


def _export(store: Store, asset_id: str) -> None:
    row = library.one(store, asset_id)
    if row is None:
        raise MistakeError("the model is no longer in the library")
    model = open_model(str(library.folder(store, asset_id)))
    content = to_bytes(checkpoint_tensors(model), {"modelspec.title": row.name, "format": "pt"})
    target = library.checkpoint(store, asset_id)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, content)
