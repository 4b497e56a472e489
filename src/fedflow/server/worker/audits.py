"""Look through the whole audit log."""

from __future__ import annotations

from fedflow.server.database.tables import Job
from fedflow.server.services import audit_looks
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


def look(store: Store, settings: ServerSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Keep what a look at the log found, for its page."""
    audit_looks.look(store)


TASKS = {audit_looks.KIND: look}
