"""Join a federation with a code."""

from __future__ import annotations

from fedflow.client.connection import Connection
from fedflow.client.database.tables import Job
from fedflow.client.leaving import Leaving, TakeBack
from fedflow.client.services import jobs, memberships, sendings
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.main import RefusedError
from fedflow.errors import FedFlowError, MistakeError


def do(store: Store, settings: ClientSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Use the code up; done twice with the same key, it is the same request to the server.

    Raises RefusedError where the server refuses it, else FedFlowError, one line, where it does not answer.
    """
    request = memberships.request_of(job)
    home = memberships.home(store, job.id)
    sent: list[Leaving] = []

    def keep(leaving: Leaving) -> TakeBack:
        sent.append(leaving)
        return sent.pop

    try:
        with home.alone(), Connection(home, patience_s=memberships.JOIN_PATIENCE_S, sent=keep) as connection:
            device = home.device() or connection.join(
                request.server, request.code, request.device, request.shows_counts or None
            )
    except FedFlowError as error:
        for each in sent:
            sendings.note(store, None, each, request.server)
        if isinstance(error, MistakeError):
            raise RefusedError(str(error)) from error
        raise
    memberships.keep(store, job, device)
    for each in sent:  # the log is the membership's, which is there only now
        sendings.note(store, job.id, each)
    jobs.note(store, job.id, 1, 1)
