"""What a participant has of a round's start: fetched where it lacks, kept where it serves, dropped otherwise."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fedflow.errors import StorageError
from fedflow.federation.jobs import Trained, TrainJob
from fedflow.federation.places import RunFolder
from fedflow.federation.protocol import Work
from fedflow.federation.rounds import Merged
from fedflow.storage import BlobStore, read_json, write_json

Fetch = Callable[[str, Path], None]
"""Downloads content by its SHA-256 into a file, checked."""


def merged_worth_fetching(work: Work, blobs: BlobStore, in_memory: tuple[str, ...]) -> Merged | None:
    """The base weights with residuals in them that the server offers, where having those costs fewer bytes.

    `in_memory` are the residuals that the open base model holds. Where both cost the same, what is here already is
    gone on with.
    """
    offer = work.merged
    if offer is None or offer.count > len(work.residuals):
        return None
    known = set(_held(work.residuals, in_memory))
    sizes = zip(work.residuals, work.residual_bytes, strict=True)
    missing = [0 if digest in known or digest in blobs else size_bytes for digest, size_bytes in sizes]
    merged_bytes = (0 if offer.weights in blobs else offer.size_bytes) + sum(missing[offer.count :])
    return None if sum(missing) < merged_bytes else Merged(offer.weights, offer.count)


def have(folder: RunFolder, job: TrainJob, in_memory: tuple[str, ...], pictures: str, fetch: Fetch) -> None:
    """Have the global state that `job` starts from in `folder`, and no more than that and its own update.

    `in_memory` are the residuals that the open base model holds, which need no fetching; `pictures` names what is
    trained on.
    """
    changes = job.residuals if job.merged is None else (job.merged.weights, *job.residuals[job.merged.count :])
    wanted = [digest for digest in (job.adapter, *changes) if digest is not None]
    own = own_update(folder, job, pictures)
    folder.blobs.remove(*(each.digest for each in folder.blobs.listed() if each.digest not in {*wanted, own}))
    folder.blobs.tidy(time.time())
    known = set(_held(job.residuals, in_memory))
    for digest in wanted:
        if digest not in known and not _is_whole(folder.blobs, digest):
            arriving = folder.out / "fetched" / digest
            arriving.parent.mkdir(parents=True, exist_ok=True)
            fetch(digest, arriving)
            folder.blobs.adopt(arriving, digest)


def own_update(folder: RunFolder, job: TrainJob, pictures: str) -> str | None:
    """The update that `job` made here before, by content hash.

    What was made for the same round from another state or with other pictures, or has lost its bytes, is dropped.
    """
    done, note = folder.outcome(job.name), folder.outcome(f"{job.name}-from")
    asked = {"adapter": job.adapter, "residuals": list(job.residuals), "pictures": pictures}
    if not note.is_file() or read_json(note) != asked:
        done.unlink(missing_ok=True)
        folder.drop_checkpoints(job.name)
        write_json(note, asked)
    if not done.is_file():
        return None
    update = Trained(**read_json(done)).update
    if not _is_whole(folder.blobs, update):
        done.unlink()
        return None
    return update


def _held(residuals: tuple[str, ...], in_memory: tuple[str, ...]) -> tuple[str, ...]:
    """The residuals of the run that the open base model holds; none where it holds another run's."""
    return in_memory if residuals[: len(in_memory)] == in_memory else ()


def _is_whole(blobs: BlobStore, digest: str) -> bool:
    try:
        return blobs.get(digest).is_file()
    except StorageError:
        return False
