"""Looks at the whole audit log: a worker's job, since a long log takes seconds, and what the last one found.

What was found is kept sealed with the key of the log itself: who can write to the database alone cannot say that all is
well. How far the log is, is noted in the server's folder (`ANCHOR`) by a worker's every sign of life and by each look
without a fault; the next look there finds a log that was put back to an earlier state.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fedflow.errors import StorageError
from fedflow.server.database.people import AuditLook
from fedflow.server.services import audit, jobs
from fedflow.server.services.audit import Anchor, Verified
from fedflow.server.store import Store
from fedflow.storage.atomic import write_atomic

ANCHOR = "audit.anchor"
"""The file in the server's folder that says how far the log has been."""

DAY_S = 86_400.0
KIND = "verify"
SUBJECT = "audit"
KEPT_S = 600.0
"""What was found is looked for anew, when somebody asks, after this long."""

ROW = 1


@dataclass(frozen=True)
class Looked:
    """What the last look found and when (None before the first), whether one is under way, and why one failed."""

    found: Verified | None
    at: float
    under_way: bool
    error: str


def last(store: Store, *, anew: bool = False) -> Looked:
    """The last look; a new one is asked for where there is none, it is older than KEPT_S, or `anew`."""
    key, now = store.key("audit"), store.clock()
    with store.read() as session:
        row, job = session.get(AuditLook, ROW), jobs.found(session, KIND, SUBJECT)
        found = None if row is None else _found(key, row)
        at = row.at if row else 0.0
        under_way = job is not None and job.status in (jobs.QUEUED, jobs.RUNNING)
        error = (job.error or "") if job is not None and job.status == jobs.FAILED else ""
    if not under_way and (anew or (not error and (found is None or not 0 <= now - at < KEPT_S))):
        with store.begin() as session:
            jobs.add_alone(session, KIND, SUBJECT, now)
        under_way, error = True, ""
    return Looked(found, at, under_way, error)


def faults(store: Store) -> tuple[str, ...] | None:
    """What the last look found wrong; None before the first. Asks for no look."""
    with store.read() as session:
        row = session.get(AuditLook, ROW)
        return None if row is None else _found(store.key("audit"), row).faults


def once_a_day(store: Store) -> None:
    """Ask for a look where the last one is older than a day."""
    with store.read() as session:
        row = session.get(AuditLook, ROW)
        due = row is None or not 0 <= store.clock() - row.at < DAY_S
    if due:
        last(store)


def verify(store: Store) -> Verified:
    """Look at the whole log with what this machine knows of it, and note how far it was where nothing is wrong.

    Raises StorageError where that cannot be noted.
    """
    found = audit.verify(store, _known(store.folder / ANCHOR))
    if not found.faults and found.entries:
        _keep(store.folder / ANCHOR, Anchor(found.entries, found.head))
    return found


def note(store: Store) -> None:
    """Note how far the log is, so that no more than what came since can be taken off unnoticed.

    Where the log is not the one that was noted before, or the note cannot be read or written, the next look says so.
    """
    with suppress(StorageError):
        anchor = audit.reached(store, _known(store.folder / ANCHOR))
        if anchor is not None:
            _keep(store.folder / ANCHOR, anchor)


def look(store: Store) -> None:
    """Look at the whole log, and keep what was found. The worker's side."""
    found, key = verify(store), store.key("audit")
    with store.begin() as session:
        row = session.get(AuditLook, ROW) or AuditLook(id=ROW)
        row.at, row.entries, row.head, row.faults = store.clock(), found.entries, found.head, list(found.faults)
        row.seal = _seal(key, row)
        session.add(row)


def _keep(place: Path, anchor: Anchor) -> None:
    """A log that is shorter than it was is not noted: the look has to find that."""
    known = _known(place)
    if known is None or known.entries < anchor.entries:
        write_atomic(place, json.dumps({"entries": anchor.entries, "head": anchor.head}).encode())


def _known(place: Path) -> Anchor | None:
    try:
        told = json.loads(place.read_bytes())
        return Anchor(int(told["entries"]), str(told["head"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise StorageError(
            f"{place}: cannot be read; compare the log's last hash with a note of yours, then remove it"
        ) from None


def _found(key: bytes, row: AuditLook) -> Verified:
    if not hmac.compare_digest(row.seal, _seal(key, row)):
        return Verified(row.entries, row.head, ("what the last look found was altered",))
    return Verified(row.entries, row.head, tuple(row.faults))


def _seal(key: bytes, row: AuditLook) -> str:
    text = json.dumps([row.at, row.entries, row.head, row.faults], separators=(",", ":"))
    return hmac.new(key, f"look {text}".encode(), hashlib.sha256).hexdigest()
