"""The first page: what waits for the reader, what runs, and their federations with the newest runs of each.

It is short however much there is: the gravest first, and a way to the rest.
"""

from __future__ import annotations

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.pages import places, run_words
from fedflow.server.services import audit_looks, federations, members
from fedflow.server.services import overview as service

blueprint = Blueprint("overview", __name__)

MOST_FEDERATIONS = 12
MOST_LINES = 5
MOST_UNDER_WAY = 5
FEW_FEDERATIONS = 3
"""So many may show several runs each."""
PAGE = 50


@blueprint.get("/")
def overview() -> Response:
    """What waits, and how it is going."""
    store, belongings, is_admin = current.store(), places.belongings(), current.caller().is_admin
    shown = belongings[:MOST_FEDERATIONS]
    identifiers = [each.federation_id for each in shown]
    summaries = members.summaries(store, identifiers)
    coordinated = _coordinated()
    others = {each.federation_id for each in belongings} - coordinated
    asked, refused = service.asked(store, belongings), service.refused(store, belongings)
    stalled = service.stalled_runs(store, [each.federation_id for each in belongings])
    stuck = service.stuck_runs(store, coordinated, most=MOST_LINES)
    others_stuck = service.stuck_runs(store, others, most=MOST_LINES)
    under_way = service.under_way(store, [each.federation_id for each in belongings], MOST_UNDER_WAY)
    above = [*stuck.shown, *others_stuck.shown, *(each.run for each in stalled)]
    above += [each.run for each in asked] + [each.run for each in refused] + [each.run for each in under_way.shown]
    most = service.RUNS_EACH if len(shown) <= FEW_FEDERATIONS else 1
    newest = service.newest_runs(store, identifiers, most, {run.id for run in above})
    with_runs = {run.federation_id for run in above} | newest.keys()
    return web.page(
        "pages/overview.html",
        asked=asked,
        refused=refused,
        lacking=service.without_machine(store, belongings),
        stalled=[each for each in stalled if each.run.federation_id in coordinated],
        stuck_ids={each.run.id for each in stalled},
        stuck=stuck,
        others_stuck=others_stuck,
        under_way=under_way,
        most=MOST_LINES,
        federations=[
            {
                "id": each.federation_id,
                "name": each.federation,
                "has_first_name": each.federation == federations.DEFAULT,
                "role": each.role,
                "closed": each.closed,
                "runs": newest.get(each.federation_id, []),
                "has_runs": each.federation_id in with_runs,
                "members": summaries[each.federation_id].members,
                "there": summaries[each.federation_id].there,
                "plans": each.federation_id in coordinated and not each.closed,
            }
            for each in shown
        ],
        more=len(belongings) - len(shown),
        is_admin=is_admin,
        audit_faults=(audit_looks.faults(store) or ()) if is_admin else (),
        run_words=run_words,
    )


@blueprint.get("/runs/stuck")
def stuck() -> AnyResponse:
    """All runs of the reader's federations that do not go on by themselves."""
    number = max(1, request.args.get("page", 1, type=int))
    first = (number - 1) * PAGE
    theirs = {each.federation_id for each in places.belongings()}
    found = service.stuck_runs(current.store(), theirs, first, PAGE)
    if number > 1 and not found.shown:  # there were more when the page before was made
        return redirect(url_for("pages.overview.stuck"), 303)
    return web.page(
        "pages/stuck.html",
        stalled=service.stalled_runs(current.store(), theirs) if number == 1 else [],
        runs=found.shown,
        total=found.total,
        first=first + 1,
        previous_href=url_for("pages.overview.stuck", page=number - 1) if number > 1 else None,
        next_href=url_for("pages.overview.stuck", page=number + 1) if number * PAGE < found.total else None,
        coordinated=_coordinated(),
        run_words=run_words,
    )


def _coordinated() -> set[str]:
    """The federations in which the reader may change runs."""
    return {each.federation_id for each in places.belongings("coordinator")}
