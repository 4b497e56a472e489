"""Trying a release out: a prompt and some settings, and the reader's own pictures while and after they are drawn.

Pages that show releases link here: `url_for("pages.tryouts.page", release_id=...)`, for everybody who sees the release.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, flash, redirect, request, send_file, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.database.tryouts import Tryout
from fedflow.server.errors import ApiError
from fedflow.server.pages import account, tryout_words
from fedflow.server.pages.faults import beside, said
from fedflow.server.services import processes, tryouts
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.server.services.tryout_request import TryoutRequest
from fedflow.server.services.tryout_source import Source
from fedflow.server.services.tryouts import View
from fedflow.web.forms import FormField, describe, texts
from fedflow.web.reading import Reading, last_values, read
from fedflow.web.states import State

blueprint = Blueprint("tryouts", __name__)

ON_A_PAGE = 12
IN_SIGHT = ("pictures", "strength")
FOLDED = ("negative_prompt", "seed", "steps", "guidance", "size_pixels")
LONG = ("prompt", "negative_prompt")
YEAR_S = 31_536_000


@blueprint.get("/account/pictures")
def own() -> Response:
    """The reader's own try-outs of all releases."""
    before = request.args.get("before", "")[:40]
    found = tryouts.own(current.store(), current.caller(), before=before, limit=ON_A_PAGE + 1)
    older = url_for("pages.tryouts.own", before=found[ON_A_PAGE - 1].line.tryout.id) if found[ON_A_PAGE:] else None
    return web.page(
        "pages/own_tryouts.html",
        tabs=account.tabs("pages.tryouts.own"),
        found=found[:ON_A_PAGE],
        older=older,
        is_first=not before,
        words=tryout_words,
        **_told(),
    )


@blueprint.get("/releases/<release_id>/try")
def page(release_id: str) -> Response:
    """The form and the reader's own try-outs of the release.

    `like` names one whose settings the form begins with, all but the seed where there is `new`.
    """
    view = _view(release_id)
    values: dict[str, str] = {}
    if like := request.args.get("like", "")[:40]:
        values = _settings_of(tryouts.one(current.store(), current.caller(), like).line.tryout)
        if "new" in request.args:
            del values["seed"]
    return _page(view, Reading(None, values), new_id())


@blueprint.post("/releases/<release_id>/try")
def asks(release_id: str) -> AnyResponse:
    """Have pictures drawn, or say beside each field what is wrong."""
    reading: Reading[TryoutRequest] = read(TryoutRequest, last_values(request.form))
    identifier = kept_id(request.form.get("identifier", ""))
    if reading.settings is None:
        return _page(_view(release_id), reading, identifier)
    try:
        store, settings, caller = current.store(), current.settings(), current.caller()
        made = tryouts.ask(store, settings, caller, release_id, reading.settings, identifier)
    except ApiError as error:
        if error.status == 404:
            raise
        return _page(_view(release_id), Reading(None, reading.values, beside(error)), identifier)
    new = "" if reading.settings.seed is None else None
    return redirect(url_for("pages.tryouts.page", release_id=release_id, like=made, new=new) + "#drawn", 303)


@blueprint.get("/tryouts/<tryout_id>")
def one(tryout_id: str) -> Response:
    """One try-out with its settings; the card alone where the list asks how far it is."""
    shown = tryouts.one(current.store(), current.caller(), tryout_id)
    return web.page(
        "pages/tryout.html",
        fragment="card",
        line=shown.line,
        rounds_first=shown.rounds_first,
        release=shown.release,
        artifact=shown.artifact,
        settings_text=tryout_words.as_text(shown.line.tryout),
        linked="linked" in request.args,
        of=f"{shown.artifact.name} {shown.release.tag}" if "own" in request.args else None,
        words=tryout_words,
        **_told(),
    )


@blueprint.post("/tryouts/<tryout_id>/cancel")
def cancels(tryout_id: str) -> AnyResponse:
    """Draw no more of it."""
    back = _back(tryout_id)
    try:
        tryouts.cancel(current.store(), current.caller(), tryout_id)
        flash(gettext("Cancelled. Pictures already drawn stay."), State.DONE)
    except ApiError as error:
        flash(said(str(error)), State.FAILED)
    return back


@blueprint.post("/tryouts/<tryout_id>/again")
def tries_again(tryout_id: str) -> AnyResponse:
    """Draw what one that failed or was cancelled lacks."""
    back = _back(tryout_id)
    try:
        tryouts.again(current.store(), current.settings(), current.caller(), tryout_id)
        flash(gettext("It is waiting to be drawn again."), State.DONE)
    except ApiError as error:
        flash(said(str(error)), State.FAILED)
    return back


