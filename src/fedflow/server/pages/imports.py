"""Models and adapters brought in: a form, the file in pieces, and how far each import is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flask import Blueprint, Response, jsonify, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.api.rights import PIECE_BYTES
from fedflow.server.api.uploads import incoming_body
from fedflow.server.errors import ApiError, Unprocessable
from fedflow.server.pages.faults import beside, is_in_the_file
from fedflow.server.pages.federations import head
from fedflow.server.services import imports, shelf, uploads
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.server.services.imports import UNDER_WAY, Wanted

blueprint = Blueprint("imports", __name__)

PAGE = 50
MOST_BASES = 100


@dataclass(frozen=True)
class Form:
    """What was entered."""

    kind: str = "adapter"
    name: str = ""
    source: str = "upload"
    place: str = ""
    base: str = ""
    upload: str = ""
    identifier: str = ""


@blueprint.get("/federations/<federation_id>/imports")
def listed(federation_id: str) -> Response:
    """Imports of the reader, or of all for a coordinator; asked anew while some are under way."""
    before = request.args.get("before", "")[:40]
    found = imports.listed(current.store(), current.caller(), federation_id, before, PAGE)
    return web.page(
        "pages/imports.html",
        fragment="table_of_imports" if request.headers.get("HX-Request") and request.args.get("part") else None,
        **head(federation_id, "pages.imports.listed"),
        found=found,
        damaged={row.id for row in found if row.source == "upload" and is_in_the_file(row.message)},
        pending=any(row.phase in UNDER_WAY for row in found),
        newest=url_for("pages.imports.listed", federation_id=federation_id) if before else None,
        older=url_for("pages.imports.listed", federation_id=federation_id, before=found[-1].id)
        if len(found) == PAGE
        else None,
    )


@blueprint.get("/federations/<federation_id>/imports/new")
def form(federation_id: str) -> Response:
    """What to bring in, and from where."""
    return _form(federation_id, Form(identifier=new_id()), {}, 200)


@blueprint.post("/federations/<federation_id>/imports/new")
def asks(federation_id: str) -> AnyResponse:
    """Have it brought in, or say beside each field what is wrong."""
    store, caller, settings, sent = current.store(), current.caller(), current.settings(), request.form
    entered = Form(**{name: sent.get(name, "").strip()[:400] for name in Form.__dataclass_fields__})
    identifier = kept_id(entered.identifier)
    kind: Literal["model", "adapter"] = "model" if entered.kind == "model" else "adapter"
    base = entered.base or None
    try:
        if entered.source in ("hub", "folder"):
            wanted = Wanted(kind, entered.name, "hub" if entered.source == "hub" else "folder", entered.place, base)
            imports.ask(store, caller, federation_id, wanted, current.allowed(), identifier)
        else:
            if not entered.upload:
                return _form(federation_id, entered, {**_faults(entered), "file": [gettext("Choose a file.")]}, 422)
            progress = uploads.progress(store, caller, entered.upload, settings.upload_ttl_s)
            wanted = Wanted(kind, entered.name, "upload", entered.place or entered.name, base)
            imports.hand_in(store, caller, federation_id, wanted, progress.id, progress.sha256 or "", identifier)
    except ApiError as error:
        return _form(federation_id, entered, beside(error), 422)
    return redirect(url_for("pages.imports.listed", federation_id=federation_id), 303)


@blueprint.post("/federations/<federation_id>/imports/<import_id>/again")
def again(federation_id: str, import_id: str) -> AnyResponse:
    """Try a failed one once more."""
    imports.try_again(current.store(), current.caller(), import_id)
    return redirect(url_for("pages.imports.listed", federation_id=federation_id), 303)


@blueprint.post("/federations/<federation_id>/imports/files")
def begins(federation_id: str) -> Response:  # noqa: ARG001 - the right is looked at by it
    """A new upload of so many bytes; the script of the page sends its pieces."""
    settings = current.settings()
    length = request.form.get("length", -1, type=int)
    if length < 1:
        raise Unprocessable("file: the file is empty; choose another")
    store, caller = current.store(), current.caller()
    return _told(uploads.create(store, caller, length, "", settings.max_import_bytes, settings.upload_ttl_s))


@blueprint.get("/federations/<federation_id>/imports/files/<upload_id>")
def progress(federation_id: str, upload_id: str) -> Response:  # noqa: ARG001 - the right is looked at by it
    """How far an upload is: from there it goes on after a cut."""
    return _told(uploads.progress(current.store(), current.caller(), upload_id, current.settings().upload_ttl_s))


@blueprint.post("/federations/<federation_id>/imports/files/<upload_id>")
def appends(federation_id: str, upload_id: str) -> Response:  # noqa: ARG001 - the right is looked at by it
    """A piece of the file, which begins at `offset`."""
    store, caller, ttl_s = current.store(), current.caller(), current.settings().upload_ttl_s
    with incoming_body() as body:
        told = uploads.append(store, caller, upload_id, request.args.get("offset", 0, type=int), body, None, ttl_s)
    return _told(told)


def _told(told: uploads.Progress) -> Response:
    answer = jsonify(upload=told.id, offset=told.offset_bytes, length=told.length_bytes)
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _faults(entered: Form) -> dict[str, list[str]]:
    """What is wrong with the name, by its field."""
    try:
        imports.check_name(entered.name)
    except ApiError as error:
        return beside(error)
    return {}


def _form(federation_id: str, entered: Form, faults: dict[str, list[str]], status: int) -> Response:
    settings, store, caller = current.settings(), current.store(), current.caller()
    shared = head(federation_id, "pages.imports.listed")
    sources = [("upload", gettext("A file from this computer"))]
    if settings.hub_imports and shared["coordinates"]:
        sources.append(("hub", gettext("The model hub, by name")))
    if settings.imports is not None and caller.is_admin:
        sources.append(("folder", gettext("The server's import folder")))
    return web.page(
        "pages/new_import.html",
        status=status,
        **shared,
        entered=entered,
        faults=faults,
        sources=sources,
        bases=[
            (version, " · ".join((name, gettext("version %(number)s", number=number))))
            for version, name, number in shelf.bases(store, caller, federation_id, MOST_BASES)
        ],
        most_bytes=settings.max_import_bytes,
        piece_bytes=PIECE_BYTES,
        files_href=url_for("pages.imports.begins", federation_id=federation_id),
    )
