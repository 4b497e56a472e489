"""Releases: the list, a new one, and one with its files and how to verify them."""

from __future__ import annotations

import base64
import io

from flask import Blueprint, Response, flash, redirect, request, send_file, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.errors import ApiError, Conflict, Unprocessable
from fedflow.server.pages.faults import beside, said
from fedflow.server.pages.markdown import markdown
from fedflow.server.pages.versions import given_out
from fedflow.server.services import downloads, registry, releases, shelf
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.server.services.shelf import Given
from fedflow.web.states import State

blueprint = Blueprint("releases", __name__)

PAGE = 50
LONGEST_NOTES = 10_000


@blueprint.get("/releases")
def listed() -> Response:
    """All releases that the reader sees, newest first."""
    before = request.args.get("before", "")[:40]
    found = shelf.releases(current.store(), current.caller(), before, PAGE)
    return web.page(
        "pages/releases.html",
        found=found,
        names=releases.names(current.store(), [each.release for each in found]),
        newest=url_for("pages.releases.listed") if before else None,
        older=url_for("pages.releases.listed", before=found[-1].release.id) if len(found) == PAGE else None,
    )


@blueprint.get("/versions/<version_id>/release")
def form(version_id: str) -> Response:
    """A tag and what changed."""
    return _form(version_id, {"tag": "", "notes": "", "identifier": new_id()}, {}, 200)


@blueprint.post("/versions/<version_id>/release")
def makes(version_id: str) -> AnyResponse:
    """Give the version out, or say beside each field what is wrong."""
    values = {name: request.form.get(name, "") for name in ("tag", "notes", "identifier")}
    notes = values["notes"].replace("\r\n", "\n")
    if len(notes) > LONGEST_NOTES:
        sentence = gettext("Write at most %(most)s characters.", most=LONGEST_NOTES)
        return _form(version_id, values, {"notes": [sentence]}, 422)
    identifier = kept_id(values["identifier"])
    try:
        made = releases.release(current.store(), current.caller(), version_id, values["tag"].strip(), notes, identifier)
    except ApiError as error:
        return _form(version_id, values, beside(error, "tag"), 422)
    flash(gettext("The version is released."), State.DONE)
    return redirect(url_for("pages.releases.one", release_id=made), 303)


@blueprint.get("/releases/<release_id>")
def one(release_id: str) -> Response:
    """A release: its files with their checksums, where they come from, how to verify them."""
    return _one(release_id, "", {}, 200)


@blueprint.post("/releases/<release_id>/withdraw")
def withdraws(release_id: str) -> AnyResponse:
    """Say that it shall be used no more, and why."""
    reason = request.form.get("reason", "")
    try:
        releases.withdraw(current.store(), current.caller(), release_id, reason)
    except Unprocessable as error:
        return _one(release_id, reason, beside(error), 422)
    except Conflict as error:
        flash(said(str(error)), State.FAILED)
    else:
        flash(gettext("The release is withdrawn. Its page and its checksums stay."), State.DONE)
    return redirect(url_for("pages.releases.one", release_id=release_id), 303)


@blueprint.get("/releases/<release_id>/files/<layout>")
def content(release_id: str, layout: str) -> Response:
    """A file of the release, under its name."""
    path, name, sha256 = releases.file_of(current.store(), current.caller(), release_id, layout)
    return given_out(path, name, sha256)


@blueprint.get("/releases/<release_id>/provenance")
def provenance(release_id: str) -> Response:
    """Where the files come from, signed."""
    given = shelf.release(current.store(), current.caller(), release_id)
    content = releases.envelope(current.store(), current.caller(), release_id)
    file = io.BytesIO(content)
    answer = send_file(file, "application/json", as_attachment=True, download_name=_provenance_name(given))
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _one(release_id: str, reason: str, faults: dict[str, list[str]], status: int) -> Response:
    """The page; `reason` is what was typed why it shall be withdrawn, `faults` what is wrong with that."""
    store, caller = current.store(), current.caller()
    given = shelf.release(store, caller, release_id)
    return web.page(
        "pages/release.html",
        status=status,
        faults=faults,
        reason=reason,
        longest_reason=releases.LONGEST_REASON,
        given=given,
        release=given.release,
        names=releases.names(store, [given.release]),
        artifact=given.artifact,
        files=sorted(given.release.files.items()),
        notes=markdown(given.release.notes),
        provenance_name=_provenance_name(given),
        try_out_href=url_for("pages.tryouts.page", release_id=release_id),
        key=base64.b64encode(releases.verifying_key(store)).decode(),
        may_change=shelf.may_change(store, caller, given.artifact),
        may_download=shelf.may_download(store, caller, given.artifact),
    )


def _provenance_name(given: Given) -> str:
    return downloads.file_name(given.artifact, given.release.tag, "provenance").replace(".safetensors", ".json")


def _form(version_id: str, values: dict[str, str], faults: dict[str, list[str]], status: int) -> Response:
    version, artifact = registry.lineage(current.store(), current.caller(), version_id)[0]
    layouts = downloads.listed(current.store(), current.caller(), version_id)
    return web.page(
        "pages/new_release.html",
        status=status,
        version=version,
        artifact=artifact,
        files=[each for each in layouts if each.sha256],
        to_come=[each for each in layouts if each.state in ("waiting", "running")],
        values=values,
        faults=faults,
    )
