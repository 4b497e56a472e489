"""A model or adapter that is brought through the browser: kept as it came until the worker has taken it in."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePath
from typing import IO, Any

from fedflow.client.database.tables import Job
from fedflow.client.services import jobs, shelving
from fedflow.client.services.datasets_uploads import link
from fedflow.client.services.shelving import ImportRequest
from fedflow.client.store import Store
from fedflow.errors import MistakeError, StorageError
from fedflow.models.pickles import refuse_pickle
from fedflow.tensors.header import read_header

MOST_BYTES = 10_000_000_000
"""What a browser sends at once; larger models are given by their path."""
SUFFIXES = (".safetensors", ".zip")
LONGEST_NAME = 200


def arriving(store: Store) -> IO[bytes]:
    """A file in the app's folder to write what comes into; it goes when it is closed. Raises StorageError."""
    folder = store.folder / jobs.INCOMING
    try:
        folder.mkdir(exist_ok=True)
        return tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".partial")
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written ({error.strerror}); free space") from error


def called(name: str) -> str:
    """What a file is called that a browser names, without folders and what cannot be shown."""
    plain = PurePath(name.replace("\\", "/")).name
    return "".join(letter for letter in plain if letter.isprintable())[-LONGEST_NAME:]


def check_name(name: str) -> str:
    """What the name of a file that is opened ends in. Raises MistakeError, ModelError for one that is not."""
    refuse_pickle(name)
    suffix = PurePath(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise MistakeError(f"{name}: is no .safetensors file, nor a zip; nothing else is opened")
    return suffix


def take_in(store: Store, request: ImportRequest, arrived: Path) -> str:
    """Keep the file at `arrived`, which is called `request.place`, and have it taken in; gives the job's identifier.

    Raises MistakeError, ModelError for a file that is none, and for one of the other kind; StorageError.
    """
    suffix = check_name(request.place)
    if suffix == ".safetensors":
        try:
            read_header(arrived, MistakeError)
        except MistakeError as error:
            raise MistakeError(str(error).replace(str(arrived), request.place)) from error
        shelving.check_kind(request, arrived)
    kept = store.folder / jobs.INCOMING / f"{jobs.new_id()}{suffix}"
    try:
        link(arrived, kept)
    except OSError as error:
        kept.unlink(missing_ok=True)
        raise StorageError(f"{kept.parent}: cannot be written ({error.strerror}); free space") from error
    try:
        return shelving.ask(store, request, {jobs.UPLOAD: kept.name})
    except MistakeError:
        kept.unlink(missing_ok=True)
        raise


def asked(job: Job) -> ImportRequest:
    """What an import's job asks for."""
    told: dict[str, Any] = {name: value for name, value in job.asked.items() if name != jobs.UPLOAD}
    return ImportRequest.model_validate(told)


def kept(store: Store, job: Job) -> Path | None:
    """The file that is kept for an import; None where it names a place of its own."""
    name = job.asked.get(jobs.UPLOAD)
    return None if name is None else store.folder / jobs.INCOMING / Path(name).name
