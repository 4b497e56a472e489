"""Activity: everything that the worker does, has done and could not do, and what one does with it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.pages import current, faults, job_places
from fedflow.client.services import jobs
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.web.kit import is_own_path
from fedflow.web.states import State

blueprint = Blueprint("activity", __name__)

ON_A_PAGE = 30
POLL_S = 0.25
CALM_S = 0.5
"""Between two of the news that a page draws itself anew by; the last one is always told."""

STREAM_S = 60.0  # then the browser asks again, and the thread is free for a moment
QUIET_S = 2.0  # only by writing is a page missed that was left
RECONNECT_MS = 1000


@blueprint.get("/activity")
def page() -> Response:
    """The newest jobs."""
    before = request.args.get("before", "")[:40]
    found = jobs.listed(current.store(), ON_A_PAGE + 1, before)
    older = url_for("pages.activity.page", before=found[ON_A_PAGE - 1].id) if found[ON_A_PAGE:] else None
    return web.page(
        "app/activity.html",
        fragment="live",
        found=found[:ON_A_PAGE],
        places=job_places.places(current.store(), found[:ON_A_PAGE]),
        older=older,
        is_first=not before,
        now=current.store().clock(),
    )


@blueprint.get("/activity/stream")
def stream() -> Response:
    """Tells a page, as server-sent events, that something has changed since it was drawn."""
    since = request.args.get("since", 0.0, type=float)
    response = Response(_changes(current.store(), since), mimetype="text/event-stream")
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/activity/<job_id>/<what>")
def changes(job_id: str, what: str) -> AnyResponse:
    """Pause, stop or resume a job, or put it aside."""
    back = request.form.get("next", "")
    try:
        if what == "resume":
            jobs.resume(current.store(), job_id)
        elif what == "aside":
            jobs.put_aside(current.store(), job_id)
        elif what in (jobs.PAUSE, jobs.STOP):
            jobs.want(current.store(), job_id, what)
    except MistakeError as error:
        flash(gettext("Nothing was changed: %(reason)s.", reason=faults.reason(str(error))), State.FAILED)
    return redirect(back if is_own_path(back) else url_for("pages.activity.page"), 303)


def _changes(store: Store, seen: float) -> Iterator[str]:
    yield f"retry: {RECONNECT_MS}\n\n"
    ends, told_at = time.monotonic() + STREAM_S, time.monotonic()
    while time.monotonic() < ends:
        newest = jobs.news(store)
        if newest != seen:
            seen, told_at = newest, time.monotonic()
            yield "event: changed\ndata: \n\n"
            time.sleep(CALM_S - POLL_S)
        elif time.monotonic() - told_at >= QUIET_S:
            told_at = time.monotonic()
            yield ": nothing new\n\n"
        time.sleep(POLL_S)
