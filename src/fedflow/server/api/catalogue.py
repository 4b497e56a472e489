"""What is said of models and adapters, what is taken out, and what is given out."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from flask import Response, request, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import Field

from fedflow.federation.protocol import API, ONE_LINE, SHOWN, Message, Seconds, Sha256
from fedflow.federation.provenance import key_id
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent, identifier
from fedflow.server.api.messages import Identifier
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.api.registry import ArtifactPath, VersionPath
from fedflow.server.database.tables import Release
from fedflow.server.services import catalogue, examples, releases
from fedflow.server.services.catalogue import Description, Visibility

blueprint = APIBlueprint(
    "catalogue",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="catalogue")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)

Words = Annotated[str, Field(min_length=1, max_length=80, json_schema_extra=ONE_LINE), SHOWN]


class DescriptionRequest(Message):
    """What is said of a model or adapter from now on."""

    visibility: Visibility = Field("federation", description="Who sees it: its owner, its federation, or everybody.")
    licence: Annotated[str, Field(max_length=80, description="An SPDX identifier such as CC-BY-4.0."), SHOWN] = ""
    card: str = Field("", max_length=50_000, description="The model card, in Markdown.")
    trigger_words: tuple[Words, ...] = Field((), max_length=20, description="Words of a prompt that call its style up.")


class Described(Message):
    """A model or adapter with what is said of it."""

    id: str
    federation_id: str
    kind: str
    name: str
    owner_id: str | None
    visibility: Visibility
    licence: str
    card: str
    trigger_words: tuple[str, ...]
    examples: tuple[str, ...] = Field(description="SHA-256 of the example pictures.")


class ExampleRequest(Message):
    """A picture of a gallery to show as an example."""

    picture: Sha256


class ExamplePath(Message):
    """Part of an address."""

    artifact_id: Identifier
    sha256: Sha256


class ReleaseRequest(Message):
    """A version to give out."""

    tag: str = Field(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    notes: str = Field("", max_length=10_000, description="What changed, in Markdown.")


class WithdrawalRequest(Message):
    """A release shall be used no more."""

    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=releases.LONGEST_REASON,
            json_schema_extra=ONE_LINE,
            description="Why, for those who have the files.",
        ),
        SHOWN,
    ]


class ReleasedFile(Message):
    """A file of a release."""

    name: str
    sha256: str
    size_bytes: int


class ReleaseLine(Message):
    """A release: its files by layout, who gave it out, and whether it was withdrawn."""

    id: str
    artifact_id: str
    version_id: str
    tag: str
    notes: str
    files: dict[str, ReleasedFile]
    released_by: str | None = Field(description="Their name; null where they have no account any more.")
    age_s: Seconds
    withdrawn: bool
    withdrawn_by: str | None = Field(description="Their name; null where it is not withdrawn, or by nobody known now.")
    withdrawal_reason: str | None = Field(
        description="Why it shall be used no more; null where it is not withdrawn, or nobody was asked at the time."
    )


class Releases(Message):
    """All releases of a model or adapter, newest first."""

    items: tuple[ReleaseLine, ...]


class VerifyingKey(Message):
    """What this server's provenance is verified with: 32 bytes of Ed25519 in base64, and the SHA-256 of them."""

    algorithm: str
    public_key: str
    key_id: str


class ReleasePath(Message):
    """Part of an address."""

    release_id: Identifier


class ReleasedFilePath(Message):
    """Part of an address."""

    release_id: Identifier
    layout: str = Field(max_length=40)


CONTENT = {"description": "The file.", "content": {"application/octet-stream": {}}}
PICTURE = {"description": "The picture.", "content": {"image/png": {}}}
ENVELOPE = {"description": "A DSSE envelope.", "content": {"application/json": {}}}


@blueprint.get("/artifacts/<artifact_id>", responses={200: Described})
def described(path: ArtifactPath) -> Response:
    """A model or adapter with what is said of it."""
    return _described(path.artifact_id)


@blueprint.put("/artifacts/<artifact_id>", responses={200: Described})
def describe(path: ArtifactPath, body: DescriptionRequest) -> Response:
    """Say something else of it, in the place of all that was said."""
    said = Description(body.visibility, body.licence, body.card, body.trigger_words)
    catalogue.describe(current.store(), current.caller(), path.artifact_id, said)
    return _described(path.artifact_id)


@blueprint.post("/artifacts/<artifact_id>/examples", responses={200: Described})
def add_example(path: ArtifactPath, body: ExampleRequest) -> Response:
    """Show a picture of one of the federation's galleries as an example."""
    examples.add_from_gallery(current.store(), current.caller(), path.artifact_id, body.picture)
    return _described(path.artifact_id)


