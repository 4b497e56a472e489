"""What pictures of a release are drawn with: its base model's files, and the adapter or weights that it gave out."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fedflow.server.database.tables import Artifact, Release, Run, Version
from fedflow.server.errors import Conflict
from fedflow.server.services import registry
from fedflow.server.services.run_rows import plan_of

SAMPLER = "unipc"


@dataclass(frozen=True)
class Source:
    """Base model, by the blob that lists its files, and the released adapter or the UNet's released weights, if any.

    `sampler`, `steps` and `guidance` are those that the run's own gallery was drawn with.
    """

    base: str
    base_name: str
    base_hash: str
    adapter: str | None
    weights: str | None
    sampler: str
    steps: int | None
    guidance: float | None


def source(session: Session, release: Release, artifact: Artifact) -> Source:
    """What the release's files say. Raises Conflict where nothing can be drawn with them, or it was withdrawn."""
    if release.withdrawn_at is not None:
        raise Conflict(f"release '{release.tag}' was withdrawn; try a newer one")
    version = session.get_one(Version, release.version_id)
    base = version
    if version.content_hash is None:
        if version.base_id is None:
            raise Conflict(f"release '{release.tag}' names no base model that it could be drawn with")
        base = session.get_one(Version, version.base_id)
    given_out = {layout: str(each["sha256"]) for layout, each in release.files.items()}
    adapter = weights = None
    if base is not version and artifact.kind == registry.MODEL:
        weights = given_out.get("unet")
    elif base is not version:
        adapter = given_out.get("diffusers", given_out.get("kohya"))
    if base is not version and adapter is None and weights is None:
        raise Conflict(f"release '{release.tag}' gave out no file that pictures can be drawn with")
    run = None if version.run_id is None else session.get(Run, version.run_id)
    drawn = None if run is None else plan_of(run).evaluation
    return Source(
        base=base.content,
        base_name=session.get_one(Artifact, base.artifact_id).name,
        base_hash=base.content_hash or "",
        adapter=adapter,
        weights=weights,
        sampler=SAMPLER if drawn is None else drawn.sampler,
        steps=None if drawn is None else drawn.sampler_steps,
        guidance=None if drawn is None else drawn.guidance,
    )
