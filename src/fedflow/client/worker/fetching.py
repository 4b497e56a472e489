"""Fetch a version of a server's model or adapter into the library, each file checked by its SHA-256."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedflow.client.connection import Connection
from fedflow.client.database.tables import Job, Membership
from fedflow.client.services import jobs, library, memberships
from fedflow.client.services.fetching import FetchRequest
from fedflow.client.services.leftovers import FETCHING
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.whole_models import write_whole_model
from fedflow.errors import MistakeError, ModelError
from fedflow.federation.protocol import VersionLine
from fedflow.federation.workbench import settle_torch
from fedflow.models import one_model
from fedflow.models.adapter_intake import read_adapter_file
from fedflow.models.model_intake import TAKEN, open_checked

PATIENCE_S = 20.0
WRITTEN_WITHIN_S = 120.0
"""A server with much to do writes later: the owner is told, and tries again."""

LOOK_S = 1.0


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Fetch what the job names; done twice, it is in the library once.

    Raises MistakeError where the federation was left or the server has no such version for this machine, ModelError
    and AdapterError for files that are not what they should be; what a Connection raises.
    """
    settle_torch(settings.threads)
    request = FetchRequest.model_validate(job.asked)
    row = memberships.one(store, request.membership)
    if row is None:
        raise MistakeError("the federation was left meanwhile; join it again to fetch from its server")
    one_model.close()
    with (
        memberships.connected(store, row.id, PATIENCE_S) as connection,
        tempfile.TemporaryDirectory(dir=store.folder, prefix=FETCHING) as scratch,
    ):
        every = connection.versions(request.artifact).items
        version = next((each for each in every if each.id == request.version), None)
        if version is None:
            raise MistakeError("the server has this version no more; look at its list again")
        if version.round is not None and version is not every[-1]:
            request = request.model_copy(update={"name": f"{request.name}, round {version.round}"})
        is_adapter = any(each.id == request.artifact for each in connection.artifacts("adapters").items)
        fetch = _Fetch(store, connection, version, request, row, Path(scratch))
        new = fetch.adapter(job.id) if is_adapter else fetch.model(job.id)
    library.keep(store, job.id, new)
    jobs.note(store, job.id, 1, 1)


@dataclass(frozen=True)
class _Base:
    """A base model of the server, and what it is called there."""

    name: str
    version: VersionLine


class _Fetch:
    """One version on its way."""

    def __init__(
        self,
        store: Store,
        connection: Connection,
        version: VersionLine,
        request: FetchRequest,
        row: Membership,
        scratch: Path,
    ) -> None:
        self._store = store
        self._connection = connection
        self._version = version
        self._request = request
        self._scratch = scratch
        self._origin: dict[str, object] = {
            "how": "fetched",
            "federation": row.federation,
            "server": row.server,
            "version": version.number,
            "run": version.run,
            "round": version.round,
        }

    def adapter(self, asset_id: str) -> library.New:
        """Both layouts, looked at as every adapter that comes in."""
        came = self._file("diffusers")
        found = read_adapter_file(came, self._scratch, None)
        library.write_adapter(self._store, asset_id, diffusers=found.content, kohya=found.layouts["kohya"])
        base = self._base()
        known_as, base_hash = ("", "") if base is None else (base.name, base.version.content_hash or "")
        trigger, origin = ", ".join(found.trigger_words), self._origin | {"rank": found.facts["rank"]}
        return library.New(library.ADAPTER, self._request.name, known_as, base_hash, trigger, origin)

    def model(self, asset_id: str) -> library.New:
        """A base model's files; of one that a run has made its base's, with the run's weights put in."""
        target = library.folder(self._store, asset_id)
        if self._version.content_hash is not None:
            content_hash = self._base_files(self._version, target)
            return library.New(library.MODEL, self._request.name, "", content_hash, "", self._origin)
        base = self._base()
        if base is None:
            raise MistakeError("the server shows this machine no base model of it; ask the coordinator")
        place, weights = self._scratch / "model", self._file("unet")
        self._origin["base_hash"] = self._base_files(base.version, place)
        content_hash = write_whole_model(str(place), weights, target)
        return library.New(library.MODEL, self._request.name, base.name, content_hash, "", self._origin)

    def _base_files(self, base: VersionLine, folder: Path) -> str:
        """Fetch a base model into `folder`, which is emptied first; gives its content hash."""
        listed = self._scratch / "list.json"
        self._connection.fetch(base.content, listed)
        shutil.rmtree(folder, ignore_errors=True)
        for entry in json.loads(listed.read_bytes()):
            place = str(PurePosixPath(str(entry["path"])))
            if not TAKEN.fullmatch(place):
                raise ModelError(f"the server names a file of the model {place[:80]!r}, which no model needs; refused")
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            self._connection.fetch(str(entry["sha256"]), folder / place)
        return open_checked(folder, "diffusers").content_hash

    def _base(self) -> _Base | None:
        """The base model that the version stands on, where the server shows it."""
        for artifact in self._connection.artifacts("models").items:
            for version in self._connection.versions(artifact.id).items:
                if version.id == self._version.base_id:
                    return _Base(artifact.name, version)
        return None

    def _file(self, layout: str) -> Path:
        """The version's file; the server writes that of a round before the last when somebody asks for it."""
        version, give_up_at = self._version, time.monotonic() + WRITTEN_WITHIN_S
        while layout not in version.files:
            if time.monotonic() >= give_up_at:
                raise MistakeError("the server has not written its files yet; try again in a while")
            version = self._connection.ask_files(version.id)
            if layout not in version.files:
                time.sleep(LOOK_S)
        target = self._scratch / f"{layout}.safetensors"
        self._connection.fetch_version(version.id, layout, version.files[layout], target)
        return target
