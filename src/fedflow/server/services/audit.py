"""Who did what, when and from where, as a chain in which nothing can be altered or taken out unnoticed.

Each entry's hash is keyed (HMAC-SHA256) with a secret that is not in the database, and covers the hash before it; the
head says how many entries there are, so that those taken off the end are missed too. Who puts an older log with its own
head back is found by an `Anchor`, which is kept outside of the database. Whoever has the server's key can write another
chain: against them, note `verify`'s head elsewhere from time to time and compare.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from fedflow.errors import StorageError
from fedflow.server.database.people import AuditEntry, AuditHead, Person
from fedflow.server.services.identity import FIRST, Caller
from fedflow.server.store import Store

BATCH = 1000
HEAD = 1
MOST_FAULTS = 20
NEWEST = 2**62
"""More than any entry's number."""


@dataclass(frozen=True)
class Verified:
    """What a look at the whole chain found: how many entries it has, its last hash, and what is wrong, a line each."""

    entries: int
    head: str
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Anchor:
    """How far the log was at a look before: its number of entries then, and the hash of the last one."""

    entries: int
    head: str


def record(
    session: Session,
    store: Store,
    caller: Caller,
    action: str,
    object_kind: str,
    object_id: str,
    federation_id: str | None = None,
    /,
    **facts: object,
) -> None:
    """Write an entry within the caller's transaction, as its last step: others that write one wait for its end.

    `facts` must be JSON, and hold no secret.
    """
    head = _head(session, lock=True)
    entry = AuditEntry(
        number=head.entries + 1,
        at=store.clock(),
        actor_kind=caller.kind,
        actor_id=caller.id,
        actor=caller.name,
        via=caller.via,
        address=caller.address,
        action=action,
        federation_id=federation_id,
        object_kind=object_kind,
        object_id=object_id,
        facts=facts,
        hash="",
    )
    key = store.key("audit")
    entry.hash = _hash(key, entry, head.hash)
    session.add(entry)
    head.entries, head.hash = entry.number, entry.hash
    head.seal = _seal(key, head)
    session.flush()


def shortened(email: str | None) -> str | None:
    """What an entry tells of an account's address: 'k…@example.org'.

    Entries outlive the account. This is enough to know an address again that one has, and not to write to it.
    """
    if email is None:
        return None
    box, _, domain = email.rpartition("@")
    return f"{box[0]}…@{domain}"


def listed(
    store: Store,
    *,
    federation_id: str | None = None,
    actor_id: str = "",
    actor: str = "",
    action: str = "",
    object_id: str = "",
    since: float | None = None,
    until: float | None = None,
    before: int,
    limit: int,
) -> list[AuditEntry]:
    """At most `limit` entries with numbers below `before`, newest first: all, or a federation's, person's, action's.

    `actor` is a part of the name that they had then, `object_id` what was changed; `since` and before `until` are in
    seconds since 1970.
    """
    query = select(AuditEntry).where(AuditEntry.number < before)
    if federation_id is not None:
        query = query.where(AuditEntry.federation_id == federation_id)
    if actor_id:
        query = query.where(AuditEntry.actor_id == actor_id)
    if actor:
        query = query.where(AuditEntry.actor.icontains(actor, autoescape=True))
    if action:
        query = query.where(AuditEntry.action == action)
    if object_id:
        query = query.where(AuditEntry.object_id == object_id)
    if since is not None:
        query = query.where(AuditEntry.at >= since)
    if until is not None:
        query = query.where(AuditEntry.at < until)
    with store.read() as session:
        return list(session.scalars(query.order_by(AuditEntry.number.desc()).limit(limit)))


def newest_first(found: Callable[..., list[AuditEntry]]) -> Iterator[AuditEntry]:
    """All that `found`, which is `listed` with its filters, finds; as many at once as one look takes."""
    before = NEWEST
    while page := found(before=before, limit=BATCH):
        yield from page
        before = page[-1].number


def note_download(store: Store, caller: Caller, federation_id: str | None, **asked: str) -> None:
    """Write down that `caller` takes the log, or what `asked` filters it by, away as a file."""
    told = {name: value for name, value in asked.items() if value}
    with store.begin() as session:
        record(session, store, caller, "log downloaded", "log", "", federation_id, **told)


def is_sealed(store: Store, key: bytes | None = None) -> bool:
    """Whether the log has entries; where `key` is given, whether it is the key of its head or of its last entry."""
    query = select(AuditEntry).order_by(AuditEntry.number.desc()).limit(2)
    with store.read() as session:
        head = _head(session)
        if key is None or head.entries == 0:
            return head.entries > 0
        if hmac.compare_digest(head.seal, _seal(key, head)):
            return True
        last = session.scalars(query).all()
    previous = last[1].hash if len(last) > 1 else ""
    return bool(last) and hmac.compare_digest(last[0].hash, _hash(key, last[0], previous))


