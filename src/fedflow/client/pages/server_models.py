"""The models and adapters that a federation's server has, and taking one into the library."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, Response, abort, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.connection import Connection
from fedflow.client.database.tables import Asset, Membership
from fedflow.client.pages import current, faults
from fedflow.client.services import fetching, library, memberships
from fedflow.client.services.fetching import FetchRequest
from fedflow.errors import FedFlowError
from fedflow.federation.protocol import ArtifactLine, VersionLine
from fedflow.web.states import State

blueprint = Blueprint("server_models", __name__)


@dataclass(frozen=True)
class Line:
    """A model or adapter with its versions, newest first, and what the library has of the newest."""

    artifact: ArtifactLine
    versions: tuple[VersionLine, ...]
    here: Asset | None


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
            adapters = [_line(connection, each, row) for each in connection.artifacts("adapters").items]
            models = [_line(connection, each, row) for each in connection.artifacts("models").items]
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


def _line(connection: Connection, artifact: ArtifactLine, row: Membership) -> Line:
    versions = connection.versions(artifact.id).items[::-1]
    return Line(artifact, versions, _in_library(row, versions[0]) if versions else None)


def _in_library(row: Membership, version: VersionLine) -> Asset | None:
    """What the library has of a version: what a run left here or was fetched, or a base model of the same content."""
    store = current.store()
    left = library.one(store, f"{row.id}-{version.run}") if version.run and _is_last(version) else None
    if left is not None:
        return left
    for each in library.listed(store):
        if version.content_hash is not None and each.base_hash == version.content_hash and each.kind == library.MODEL:
            return each
        if version.run is not None and (each.origin.get("run"), each.origin.get("round")) == (
            version.run,
            version.round,
        ):
            return each
    return None


def _is_last(version: VersionLine) -> bool:
    return version.round == version.facts.get("rounds")


def _row(membership_id: str) -> Membership:
    return memberships.one(current.store(), membership_id) or abort(404)
