"""Join a federation with a code."""

from __future__ import annotations

from fedflow.client.connection import Connection
from fedflow.client.database.tables import Job
from fedflow.client.leaving import Leaving, TakeBack
from fedflow.client.services import jobs, memberships, sendings
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import RefusedError
from fedflow.errors import MistakeError


def do(store: Store, settings: ClientSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Use the code up; done twice with the same key, it is the same request to the server.

    Raises RefusedError where the server refuses it, else FedFlowError, one line, where it does not answer.
    """
    request = memberships.request_of(job)
    home = memberships.home(store, job.id)
    sent: list[tuple[Leaving, TakeBack]] = []

    def note(leaving: Leaving) -> TakeBack:
        take_back = sendings.note(store, None, leaving, request.server)
        sent.append((leaving, take_back))

        def forget() -> None:
            sent.pop()
            take_back()

        return forget

    try:
        with home.alone(), Connection(home, patience_s=memberships.JOIN_PATIENCE_S, sent=note) as connection:
            device = home.device() or connection.join(
                request.server, request.code, request.device, request.shows_counts or None
            )
    except MistakeError as error:
        raise RefusedError(str(error)) from error
    memberships.keep(store, job, device)
    for leaving, _ in sent:  # the log is the membership's, which is there only now
        sendings.note(store, job.id, leaving)
    for _, take_back in reversed(sent):
        take_back()
    jobs.note(store, job.id, 1, 1)
