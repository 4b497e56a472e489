"""Models and adapters: the list, one with its versions, and what is said of it."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.database.tables import Artifact
from fedflow.server.errors import ApiError
from fedflow.server.pages import places, plan_words
from fedflow.server.pages.faults import beside
from fedflow.server.pages.markdown import markdown
from fedflow.server.pages.words import VISIBILITIES
from fedflow.server.services import catalogue, shelf
from fedflow.server.services.catalogue import Description, Visibility
from fedflow.server.services.shelf import Wanted
from fedflow.web import meanwhile
from fedflow.web.states import State

blueprint = Blueprint("models", __name__)

PAGE = 50
KINDS = ("model", "adapter")
SEEN_BY: tuple[Visibility, ...] = get_args(Visibility)
MOST_WORDS = 20
LONGEST_WORD, LONGEST_LICENCE, LONGEST_CARD = 80, 80, 50_000


@blueprint.get("/models")
def listed() -> Response:
    """All that the reader sees, newest first; by name, kind, federation and who sees it."""
    asked = request.args
    mine = places.belongings()
    wanted = Wanted(
        kind=asked.get("kind", "") if asked.get("kind") in KINDS else "",
        federation_id=asked.get("federation", "")[:40],
        text=asked.get("name", "").strip()[:80],
        visibility=asked.get("seen", "") if asked.get("seen") in SEEN_BY else "",
    )
    found = shelf.artifacts(current.store(), current.caller(), wanted, asked.get("before", "")[:40], PAGE)
    older = None
    if len(found) == PAGE:
        older = _list_at(wanted, found[-1].artifact.id)
    imports_to = [each for each in mine if each.role != "viewer"]
    return web.page(
        "pages/models.html",
        found=found,
        wanted=wanted,
        federations=[(each.federation_id, each.federation) for each in mine],
        newest=_list_at(wanted, None) if asked.get("before") else None,
        older=older,
        imports_to=imports_to[0].federation_id if imports_to else None,
    )


@blueprint.get("/models/<artifact_id>")
def one(artifact_id: str) -> Response:
    """A model or adapter: what is said of it, its versions and its releases."""
    store, caller = current.store(), current.caller()
    artifact, federation = shelf.one(store, caller, artifact_id)
    below = request.args.get("below", 0, type=int)
    versions = shelf.versions(store, caller, artifact_id, max(0, min(below, 2**31)), PAGE)
    older = None
    if len(versions) == PAGE and versions[-1].number > 1:
        older = url_for("pages.models.one", artifact_id=artifact_id, below=versions[-1].number)
    return web.page(
        "pages/model.html",
        artifact=artifact,
        federation=federation,
        owner=shelf.owner(store, artifact),
        inside=places.is_in(artifact.federation_id),
        card=markdown(artifact.card),
        versions=versions,
        method=partial(plan_words.choice, "method"),
        older=older,
        releases=shelf.releases(store, caller, limit=10, artifact_id=artifact_id),
        may_change=shelf.may_change(store, caller, artifact),
    )


@blueprint.get("/models/<artifact_id>/description")
def form(artifact_id: str) -> Response:
    """What is said of it, to be changed."""
    artifact, _ = shelf.one(current.store(), current.caller(), artifact_id)
    return _form(artifact, _said_of(artifact), {})


@blueprint.post("/models/<artifact_id>/description")
def describes(artifact_id: str) -> AnyResponse:
    """Say it, or say beside each field what is wrong."""
    store, caller = current.store(), current.caller()
    artifact, _ = shelf.one(store, caller, artifact_id)
    merged = meanwhile.merge(_said_of(artifact), request.form)
    values = merged.values
    words = tuple(word for each in values["trigger_words"].split(",") if (word := " ".join(each.split())))
    faults = {**meanwhile.faults(merged, {"visibility": VISIBILITIES}), **_faults(values, words)}
    visibility: Visibility = next((each for each in SEEN_BY if each == values["visibility"]), "federation")
    said = Description(visibility, " ".join(values["licence"].split()), values["card"], words)
    if not faults:
        try:
            catalogue.describe(store, caller, artifact_id, said)
            flash(gettext("The description is saved."), State.DONE)
            return redirect(url_for("pages.models.one", artifact_id=artifact_id), 303)
        except ApiError as error:
            faults = beside(error)
    return _form(artifact, values, faults, status=409 if merged.overtaken else 422)


@blueprint.post("/models/<artifact_id>/description/preview")
def preview(artifact_id: str) -> Response:  # noqa: ARG001 - the right is looked at by it
    """The card as it will be read."""
    return Response(markdown(request.form.get("card", "")[:LONGEST_CARD]), mimetype="text/html")


def _said_of(artifact: Artifact) -> dict[str, str]:
    """What is said of it by now, as the form carries it."""
    return {
        "visibility": artifact.visibility,
        "licence": artifact.licence,
        "card": artifact.card,
        "trigger_words": ", ".join(artifact.trigger_words),
    }


def _form(artifact: Artifact, values: dict[str, str], faults: dict[str, list[str]], status: int = 200) -> Response:
    return web.page(
        "pages/describe.html",
        status=status,
        artifact=artifact,
        mark=meanwhile.mark(_said_of(artifact)),
        values=values,
        faults=faults,
        card=markdown(values["card"][:LONGEST_CARD]),
    )


def _list_at(wanted: Wanted, before: str | None) -> str:
    """The list with the same filters, from another place on."""
    filters = {"name": wanted.text, "kind": wanted.kind, "federation": wanted.federation_id}
    filters |= {"seen": wanted.visibility, "before": before or ""}
    asked: dict[str, Any] = {key: value for key, value in filters.items() if value}
    return url_for("pages.models.listed", **asked)


def _faults(values: dict[str, str], words: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if values["visibility"] not in SEEN_BY:
        found["visibility"] = [gettext("Choose one from the list.")]
    if len(values["licence"]) > LONGEST_LICENCE:
        found["licence"] = [gettext("Write at most %(most)s characters.", most=LONGEST_LICENCE)]
    if len(values["card"]) > LONGEST_CARD:
        found["card"] = [gettext("Write at most %(most)s characters.", most=LONGEST_CARD)]
    if len(words) > MOST_WORDS or any(len(word) > LONGEST_WORD for word in words):
        found["trigger_words"] = [
            gettext(
                "Write at most %(words)s words of up to %(most)s characters each.", words=MOST_WORDS, most=LONGEST_WORD
            )
        ]
    return found
