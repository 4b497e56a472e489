"""A server's models and adapters: taken into this machine's library by a job."""

from __future__ import annotations

from pydantic import Field

from fedflow.client.services import jobs
from fedflow.client.store import Store
from fedflow.plan import Settings

KIND = "fetch"


class FetchRequest(Settings):
    """A version of a model or adapter that a federation's server has."""

    membership: str
    artifact: str
    version: str
    name: str = Field(max_length=200)


def ask(store: Store, request: FetchRequest) -> str:
    """Have it fetched; gives the job's identifier, which is what it will have in the library."""
    with store.begin() as session:
        return jobs.add(session, KIND, request.name, request.model_dump(mode="json"), 1, store.clock()).id
