"""Whether the process is up, and whether it can work."""

from __future__ import annotations

import logging

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from sqlalchemy.exc import SQLAlchemyError

from fedflow.errors import MistakeError, StorageError, StoreAway
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.messages import Healthy, Ready
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.database import schema
from fedflow.server.errors import Unavailable

blueprint = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")], abp_responses=PROBLEMS)
log = logging.getLogger("fedflow.server")


@blueprint.get("/healthz", responses={200: Healthy})
def healthz() -> Response:
    """Whether the process is up."""
    return answer(Healthy())


@blueprint.get("/readyz", responses={200: Ready})
def readyz() -> Response:
    """Whether the database answers with the right schema and the store can be written."""
    store = current.store()
    try:
        schema.check(store.engine)
    except MistakeError as error:
        raise Unavailable(str(error)) from None
    except SQLAlchemyError as error:
        log.error("not ready: %s", error)
        raise Unavailable("the server's database does not answer; its log tells why") from None
    try:
        store.blobs.check()
    except StorageError as error:
        log.error("not ready: %s", error)
        raise Unavailable(_why_not(error)) from None
    return answer(Ready())


def _why_not(error: StorageError) -> str:
    """What anybody may know of it: no folder, no address."""
    if isinstance(error, StoreAway):
        return "the server's store does not answer; its log tells why"
    reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
    return f"the server's store cannot be written ({reason or 'its log tells why'})"
