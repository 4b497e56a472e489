"""The models and adapters that a federation's server has, and taking one into the library."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, abort, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.connection import Connection
from fedflow.client.database.tables import Membership
from fedflow.client.pages import current, faults
from fedflow.client.services import fetching, memberships
from fedflow.client.services.fetching import FetchRequest
from fedflow.errors import FedFlowError
from fedflow.federation.protocol import ArtifactLine, VersionLine
from fedflow.web.states import State

blueprint = Blueprint("server_models", __name__)


@dataclass(frozen=True)
class Line:
    """A model or adapter with its newest version; None before it has one."""

    artifact: ArtifactLine
    newest: VersionLine | None


@blueprint.get("/federations/<membership_id>/models")
def page(membership_id: str) -> Response:
    """The page; what the server has comes into it when the server has answered."""
    return web.page("app/server_models.html", row=_row(membership_id))


@blueprint.get("/federations/<membership_id>/models/list")
def listed(membership_id: str) -> Response:
    """The part that asks the server."""
    row, adapters, models, reason = _row(membership_id), [], [], ""
    try:
        with memberships.connected(current.store(), row.id, patience_s=0.0) as connection:
            adapters = [_line(connection, each) for each in connection.artifacts("adapters").items]
            models = [_line(connection, each) for each in connection.artifacts("models").items]
    except FedFlowError as error:
        reason = faults.said(str(error))
    return web.page("app/server_models_list.html", row=row, adapters=adapters, models=models, reason=reason)


@blueprint.post("/federations/<membership_id>/models")
def fetches(membership_id: str) -> AnyResponse:
    """Have a version fetched into the library."""
    row = _row(membership_id)
    wanted = {name: request.form.get(name, "")[:200] for name in ("artifact", "version", "name")}
    if not all(wanted.values()):
        abort(400)
    fetching.ask(current.store(), FetchRequest(membership=row.id, **wanted))
    flash(gettext("It is being fetched; it will be in your library."), State.RUNNING)
    return redirect(url_for("pages.models.listed"), 303)


def _line(connection: Connection, artifact: ArtifactLine) -> Line:
    found = connection.versions(artifact.id).items
    return Line(artifact, found[-1] if found else None)


def _row(membership_id: str) -> Membership:
    return memberships.one(current.store(), membership_id) or abort(404)