@blueprint.post("/tryouts/<tryout_id>/delete")
def deletes(tryout_id: str) -> AnyResponse:
    """Take it out, prompt and pictures."""
    back = _back(tryout_id)
    tryouts.remove(current.store(), current.caller(), tryout_id)
    flash(gettext("The try-out is deleted."), State.DONE)
    return back


@blueprint.get("/tryouts/<tryout_id>/pictures/<int:number>")
def picture(tryout_id: str, number: int) -> Response:
    """A picture of a try-out of the reader's, counted from 1."""
    place, sha256 = tryouts.picture(current.store(), current.caller(), tryout_id, number)
    response = send_file(place, mimetype="image/png", conditional=True, etag=sha256, max_age=YEAR_S)
    response.cache_control.public = False
    response.cache_control.private = True
    return response


def _view(release_id: str) -> View:
    before = request.args.get("before", "")[:40]
    return tryouts.view(
        current.store(), current.settings(), current.caller(), release_id, before=before, limit=ON_A_PAGE + 1
    )


def _page(view: View, reading: Reading[TryoutRequest], identifier: str) -> Response:
    last = view.lines[ON_A_PAGE - 1].tryout.id if len(view.lines) > ON_A_PAGE else None
    older = None if last is None else url_for("pages.tryouts.page", release_id=view.release.id, before=last)
    return web.page(
        "pages/tryouts.html",
        status=422 if reading.faults else 200,
        view=view,
        release=view.release,
        artifact=view.artifact,
        rounds_first=view.rounds_first,
        impossible=said(view.impossible) if view.impossible else "",
        lines=view.lines[:ON_A_PAGE],
        older=older,
        is_first="before" not in request.args,
        fields=_fields(view.source),
        values=reading.values,
        faults=reading.faults,
        folded_is_open=bool(reading.faults.keys() & set(FOLDED)),
        in_sight=[name for name in IN_SIGHT if name != "strength" or view.source is None or view.source.adapter],
        folded=FOLDED,
        identifier=identifier,
        words=tryout_words,
        **_told(),
    )


def _told() -> dict[str, Any]:
    """What every part says of times and limits."""
    store, settings = current.store(), current.settings()
    return {
        "kept_s": settings.tryout_ttl_s,
        "most_a_day": settings.tryout_pictures_a_day,
        "moment": lambda seconds: datetime.fromtimestamp(seconds, UTC),
        "now": store.clock(),
        "nobody": not processes.are_there(store, "evaluation"),
    }


def _fields(source: Source | None) -> dict[str, FormField | dict[str, Any]]:
    """The form's fields by name, within the server's limits, and beginning with how the run's gallery was drawn."""
    settings = current.settings()
    caps = {
        "pictures": settings.tryout_pictures,
        "steps": settings.tryout_steps,
        "size_pixels": settings.tryout_size_pixels,
    }
    begin = {} if source is None else {"steps": source.steps, "guidance": source.guidance}
    found: dict[str, FormField | dict[str, Any]] = {}
    for each in describe(TryoutRequest)[0].fields:
        if begin.get(each.name) is not None:
            each = replace(each, default=f"{begin[each.name]:g}")  # noqa: PLW2901
        if each.name in caps:
            most = caps[each.name]
            each = replace(each, most=most, default=str(min(int(each.default), most)) if each.default else "")  # noqa: PLW2901
        found[each.name] = {**asdict(each), "kind": "area"} if each.name in LONG else each
    return found


def _settings_of(row: Tryout) -> dict[str, str]:
    """A try-out's settings as the form carries them."""
    return texts(
        TryoutRequest(
            prompt=row.prompt,
            negative_prompt=row.negative,
            pictures=row.count,
            strength=row.strength,
            steps=row.steps,
            guidance=row.guidance,
            seed=row.seed,
            size_pixels=row.size_pixels,
        )
    )


def _back(tryout_id: str) -> AnyResponse:
    """Where the reader came from: their pictures, or the release's page. Raises NotFound for another's try-out."""
    shown = tryouts.one(current.store(), current.caller(), tryout_id)
    if "own" in request.args:
        return redirect(url_for("pages.tryouts.own"), 303)
    return redirect(url_for("pages.tryouts.page", release_id=shown.release.id) + "#drawn", 303)
