"""Join a federation with a code."""

from __future__ import annotations

from fedflow.client.connection import Connection
from fedflow.client.database.tables import Job
from fedflow.client.services import jobs, memberships
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store

PATIENCE_S = 10.0


def do(store: Store, settings: ClientSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Use the code up; done twice with the same key, it is the same request to the server.

    Raises FedFlowError, one line, where the server refuses it or does not answer.
    """
    request = memberships.request_of(job)
    home, sent = memberships.home(store, job.id), []
    with home.alone(), Connection(home, patience_s=PATIENCE_S, sent=lambda *one: sent.append(one)) as connection:
        device = home.device() or connection.join(
            request.server, request.code, request.device, request.shows_counts or None
        )
    memberships.keep(store, job, device)
    for method, path, size_bytes in sent:  # the log is the membership's, which is there only now
        memberships.note_sent(store, job.id, method, path, size_bytes)
    jobs.note(store, job.id, 1, 1)
