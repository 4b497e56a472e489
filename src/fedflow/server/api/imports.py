"""Models and adapters brought in, and versions written as other tools open them."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Response, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import Field

from fedflow.federation.protocol import API, ONE_LINE, SHOWN, Message, Name, Seconds, Sha256
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent, identifier
from fedflow.server.api.messages import FederationPath, Identifier
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.api.registry import VersionPath
from fedflow.server.database.tables import Import
from fedflow.server.errors import Unprocessable
from fedflow.server.services import downloads, imports
from fedflow.server.services.downloads import State
from fedflow.server.services.imports import Phase, Source, Wanted

blueprint = APIBlueprint(
    "imports",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="imports")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)

Place = Annotated[str, Field(min_length=1, max_length=400, json_schema_extra=ONE_LINE), SHOWN]


class ImportRequest(Message):
    """What to bring in, and from where; of an upload which one, with its SHA-256."""

    kind: Literal["model", "adapter"]
    name: Name
    source: Literal["upload", "folder", "hub"]
    place: Place = Field(
        description="Of an upload what the file is called, of a folder the path inside the server's, of the hub "
        "OWNER/NAME."
    )
    base: Identifier | None = Field(
        None, description="The version of a model that an adapter belongs to, or whose settings a checkpoint takes."
    )
    upload_id: Identifier | None = None
    sha256: Sha256 | None = None


class ImportLine(Message):
    """An import: how far it is, why it failed, and which version came of it."""

    id: str
    federation_id: str
    kind: str
    name: str
    source: Source
    place: str
    base: str | None
    phase: Phase
    message: str
    version: str | None
    age_s: Seconds


class Imports(Message):
    """A page of imports, newest first; `next` is there where more may follow."""

    items: tuple[ImportLine, ...]
    next: str | None


class ImportPage(Message):
    """Which imports: at most `limit` that were asked for before `before`."""

    limit: int = Field(50, ge=1, le=200)
    before: str = Field("", max_length=40, description="What the page before gave as 'next'.")


class DownloadRequest(Message):
    """The layout to write: 'diffusers' or 'kohya' of an adapter, 'merged' or 'checkpoint' of a whole model."""

    layout: str = Field(min_length=1, max_length=40)


class DownloadLine(Message):
    """A layout of a version, and how far its file is."""

    layout: str
    state: State
    name: str
    sha256: str | None
    size_bytes: int | None
    message: str


class Downloads(Message):
    """All layouts of a version."""

    items: tuple[DownloadLine, ...]


class ImportPath(Message):
    """Part of an address."""

    import_id: Identifier


class VersionFilePath(Message):
    """Part of an address."""

    version_id: Identifier
    layout: str = Field(max_length=40)


CONTENT = {"description": "The file.", "content": {"application/octet-stream": {}}}


@blueprint.post("/federations/<federation_id>/imports", responses={201: ImportLine})
@idempotent
def ask(path: FederationPath, body: ImportRequest) -> Response:
    """Have a model or adapter brought in: from an upload, by a name on the hub, or from the server's own folder."""
    store, caller = current.store(), current.caller()
    wanted = Wanted(body.kind, body.name, body.source, body.place, body.base)
    if body.source == "upload":
        if body.upload_id is None or body.sha256 is None:
            raise Unprocessable("upload_id: say which upload, and its sha256")
        made = imports.hand_in(store, caller, path.federation_id, wanted, body.upload_id, body.sha256, identifier())
    else:
        made = imports.ask(store, caller, path.federation_id, wanted, current.allowed(), identifier())
    return answer(_line(imports.one(store, caller, made)), 201)


@blueprint.get("/federations/<federation_id>/imports", responses={200: Imports})
def listed(path: FederationPath, query: ImportPage) -> Response:
    """One's own imports; a coordinator sees all of the federation's."""
    found = imports.listed(current.store(), current.caller(), path.federation_id, query.before, query.limit)
    items = tuple(_line(row) for row in found)
    return answer(Imports(items=items, next=items[-1].id if len(items) == query.limit else None))


@blueprint.get("/imports/<import_id>", responses={200: ImportLine})
def one(path: ImportPath) -> Response:
    """How far an import is."""
    return answer(_line(imports.one(current.store(), current.caller(), path.import_id)))


@blueprint.post("/imports/<import_id>/retry", responses={200: ImportLine})
def retry(path: ImportPath) -> Response:
    """Try a failed import once more."""
    imports.try_again(current.store(), current.caller(), path.import_id)
    return answer(_line(imports.one(current.store(), current.caller(), path.import_id)))


@blueprint.get("/versions/<version_id>/downloads", responses={200: Downloads})
def layouts(path: VersionPath) -> Response:
    """The layouts that a version has, can be written in, or is being written in."""
    found = downloads.listed(current.store(), current.caller(), path.version_id)
    return answer(Downloads(items=tuple(DownloadLine.model_validate(each, from_attributes=True) for each in found)))


@blueprint.post("/versions/<version_id>/downloads", responses={200: DownloadLine})
def download(path: VersionPath, body: DownloadRequest) -> Response:
    """Have a version written in a layout. Asked twice, it is made once."""
    found = downloads.ask(current.store(), current.caller(), path.version_id, body.layout)
    return answer(DownloadLine.model_validate(found, from_attributes=True))


@blueprint.get("/versions/<version_id>/files/<layout>", responses={200: CONTENT, 206: CONTENT})
def content(path: VersionFilePath) -> Response:
    """A version's file in a layout, under its name. Its ETag is its SHA-256."""
    found, name, sha256 = downloads.file_of(current.store(), current.caller(), path.version_id, path.layout)
    return send_file(
        found, "application/octet-stream", as_attachment=True, download_name=name, etag=sha256, conditional=True
    )


def _line(row: Import) -> ImportLine:
    return ImportLine.model_validate(
        {
            "id": row.id,
            "federation_id": row.federation_id,
            "kind": row.kind,
            "name": row.name,
            "source": row.source,
            "place": row.place,
            "base": row.base_id,
            "phase": row.phase,
            "message": row.message,
            "version": row.version_id,
            "age_s": max(0.0, current.store().clock() - row.created_at),
        }
    )
