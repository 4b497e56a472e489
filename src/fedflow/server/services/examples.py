"""Example pictures of a model or adapter: chosen from its federation's galleries, or sent as PNG.

Every picture is decoded and written anew, so that nothing comes along with it: no prompt, no place, no file in a file.
"""

from __future__ import annotations

import io
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.server.database.tables import Artifact, Run, Score
from fedflow.server.errors import Conflict, NotFound, TooLarge, Unprocessable
from fedflow.server.services import audit, catalogue, files
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

MOST = 12
MOST_BYTES = 8_000_000
MOST_PIXELS = 4_194_304
"""Of one picture: 2048 x 2048."""


def add(store: Store, caller: Caller, artifact_id: str, content: bytes) -> str:
    """Put a PNG up as an example; returns the SHA-256 of what is kept.

    Raises NotFound, Forbidden; TooLarge, Unprocessable for what is no such picture; Conflict where there are MOST.
    """
    _check_may(store, caller, artifact_id)  # before anything of it is decoded
    return _put_up(store, caller, artifact_id, _anew(content))


def add_from_gallery(store: Store, caller: Caller, artifact_id: str, sha256: str) -> str:
    """Put a picture of a gallery of the artifact's federation up as an example. Raises as `add`."""
    artifact = _check_may(store, caller, artifact_id)
    query = select(Score.gallery).join(Run, Run.id == Score.run_id).where(Run.federation_id == artifact.federation_id)
    with store.read() as session:
        if not any(sha256 in gallery for gallery in session.scalars(query)):
            raise NotFound(f"there is no picture {sha256} in a gallery of this federation")
    return _put_up(store, caller, artifact_id, _anew(store.blobs.get(sha256).read_bytes()))


def remove(store: Store, caller: Caller, artifact_id: str, sha256: str) -> None:
    """Take an example down. Raises NotFound, Forbidden."""
    with store.begin() as session:
        artifact = _changed(session, caller, artifact_id)
        if sha256 not in artifact.examples:
            raise NotFound(f"'{artifact.name}' has no example {sha256}")
        artifact.examples = [each for each in artifact.examples if each != sha256]
        session.flush()
        told = {"name": artifact.name, "picture": sha256}
        about = artifact.kind, artifact.id, artifact.federation_id
        audit.record(session, store, caller, "example taken down", *about, **told)


def file_of(store: Store, caller: Caller, artifact_id: str, sha256: str) -> Path:
    """The PNG of an example, for everybody who sees the artifact. Raises NotFound."""
    artifact = catalogue.one(store, caller, artifact_id)
    if sha256 not in artifact.examples:
        raise NotFound(f"'{artifact.name}' has no example {sha256}")
    return store.file(sha256)


def _check_may(store: Store, caller: Caller, artifact_id: str) -> Artifact:
    with store.read() as session:
        return _changed(session, caller, artifact_id)


def _changed(session: Session, caller: Caller, artifact_id: str) -> Artifact:
    artifact = catalogue.seen(session, caller, artifact_id)
    catalogue.check(session, caller, artifact, "coordinator")
    return artifact


def _put_up(store: Store, caller: Caller, artifact_id: str, picture: bytes) -> str:
    sha256 = store.blobs.put(picture)
    with store.begin() as session:
        artifact = _changed(session, caller, artifact_id)
        session.refresh(artifact, with_for_update=True)  # two at once
        if sha256 in artifact.examples:
            return sha256
        if len(artifact.examples) >= MOST:
            raise Conflict(f"'{artifact.name}' has {MOST} examples, which is all there may be; take one down first")
        files.record(session, store, sha256, "picture")
        artifact.examples = [*artifact.examples, sha256]
        session.flush()
        told = {"name": artifact.name, "picture": sha256}
        about = artifact.kind, artifact.id, artifact.federation_id
        audit.record(session, store, caller, "example put up", *about, **told)
        return sha256


def _anew(content: bytes) -> bytes:
    """The picture alone, as PNG in RGB. Raises TooLarge, Unprocessable before anything large is decoded."""
    from PIL import Image  # noqa: PLC0415 - the web process starts without it

    if len(content) > MOST_BYTES:
        raise TooLarge(f"the picture has {len(content)} bytes, {MOST_BYTES} are allowed; scale it down")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise TooLarge(f"the picture has {image.width}x{image.height} pixels; scale it to 2048x2048 at most")
            plain = Image.new("RGB", image.size, "white")
            layer = image.convert("RGBA")
            plain.paste(layer, mask=layer)
    except TooLarge:
        raise
    except Exception as error:  # a decoder fails on damaged bytes in any way
        raise Unprocessable("the picture is no PNG, or damaged; save it again as PNG") from error
    kept = io.BytesIO()
    plain.save(kept, "PNG")
    return kept.getvalue()
