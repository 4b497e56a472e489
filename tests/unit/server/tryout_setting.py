"""What tests of try-outs bring along: a person, and a release that pictures can be drawn with."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from tests.unit.server.import_setting import brought, kohya_file
from tests.unit.server.test_catalogue import person

from fedflow.server.database.tables import Release
from fedflow.server.services import imports, jobs, registry, releases, tryouts
from fedflow.server.services.identity import FIRST, SERVER, Caller, first_coordinator
from fedflow.server.services.imports import Wanted
from fedflow.server.services.tryout_request import TryoutRequest
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import EVALUATION, carry_out

ADMIN = Caller("person", FIRST, name="coordinator", is_admin=True)

__all__ = ["ask", "person", "release_of_run", "tiny_release", "work"]


def release_of_run(store: Store, tag: str = "v1") -> str:
    """The last version of the run's adapter, released."""
    [artifact] = registry.artifacts(store, SERVER, registry.ADAPTER, "", 10)
    return releases.release(store, SERVER, registry.versions(store, SERVER, artifact.id, 0, 10)[-1].id, tag, "")


def tiny_release(store: Store, federation_id: str, folder: Path) -> str:
    """An adapter on the tiny model, both brought in, released as 'v1'."""
    first_coordinator(store)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    made = brought(store, federation_id, Wanted("model", "tiny", "upload", "tiny.zip"), packed.getvalue(), ADMIN)
    base_id = imports.one(store, SERVER, made).version_id
    wanted = Wanted("adapter", "foxes", "upload", "foxes.safetensors", base_id)
    version_id = imports.one(store, SERVER, brought(store, federation_id, wanted, kohya_file(folder), ADMIN)).version_id
    assert version_id is not None
    return releases.release(store, SERVER, version_id, "v1", "")


def ask(store: Store, caller: Caller, release_id: str, settings: ServerSettings | None = None, **said: object) -> str:
    """A try-out of two pictures in two steps, or as `said`."""
    wanted = TryoutRequest.model_validate({"prompt": "a fox", "steps": 2, "seed": 7, **said})
    return tryouts.ask(store, settings or ServerSettings(folder=store.folder), caller, release_id, wanted)


def work(store: Store, worker: str = "worker", **settings: object) -> None:
    """Do the try-outs that wait for an evaluator, once each."""
    given = ServerSettings.model_validate({"folder": store.folder, **settings})
    for job_id in jobs.waiting(store, ("tryout",)):
        carry_out(store, given, EVALUATION, job_id, worker)


def release_row(store: Store, release_id: str) -> Release:
    with store.read() as session:
        return session.get_one(Release, release_id)
