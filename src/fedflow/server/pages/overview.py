"""The first page: what waits for the reader, and their federations with the newest runs of each."""

from __future__ import annotations

from flask import Blueprint, Response

from fedflow import web
from fedflow.federation.rounds import Status
from fedflow.server.api import current
from fedflow.server.pages import browser, places
from fedflow.server.pages.words import STATUSES
from fedflow.server.services import overview as service
from fedflow.server.services import roles
from fedflow.web.states import State

blueprint = Blueprint("overview", __name__)

STATES = {
    Status.PREPARING: State.WAITING,
    Status.RUNNING: State.RUNNING,
    Status.PAUSED: State.WAITING,
    Status.FAILED: State.FAILED,
    Status.STOPPED: State.REFUSED,
    Status.DONE: State.DONE,
}


@blueprint.get("/")
def overview() -> Response:
    """What waits, and how it is going."""
    store, belongings = current.store(), places.belongings()
    identifiers = [each.federation_id for each in belongings]
    newest, members = service.newest_runs(store, identifiers), service.members_of(store, identifiers)
    return web.page(
        "pages/overview.html",
        asked=service.asked(store, belongings),
        stuck=service.stuck_runs(store, belongings),
        federations=[
            {
                "id": each.federation_id,
                "name": each.federation,
                "role": each.role,
                "runs": newest.get(each.federation_id, []),
                "members": members.get(each.federation_id, 0),
                "plans": roles.is_at_least(each.role, "coordinator"),
            }
            for each in belongings
        ],
        states=STATES,
        statuses=STATUSES,
        address=browser.address(),
    )
