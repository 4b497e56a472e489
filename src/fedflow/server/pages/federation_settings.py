"""A federation's name, and its end: closed, opened again, or deleted where nothing depends on it."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.errors import Conflict, Unprocessable
from fedflow.server.pages.faults import beside, said
from fedflow.server.pages.federations import head
from fedflow.server.services import federation_changes
from fedflow.web.states import State

blueprint = Blueprint("federation_settings", __name__)


@blueprint.get("/federations/<federation_id>/settings")
def page(federation_id: str) -> Response:
    """A form with the name, and what may be done with all of it."""
    return _page(federation_id)


@blueprint.post("/federations/<federation_id>/settings")
def renames(federation_id: str) -> AnyResponse:
    """Call it otherwise."""
    name = " ".join(request.form.get("name", "").split())
    try:
        federation_changes.rename(current.store(), federation_id, name, current.caller())
    except (Unprocessable, Conflict) as error:
        return _page(federation_id, name, beside(error))
    flash(gettext("The federation is now called “%(name)s”.", name=name), State.DONE)
    return redirect(url_for("pages.federations.one", federation_id=federation_id), 303)


@blueprint.post("/federations/<federation_id>/settings/close")
def closes(federation_id: str) -> AnyResponse:
    """Let nothing new begin there."""
    try:
        federation_changes.close(current.store(), federation_id, closed=True, by=current.caller())
        flash(gettext("The federation is closed. Everything in it can still be read."), State.DONE)
    except Conflict as error:
        flash(said(str(error)), State.FAILED)
    return _back(federation_id)


@blueprint.post("/federations/<federation_id>/settings/open")
def opens(federation_id: str) -> AnyResponse:
    """Open it again."""
    federation_changes.close(current.store(), federation_id, closed=False, by=current.caller())
    flash(gettext("The federation is open again."), State.DONE)
    return _back(federation_id)


@blueprint.post("/federations/<federation_id>/settings/delete")
def deletes(federation_id: str) -> AnyResponse:
    """Take it away."""
    try:
        federation_changes.delete(current.store(), federation_id, current.caller())
    except Conflict as error:
        flash(said(str(error)), State.FAILED)
        return _back(federation_id)
    flash(gettext("The federation is deleted."), State.DONE)
    return redirect(url_for("pages.federations.listed"), 303)


def _back(federation_id: str) -> AnyResponse:
    return redirect(url_for("pages.federation_settings.page", federation_id=federation_id), 303)


def _page(federation_id: str, name: str | None = None, faults: dict[str, list[str]] | None = None) -> Response:
    shared = head(federation_id, "pages.federation_settings.page")
    return web.page(
        "pages/federation_settings.html",
        status=422 if faults else 200,
        **shared,
        name=shared["federation"] if name is None else name,
        faults=faults or {},
        may_be_deleted=federation_changes.may_be_deleted(current.store(), federation_id),
    )
