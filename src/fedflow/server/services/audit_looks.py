"""Looks at the whole audit log: a worker's job, since a long log takes seconds, and what the last one found.

What was found is kept sealed with the key of the log itself: who can write to the database alone cannot say that all is
well.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

from fedflow.server.database.people import AuditLook
from fedflow.server.services import audit, jobs
from fedflow.server.services.audit import Verified
from fedflow.server.store import Store

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


def look(store: Store) -> None:
    """Look at the whole log, and keep what was found. The worker's side."""
    found, key = audit.verify(store), store.key("audit")
    with store.begin() as session:
        row = session.get(AuditLook, ROW) or AuditLook(id=ROW)
        row.at, row.entries, row.head, row.faults = store.clock(), found.entries, found.head, list(found.faults)
        row.seal = _seal(key, row)
        session.add(row)


def _found(key: bytes, row: AuditLook) -> Verified:
    if not hmac.compare_digest(row.seal, _seal(key, row)):
        return Verified(row.entries, row.head, ("what the last look found was altered",))
    return Verified(row.entries, row.head, tuple(row.faults))


def _seal(key: bytes, row: AuditLook) -> str:
    text = json.dumps([row.at, row.entries, row.head, row.faults], separators=(",", ":"))
    return hmac.new(key, f"look {text}".encode(), hashlib.sha256).hexdigest()
