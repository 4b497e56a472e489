"""Take in a model or adapter: look at every file of it, and make a version of what passes.

Nothing is unpickled, no code of a model is run, and only files that the family of models has are taken. It may be done
twice and leaves the same behind.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedflow.errors import FedFlowError, MistakeError, ModelError
from fedflow.federation.workbench import settle_torch
from fedflow.models import hub_adapter, hub_folder, open_model
from fedflow.models.adapter_intake import read_adapter_file
from fedflow.models.archives import unpack
from fedflow.models.model_intake import copy_model, open_checked, open_checkpoint
from fedflow.server.database.tables import Import, Job, Version
from fedflow.server.errors import ApiError
from fedflow.server.services import files, imports
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.base_folders import folder_of, lay_out, link
from fedflow.storage import sha256_file

MODEL = "model"


@dataclass(frozen=True)
class Brought:
    """What came: a file or a folder at `path`, and what people call it; `links` may be followed in the hub's cache."""

    path: Path
    called: str
    links: bool


def take_in(store: Store, settings: ServerSettings, job: Job) -> None:
    """Carry out an import.

    Raises ModelError, AdapterError, UpdateError in one line that holds no path of this machine, for what cannot be
    taken in, MistakeError for weights that are here already.
    """
    asked = imports.begin(store, job.subject)
    if asked is None:
        return
    row, base = asked
    settle_torch(settings.worker_threads)
    # Collected where a killed worker left it.
    with tempfile.TemporaryDirectory(dir=store.folder / "uploads", prefix="import-") as name:
        scratch = Path(name)
        try:
            imports.move(store, row.id, "fetching")
            brought = _brought(store, settings, row, scratch)
            imports.move(store, row.id, "checking")
            if row.kind == MODEL:
                _take_model(store, settings, row, base, brought, scratch)
            else:
                _take_adapter(store, row, base, brought, scratch)
        except FedFlowError as error:
            # What is there already is no reason to try again.
            kind = MistakeError if isinstance(error, ApiError) else type(error)
            raise kind(_without_places(str(error), store, scratch, row)) from error


def _brought(store: Store, settings: ServerSettings, row: Import, scratch: Path) -> Brought:
    """The file or folder that is to be taken in, unpacked where it is an archive."""
    if row.source == "hub":
        if row.kind == MODEL:
            return Brought(hub_folder(row.place, most_bytes=settings.max_import_bytes), row.place, links=True)
        return Brought(hub_adapter(row.place, settings.max_import_bytes), row.place, links=True)
    called = Path(row.place).name
    if row.source == "upload":
        if row.content is None or row.content not in store.blobs:
            raise ModelError(f"{called}: the upload is no longer here; upload it again")
        path = store.blobs.get(row.content)
    elif row.source == "folder":
        path = imports.inside(settings.imports, row.place)
    else:
        path = Path(row.place)
        if not path.exists():
            raise ModelError(f"{path}: no such file or folder; check the path")
    if path.is_file():
        if path.stat().st_size > settings.max_import_bytes:
            raise ModelError(f"{called}: has {path.stat().st_size} bytes, {settings.max_import_bytes} are allowed")
        if zipfile.is_zipfile(path):
            return Brought(unpack(path, scratch / "unpacked", settings.max_import_bytes), called, links=False)
        if row.source != "upload" and path.suffix != ".safetensors":
            raise ModelError(f"{called}: is no .safetensors file, nor a zip; nothing else is opened")
        named = scratch / "brought.safetensors"
        link(path, named)
        path = named
    return Brought(path, called, links=row.source == "machine")


def _take_adapter(store: Store, row: Import, base: Version | None, brought: Brought, scratch: Path) -> None:
    found = read_adapter_file(
        brought.path, scratch, None if base is None else open_model(str(folder_of(store, base.content)))
    )
    imports.move(store, row.id, "storing")
    imports.keep(
        store,
        row.id,
        content=files.put(store, found.content, "adapter"),
        content_hash=None,
        facts=_origin(row, brought) | found.facts,
        layouts={layout: store.blobs.put(content) for layout, content in found.layouts.items()},
        trigger_words=found.trigger_words,
    )


def _take_model(
    store: Store, settings: ServerSettings, row: Import, base: Version | None, brought: Brought, scratch: Path
) -> None:
    folder = scratch / "model"
    if brought.path.is_dir():
        copy_model(brought.path, folder, settings.max_import_bytes, links=brought.links)
        found = open_checked(folder, "diffusers")
    else:
        configs = scratch / "brought"  # beside the file: what it holds no settings of
        if base is not None:
            lay_out(store, base.content, configs, weights=False)
        found = open_checkpoint(brought.path, folder)
    imports.move(store, row.id, "storing")
    listed = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        place, size_bytes = path.relative_to(folder).as_posix(), path.stat().st_size
        listed.append({"path": place, "sha256": files.put(store, path, "base"), "size_bytes": size_bytes})
    imports.keep(
        store,
        row.id,
        content=files.put(store, json.dumps(listed).encode(), "base"),
        content_hash=found.content_hash,
        facts=_origin(row, brought) | found.facts,
        layouts={},
        trigger_words=(),
    )


def _origin(row: Import, brought: Brought) -> dict[str, object]:
    told: dict[str, object] = {"from": brought.called, "source": row.source}
    if row.content is not None:
        told["sha256"] = row.content
    elif brought.path.is_file():
        told["sha256"] = sha256_file(brought.path)
    return told


def _without_places(message: str, store: Store, scratch: Path, row: Import) -> str:
    """The message without folders of this machine, which are nobody else's business."""
    for place, shown in _shown(store, scratch, row).items():
        message = message.replace(place, shown)
    return message


def _shown(store: Store, scratch: Path, row: Import) -> Mapping[str, str]:
    called = Path(row.place).name if row.source != "hub" else row.place
    return {
        str(scratch / "brought.safetensors"): called,
        str(scratch / "unpacked"): called,
        str(scratch / "model"): called,
        f"{scratch}/": "",
        f"{store.folder}/": "",
    }


TASKS = {"import": take_in}