def verify(store: Store, known: Anchor | None = None) -> Verified:
    """Look at every entry and the head, and whether what was `known` before is still there. Nothing is changed."""
    key = store.key("audit")
    faults: list[str] = []
    previous, number = "", 0
    with store.read() as session:
        head = session.get(AuditHead, HEAD)
        if head is None:
            return Verified(0, "", ("the head was taken out",))
        told, last = head.entries, head.hash
        if told and not hmac.compare_digest(head.seal, _seal(key, head)):
            faults.append("the head was altered, or is another server's")
        if told == 0 and session.scalar(select(Person.id).where(Person.id != FIRST).limit(1)) is not None:
            faults.append("the log was emptied: an account's making is an entry")
        if known is not None and told < known.entries:
            faults.append(f"the log had {known.entries} entries at an earlier look, and has {told}")
        for entry in _entries(session, told):
            while number + 1 < entry.number and len(faults) < MOST_FAULTS:
                number += 1
                faults.append(f"entry {number} was taken out")
            number = entry.number
            if not hmac.compare_digest(entry.hash, _hash(key, entry, previous)) and not _follows_a_gap(faults, number):
                faults.append(f"entry {number} was altered")
            previous = entry.hash
            if known is not None and number == known.entries and previous != known.head:
                faults.append(f"entry {number} is not the one of an earlier look")
            if len(faults) >= MOST_FAULTS:
                return Verified(told, last, (*faults, "and perhaps more"))
        beyond = session.scalar(select(func.max(AuditEntry.number)).where(AuditEntry.number > told))
        if beyond is not None and beyond > (session.scalar(select(AuditHead.entries)) or 0):  # it grows meanwhile
            faults.append(f"entry {beyond} is none of the log's: it was put in")
    if number < told:
        faults.append(f"entries {number + 1} to {told} were taken off the end")
    elif previous != last:
        faults.append("the head was altered, or is another server's")
    return Verified(told, last, tuple(dict.fromkeys(faults)))


def reached(store: Store, known: Anchor | None) -> Anchor | None:
    """How far the log is, by its head and the entry that was the last one at `known`.

    None where the head is not as this server sealed it or counts nothing, or where that entry is another by now: a log
    that was put back and grew again is for a look to find.
    """
    with store.read() as session:
        head = session.get(AuditHead, HEAD)
        if head is None or not head.entries or not hmac.compare_digest(head.seal, _seal(store.key("audit"), head)):
            return None
        if known is not None:
            was_last = session.scalar(select(AuditEntry.hash).where(AuditEntry.number == known.entries))
            if was_last != known.head:
                return None
        return Anchor(head.entries, head.hash)


def _head(session: Session, *, lock: bool = False) -> AuditHead:
    query = select(AuditHead).where(AuditHead.id == HEAD)
    head = session.scalar(query.with_for_update() if lock else query)
    if head is None:
        raise StorageError("the audit log's head is gone from the database: somebody took it out; restore a back-up")
    return head


def _follows_a_gap(faults: list[str], number: int) -> bool:
    """An entry behind one that was taken out cannot be checked: the hash before it is gone."""
    return bool(faults) and faults[-1] == f"entry {number - 1} was taken out"


def _entries(session: Session, up_to: int) -> Iterator[AuditEntry]:
    """All entries that the head counts, in order; those that come meanwhile are not among them."""
    after = 0
    query: Select[AuditEntry] = select(AuditEntry).order_by(AuditEntry.number).limit(BATCH)
    while True:
        page = session.scalars(query.where(AuditEntry.number > after, AuditEntry.number <= up_to)).all()
        yield from page
        if len(page) < BATCH:
            return
        after = page[-1].number
        session.expunge_all()


def _hash(key: bytes, entry: AuditEntry, previous: str) -> str:
    told = [
        entry.number,
        entry.at,
        entry.actor_kind,
        entry.actor_id,
        entry.actor,
        entry.via,
        entry.address,
        entry.action,
        entry.federation_id,
        entry.object_kind,
        entry.object_id,
        entry.facts,
        previous,
    ]
    text = json.dumps(told, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _seal(key: bytes, head: AuditHead) -> str:
    return hmac.new(key, f"head {head.entries} {head.hash}".encode(), hashlib.sha256).hexdigest()
