"""Models and adapters of a federation, their versions, and where each comes from."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import Field

from fedflow.federation.protocol import API, ArtifactLine, Artifacts, Message, VersionLine, Versions
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent
from fedflow.server.api.messages import Identifier, Page
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.database.tables import Version
from fedflow.server.services import registry

blueprint = APIBlueprint(
    "registry",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="registry")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)


class Ancestor(Message):
    """A step of a lineage: the version, and the model or adapter that it is one of."""

    artifact: ArtifactLine
    version: VersionLine


class Lineage(Message):
    """A version, what it was trained from, and so on back to a base model."""

    items: tuple[Ancestor, ...]


class VersionPage(Message):
    """Which versions: at most `limit` with numbers above `after`."""

    limit: int = Field(50, ge=1, le=200)
    after: int = Field(0, ge=0, le=2**31)


class ArtifactPath(Message):
    """Part of an address."""

    artifact_id: Identifier


class VersionPath(Message):
    """Part of an address."""

    version_id: Identifier


@blueprint.get("/models", responses={200: Artifacts})
def models(query: Page) -> Response:
    """Base models that runs began with, and whole models that runs made; a device sees its federation's."""
    return _artifacts(registry.MODEL, query)


@blueprint.get("/adapters", responses={200: Artifacts})
def adapters(query: Page) -> Response:
    """Adapters that runs made; a device sees its federation's."""
    return _artifacts(registry.ADAPTER, query)


@blueprint.get("/artifacts/<artifact_id>/versions", responses={200: Versions})
def versions(path: ArtifactPath, query: VersionPage) -> Response:
    """Versions of a model or adapter, oldest first."""
    found = registry.versions(current.store(), current.caller(), path.artifact_id, query.after, query.limit)
    items = tuple(_version(version) for version in found)
    return answer(Versions(items=items, next=items[-1].number if len(items) == query.limit else None))


@blueprint.get("/versions/<version_id>/lineage", responses={200: Lineage})
def lineage(path: VersionPath) -> Response:
    """Where a version comes from: itself first, a base model last."""
    found = registry.lineage(current.store(), current.caller(), path.version_id)
    items = tuple(
        Ancestor(artifact=ArtifactLine.model_validate(artifact, from_attributes=True), version=_version(version))
        for version, artifact in found
    )
    return answer(Lineage(items=items))


@blueprint.post("/versions/<version_id>/export", responses={200: VersionLine})
@idempotent
def export(path: VersionPath) -> Response:
    """Have a version written as other tools open it; 'files' names what is there. Asked twice, it is made once."""
    return answer(_version(registry.ask_export(current.store(), current.caller(), path.version_id)))


def _artifacts(kind: str, query: Page) -> Response:
    found = registry.artifacts(current.store(), current.caller(), kind, query.after, query.limit)
    items = tuple(ArtifactLine.model_validate(artifact, from_attributes=True) for artifact in found)
    return answer(Artifacts(items=items, next=items[-1].id if len(items) == query.limit else None))


def _version(version: Version) -> VersionLine:
    return VersionLine(
        id=version.id,
        artifact_id=version.artifact_id,
        number=version.number,
        content=version.content,
        content_hash=version.content_hash,
        parent_id=version.parent_id,
        base_id=version.base_id,
        run=version.run_id,
        round=version.round,
        facts=version.facts,
        files=version.files,
        age_s=max(0.0, current.store().clock() - version.created_at),
    )
