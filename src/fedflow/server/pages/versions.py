"""One version of a model or adapter: where it comes from, how it was made, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Blueprint, Response, flash, redirect, request, send_file, url_for
from flask_babel import gettext, ngettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.database.tables import Artifact, Version
from fedflow.server.errors import ApiError
from fedflow.server.pages import places, plan_words
from fedflow.server.pages.faults import said
from fedflow.server.pages.lineage import KEPT, MOST_BEFORE, Step, drawing, folded
from fedflow.server.pages.words import SOURCES
from fedflow.server.services import catalogue, downloads, registry, shelf
from fedflow.web import amounts
from fedflow.web.states import State

blueprint = Blueprint("versions", __name__)

PENDING = ("waiting", "running")
MOST_RELEASES = 10


@blueprint.get("/versions/<version_id>")
def one(version_id: str) -> Response:
    """A version; of a page that asks anew, what has changed of its files."""
    store, caller = current.store(), current.caller()
    version, artifact = shelf.version(store, caller, version_id)
    files = downloads.listed(store, caller, version_id)
    shared: dict[str, Any] = {
        "version_id": version_id,
        "files": files,
        "pending": any(each.state in PENDING for each in files),
        "may_download": shelf.may_download(store, caller, artifact),
        "may_prepare": shelf.may_prepare(store, caller, artifact),
    }
    if request.headers.get("HX-Request") and request.args.get("part") == "files":
        return web.page("pages/version.html", fragment="files", **shared)
    line, before = registry.lineage_ends(store, caller, version_id, MOST_BEFORE)
    after = shelf.made_from(store, caller, version_id)
    return web.page(
        "pages/version.html",
        **shared,
        version=(version := line[0][0]),
        artifact=artifact,
        inside=places.is_in(artifact.federation_id),
        steps=(steps := _steps(line, before, after)),
        drawing=drawing(steps),
        facts=_facts(version),
        members=sorted(version.facts.get("members", {}).items()),
        others=version.facts.get("other_members", 0),
        releases=shelf.releases(store, caller, limit=MOST_RELEASES, version_id=version_id),
        may_change=shelf.may_change(store, caller, artifact),
        can_release=bool(version.files),
    )


@blueprint.post("/versions/<version_id>/files/<layout>")
def asks(version_id: str, layout: str) -> AnyResponse:
    """Have a worker write it in that layout."""
    try:
        downloads.ask(current.store(), current.caller(), version_id, layout)
    except ApiError as error:
        flash(said(str(error)), State.FAILED)
    return redirect(url_for("pages.versions.one", version_id=version_id, _anchor="files"), 303)


@blueprint.get("/versions/<version_id>/files/<layout>")
def content(version_id: str, layout: str) -> Response:
    """The file, under its name."""
    path, name, sha256 = downloads.file_of(current.store(), current.caller(), version_id, layout)
    return given_out(path, name, sha256)


@blueprint.post("/versions/<version_id>/delete")
def deletes(version_id: str) -> AnyResponse:
    """Take it out, or say what depends on it; then to the others of the same name where there are some."""
    store, caller = current.store(), current.caller()
    version, artifact = shelf.version(store, caller, version_id)
    try:
        others_left = catalogue.delete_version(store, caller, version_id)
    except ApiError as error:
        flash(said(str(error)), State.REFUSED)
        return redirect(url_for("pages.versions.one", version_id=version_id), 303)
    told = gettext("Version %(number)s of “%(name)s” is deleted.", number=version.number, name=artifact.name)
    flash(told, State.DONE)
    if others_left:
        return redirect(url_for("pages.models.one", artifact_id=artifact.id), 303)
    return redirect(url_for("pages.models.listed"), 303)


def given_out(path: Path, name: str, sha256: str) -> Response:
    """A file to be kept by who asks for it, and by no cache on the way."""
    answer = send_file(
        path, "application/octet-stream", as_attachment=True, download_name=name, etag=sha256, conditional=True
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


def name_of(version: Version, artifact: Artifact) -> str:
    """A version in a line."""
    numbered = gettext("version %(number)s", number=version.number)
    return f"{artifact.name} · {numbered}"


def _steps(line: list[tuple[Version, Artifact]], length: int, after: list[tuple[Version, Artifact]]) -> list[Step]:
    """The base model first, the version, and what was made from it; `length` are before it, more than the line has."""

    def step(version: Version, artifact: Artifact, role: Any) -> Step:
        href = None if role == "here" else url_for("pages.versions.one", version_id=version.id)
        return Step(name_of(version, artifact), _how(version, artifact), href, role)

    before = [step(version, artifact, "before") for version, artifact in reversed(line[1:])]
    words = ngettext("%(num)s version between", "%(num)s versions between", max(length - KEPT, 1))
    made = [step(version, artifact, "after") for version, artifact in after[: shelf.MOST_CHILDREN]]
    others = [Step(gettext("and others"), "", None, "folded")] if len(after) > len(made) else []
    return [*folded(before, words), step(*line[0], "here"), *made, *others]


def _how(version: Version, artifact: Artifact) -> str:
    if version.round is not None:
        members = len(version.facts.get("members", {})) + version.facts.get("other_members", 0)
        told = ngettext("%(num)s member", "%(num)s members", members)
        return str(gettext("Round %(number)s · %(members)s", number=version.round, members=told))
    return str(gettext("Base model") if artifact.kind == registry.MODEL else gettext("Imported"))


def _facts(version: Version) -> list[tuple[str, str]]:
    """How it was made, as far as the server knows."""
    told, facts = [], version.facts
    if version.round is not None:
        told.append((gettext("Round"), gettext("%(number)s of %(all)s", number=version.round, all=facts.get("rounds"))))
    words = {
        "method": gettext("Method"),
        "weighting": gettext("Weighting"),
        "rank": gettext("Rank"),
        "alpha": gettext("Alpha"),
        "trigger": gettext("Trigger word"),
        "from": gettext("From"),
        "format": gettext("Format"),
        "family": gettext("Family"),
    }
    told += [(word, _plain(key, facts[key])) for key, word in words.items() if facts.get(key) not in (None, "")]
    return told


def _plain(key: str, value: object) -> str:
    if key == "from":
        return str(SOURCES.get(str(value), value))
    if isinstance(value, float):
        return amounts.decimal(value, "#,##0.##########")
    return plan_words.choice(key, str(value))
