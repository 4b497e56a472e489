"""Whether the process is up, and whether it can work."""

from __future__ import annotations

import logging
import tempfile

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from sqlalchemy.exc import SQLAlchemyError

from fedflow.errors import MistakeError
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
        with tempfile.TemporaryFile(dir=store.blobs.folder) as file:
            file.write(b"ready")
    except OSError as error:
        log.error("not ready: %s", error)
        raise Unavailable(f"the server's store cannot be written ({error.strerror})") from None
    return answer(Ready())
