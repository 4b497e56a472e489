"""The first page: what waits for the reader, what runs, and their federations with the newest runs of each."""

from __future__ import annotations

from flask import Blueprint, Response

from fedflow import web
from fedflow.server.api import current
from fedflow.server.pages import places, run_words
from fedflow.server.services import members, roles
from fedflow.server.services import overview as service

blueprint = Blueprint("overview", __name__)

MOST_FEDERATIONS = 12


@blueprint.get("/")
def overview() -> Response:
    """What waits, and how it is going."""
    store, belongings = current.store(), places.belongings()
    shown = belongings[:MOST_FEDERATIONS]
    identifiers = [each.federation_id for each in shown]
    newest, summaries = service.newest_runs(store, identifiers), members.summaries(store, identifiers)
    coordinated = {each.federation_id for each in belongings if roles.is_at_least(each.role, "coordinator")}
    stuck = service.stuck_runs(store, belongings)
    return web.page(
        "pages/overview.html",
        asked=service.asked(store, belongings),
        refused=service.refused(store, belongings),
        lacking=service.without_machine(store, belongings),
        stuck=[run for run in stuck if run.federation_id in coordinated],
        others_stuck=[run for run in stuck if run.federation_id not in coordinated],
        under_way=service.under_way(store, [each.federation_id for each in belongings]),
        federations=[
            {
                "id": each.federation_id,
                "name": each.federation,
                "role": each.role,
                "runs": newest.get(each.federation_id, []),
                "members": summaries[each.federation_id].members,
                "there": summaries[each.federation_id].there,
                "plans": each.federation_id in coordinated,
            }
            for each in shown
        ],
        more=len(belongings) - len(shown),
        is_admin=current.caller().is_admin,
        run_words=run_words,
    )