@blueprint.put("/artifacts/<artifact_id>/examples", responses={200: Described})
def send_example(path: ArtifactPath) -> Response:
    """Show the PNG that is the request's content as an example; it is written anew, without what comes along."""
    request.max_content_length = examples.MOST_BYTES
    examples.add(current.store(), current.caller(), path.artifact_id, request.get_data())
    return _described(path.artifact_id)


@blueprint.get("/artifacts/<artifact_id>/examples/<sha256>", responses={200: PICTURE})
def example(path: ExamplePath) -> Response:
    """An example picture."""
    found = examples.file_of(current.store(), current.caller(), path.artifact_id, path.sha256)
    return send_file(found, "image/png", etag=path.sha256, conditional=True)


@blueprint.delete("/artifacts/<artifact_id>/examples/<sha256>", responses={204: None})
def remove_example(path: ExamplePath) -> Response:
    """Show an example no longer."""
    examples.remove(current.store(), current.caller(), path.artifact_id, path.sha256)
    return Response(status=204)


@blueprint.delete("/versions/<version_id>", responses={204: None})
def delete_version(path: VersionPath) -> Response:
    """Take a version out. Refused where another version, a run or a release depends on it."""
    catalogue.delete_version(current.store(), current.caller(), path.version_id)
    return Response(status=204)


@blueprint.get("/artifacts/<artifact_id>/releases", responses={200: Releases})
def released(path: ArtifactPath) -> Response:
    """Releases of a model or adapter, newest first."""
    return _lines(releases.listed(current.store(), current.caller(), path.artifact_id))


@blueprint.post("/versions/<version_id>/releases", responses={201: Releases})
@idempotent
def release(path: VersionPath, body: ReleaseRequest) -> Response:
    """Give a version out: its exported files with checksums, and provenance that this server signs."""
    store, caller = current.store(), current.caller()
    made = releases.release(store, caller, path.version_id, body.tag, body.notes, identifier())
    return _lines([releases.one(store, caller, made)], 201)


@blueprint.post("/releases/<release_id>/withdraw", responses={200: Releases})
def withdraw(path: ReleasePath, body: WithdrawalRequest) -> Response:
    """Say that a release shall be used no more, and why, once. Its line and its checksums stay."""
    store, caller = current.store(), current.caller()
    releases.withdraw(store, caller, path.release_id, body.reason)
    return _lines([releases.one(store, caller, path.release_id)])


@blueprint.get("/releases/<release_id>/provenance", responses={200: ENVELOPE})
def provenance(path: ReleasePath) -> Response:
    """Where the release's files come from, signed."""
    content = releases.envelope(current.store(), current.caller(), path.release_id)
    return Response(content, mimetype="application/json")


@blueprint.get("/releases/<release_id>/files/<layout>", responses={200: CONTENT, 206: CONTENT})
def released_file(path: ReleasedFilePath) -> Response:
    """A file of the release, under its name. Its ETag is its SHA-256."""
    found, name, sha256 = releases.file_of(current.store(), current.caller(), path.release_id, path.layout)
    return send_file(
        found, "application/octet-stream", as_attachment=True, download_name=name, etag=sha256, conditional=True
    )


@blueprint.get("/keys/releases", responses={200: VerifyingKey}, security=[])
def key() -> Response:
    """What this server's provenance is verified with."""
    public = releases.verifying_key(current.store())
    text = base64.b64encode(public).decode()
    return answer(VerifyingKey(algorithm="ed25519", public_key=text, key_id=key_id(public)))


def _described(artifact_id: str) -> Response:
    artifact = catalogue.one(current.store(), current.caller(), artifact_id)
    told: dict[str, Any] = {name: getattr(artifact, name) for name in Described.model_fields}
    return answer(Described.model_validate(told))


def _lines(found: Sequence[Release], status: int = 200) -> Response:
    names = releases.names(current.store(), found)
    return answer(Releases(items=tuple(_line(row, names) for row in found)), status)


def _line(release: Release, names: Mapping[str | None, str]) -> ReleaseLine:
    return ReleaseLine(
        id=release.id,
        artifact_id=release.artifact_id,
        version_id=release.version_id,
        tag=release.tag,
        notes=release.notes,
        files={layout: ReleasedFile.model_validate(each) for layout, each in release.files.items()},
        released_by=names.get(release.released_by),
        age_s=max(0.0, current.store().clock() - release.released_at),
        withdrawn=release.withdrawn_at is not None,
        withdrawn_by=names.get(release.withdrawn_by),
        withdrawal_reason=release.withdrawal_reason or None,
    )
