"""Write a version as a whole model: base, residuals and adapter in one, as a diffusers folder or one checkpoint."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from fedflow.errors import FedFlowError
from fedflow.federation.exports import stored_adapter
from fedflow.federation.workbench import settle_torch
from fedflow.models import BaseModel, checkpoint_tensors, merge, open_model, save_model, set_weights
from fedflow.server.database.tables import Job
from fedflow.server.services import downloads, files
from fedflow.server.services.downloads import ToWrite
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.base_folders import folder_of
from fedflow.tensors import load_tensors, to_bytes

BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)
"""The date of every file in a zip: the same model gives the same bytes."""

CHUNK_BYTES = 1024 * 1024


def write(store: Store, settings: ServerSettings, job: Job) -> None:
    """Write one version in one layout. Done twice, it leaves the same behind.

    Raises AdapterError where the adapter does not fit its base, ModelError where that cannot be opened or has no such
    layout.
    """
    version_id, layout = job.subject.split()
    asked = downloads.to_write(store, version_id, layout)
    if asked is None:
        return
    settle_torch(settings.worker_threads)
    with tempfile.TemporaryDirectory(dir=store.folder / "uploads", prefix="download-") as name:
        target = Path(name) / "model"
        try:
            if layout == "merged":
                _write_folder(store, asked, Path(name) / "folder", target)
            else:
                facts = {"modelspec.title": asked.title, "format": "pt"}
                target.write_bytes(to_bytes(checkpoint_tensors(whole_model(store, asked)), facts))
        except FedFlowError as error:
            raise type(error)(str(error).replace(f"{store.folder}/", "")) from error
        downloads.keep(store, version_id, layout, files.put(store, target, "export"))


def whole_model(store: Store, asked: ToWrite) -> BaseModel:
    """The base model with everything folded in, computed in float32."""
    model = open_model(str(folder_of(store, asked.base)))
    if asked.weights is not None:
        set_weights(model, load_tensors(store.blobs.get(asked.weights)))
    for digest in asked.model.residuals:
        merge(model, stored_adapter(store.blobs, digest))
    if asked.model.adapter is not None:
        merge(model, stored_adapter(store.blobs, asked.model.adapter))
    return model


def _write_folder(store: Store, asked: ToWrite, folder: Path, target: Path) -> None:
    """A zip of the model's folder in the diffusers layout; a base model's own files as they are."""
    if asked.weights is None and asked.model.adapter is None:
        folder = folder_of(store, asked.base)
    else:
        save_model(whole_model(store, asked), folder)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), BEGINNING_OF_TIME)
            entry.external_attr = 0o644 << 16
            with path.open("rb") as file, archive.open(entry, "w", force_zip64=True) as packed:
                shutil.copyfileobj(file, packed, CHUNK_BYTES)


TASKS = {"download": write}
