"""Federations that this machine takes part in: joined by a code, with a dataset and its owner's limits."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

from pydantic import Field
from sqlalchemy import select, update

from fedflow.client.addresses import server_address
from fedflow.client.connection import PATIENCE_S, Connection
from fedflow.client.database.tables import Dataset, Job, Membership
from fedflow.client.home import Device, Home
from fedflow.client.machine_name import LONGEST, machine_name
from fedflow.client.policy import Policy
from fedflow.client.services import datasets, jobs, sendings
from fedflow.client.store import Store
from fedflow.errors import FedFlowError, MistakeError
from fedflow.federation.protocol import LEAST_CODE, LONGEST_CODE
from fedflow.plan import Settings

JOIN = "join"
JOINS_LOOKED_AT = 50
JOIN_PATIENCE_S = 10.0
"""How long a server is asked that does not answer."""

NOTHING_SAID: dict[str, Any] = {"said": "", "said_at": None, "said_run": None, "is_held_up": False}


class JoinRequest(Settings):
    """A federation that is joined with a coordinator's code."""

    server: str = Field(min_length=1, max_length=400, description="Its address, such as https://fedflow.example.org.")
    code: str = Field(min_length=1, max_length=200, description="The one-time code that the coordinator gave you.")
    device: str = Field(
        default_factory=machine_name,
        min_length=1,
        max_length=LONGEST,
        description="What the coordinator sees of this machine.",
    )
    dataset: str = Field(min_length=1, description="Whose pictures are trained on; it can be changed later.")
    shows_counts: bool = Field(
        False,
        description="Lets lineages and releases name your organisation, with its picture counts, to people outside "
        "the federation; otherwise they only count it.",
    )


def home(store: Store, membership_id: str) -> Home:
    """Where the participant keeps its key, what it fetched, and what it has trained."""
    return Home(store.folder / "federations" / membership_id)


def connected(store: Store, membership_id: str, patience_s: float = PATIENCE_S) -> Connection:
    """A connection to a federation's server, of which every request is written into the log."""
    note = partial(sendings.note, store, membership_id)
    return Connection(home(store, membership_id), patience_s=patience_s, sent=note)


def join(store: Store, request: JoinRequest, instead_of: str = "") -> str:
    """Have a federation joined; gives the job's identifier. Raises MistakeError, which names the field.

    `instead_of` is the job of an attempt that failed, and is put aside.
    """
    try:
        server = server_address(request.server)
    except MistakeError as error:
        raise MistakeError(f"server: {error}") from None
    code = request.code.strip()
    if not LEAST_CODE <= len(code) <= LONGEST_CODE:
        raise MistakeError(f"code: a code has {LEAST_CODE} to {LONGEST_CODE} letters; copy all of it")
    if datasets.one(store, request.dataset) is None:
        raise MistakeError("dataset: it is no longer here; choose another")
    asked = request.model_copy(update={"server": server, "code": code}).model_dump(mode="json")
    with suppress(MistakeError):  # it is told of no more
        jobs.put_aside(store, instead_of)
    with store.begin() as session:
        return jobs.add(session, JOIN, server, asked, 0, store.clock()).id


def request_of(job: Job) -> JoinRequest:
    """What a job to join was asked for."""
    return JoinRequest.model_validate({name: job.asked[name] for name in JoinRequest.model_fields if name in job.asked})


def failed_joins(store: Store) -> list[Job]:
    """Attempts to join that failed, newest first: those of which nobody has tried the same server again since."""
    query = select(Job).where(Job.kind == JOIN).order_by(Job.id.desc()).limit(JOINS_LOOKED_AT)
    with store.read() as session:
        newest: dict[str, Job] = {}
        for job in session.scalars(query):
            newest.setdefault(job.title, job)
    return [job for job in newest.values() if job.status in jobs.WENT_WRONG]


def keep(store: Store, job: Job, device: Device) -> None:
    """Note that this machine is a member's device by now; twice changes nothing. The code, which is used, goes.

    Earlier attempts at the same server that did not end well are put aside. Where the machine was removed from there
    before, its owner's limits hold again, as nobody else may loosen them; that runs need no consent does not.
    """
    before = _before(store, device)
    with store.begin() as session:
        has_dataset = session.get(Dataset, job.asked["dataset"]) is not None  # it may be taken out meanwhile
        if session.get(Membership, job.id) is None:
            session.add(
                Membership(
                    id=job.id,
                    server=device.server,
                    federation=device.federation,
                    member=device.member,
                    dataset_id=job.asked["dataset"] if has_dataset else None,
                    policy={} if before is None else before.policy,
                    always=False,
                    is_paused=False,
                    said="",
                    said_at=None,
                    joined_at=store.clock(),
                )
            )
        row = session.get_one(Job, job.id)
        row.asked = {**row.asked, "code": ""}
        earlier = (Job.kind == JOIN, Job.title == job.title, Job.id < job.id)
        unsettled = Job.status.in_(jobs.WENT_WRONG | {jobs.STOPPED})
        session.execute(update(Job).where(*earlier, unsettled).values(status=jobs.ASIDE, changed_at=store.clock()))


def listed(store: Store) -> list[Membership]:
    """All of them but those that were left, in the order in which they were joined."""
    with store.read() as session:
        return list(session.scalars(select(Membership).where(Membership.left_at.is_(None)).order_by(Membership.id)))


def logged(store: Store) -> list[Membership]:
    """All whose log is kept: those that were left too, at the end, the last one first."""
    order = (Membership.left_at.is_not(None), Membership.left_at.desc(), Membership.id)
    with store.read() as session:
        return list(session.scalars(select(Membership).order_by(*order)))


def replaced(rows: Iterable[Membership]) -> dict[str, Membership]:
    """Those of `rows` that the server removed and that this machine has joined anew since, and as which it did last.

    By identifier. It is the same place that it has joined: this member of this federation at this server.
    """
    found = sorted(rows, key=lambda row: row.id)
    newest = {_place(row): row for row in found}
    return {
        row.id: newest[_place(row)] for row in found if row.removed_at is not None and row is not newest[_place(row)]
    }


def speaks_as(store: Store, membership_id: str) -> str:
    """As which this machine asks the server about what was there: one that was removed has no key that counts."""
    anew = replaced(listed(store)).get(membership_id)
    return membership_id if anew is None else anew.id


def took_over(row: Membership, rows: Iterable[Membership]) -> bool:
    """Whether the owner's limits are those that held there before this machine joined anew."""
    same = [each for each in rows if (each.server, each.federation) == (row.server, row.federation)]
    earlier = [each for each in same if each.removed_at is not None or each.member == row.member]
    return policy(row) != Policy() and any(each.id < row.id and policy(each) == policy(row) for each in earlier)


def _before(store: Store, device: Device) -> Membership | None:
    """As what this machine was in a federation last that it joins anew: removed there, heard of it or not."""
    for row in reversed(listed(store)):
        is_anew = row.removed_at is not None or row.member == device.member
        if is_anew and row.server == device.server and _federation_id(store, row) in (None, device.federation_id):
            return row
    return None


def _federation_id(store: Store, row: Membership) -> str | None:
    """As the server calls it; None where the participant's note of it is gone."""
    try:
        device = home(store, row.id).device()
    except FedFlowError:
        return None
    return None if device is None else device.federation_id


def _place(row: Membership) -> tuple[str, str, str]:
    return row.server, row.federation, row.member


def note_removed(store: Store, membership_id: str) -> None:
    """Note that the server has shut this machine out: it lets it in again under a new key alone."""
    with store.begin() as session:
        row = session.get(Membership, membership_id)
        if row is not None and row.removed_at is None:
            row.removed_at = store.clock()


def one(store: Store, membership_id: str) -> Membership | None:
    """One federation; None where there is none, or it was left."""
    with store.read() as session:
        row = session.get(Membership, membership_id)
        return row if row is not None and row.left_at is None else None


def policy(row: Membership) -> Policy:
    """The owner's limits there."""
    return Policy.model_validate(row.policy)


def say(store: Store, membership_id: str, line: str, run_id: str | None = None, *, is_held_up: bool) -> None:
    """Note what the participant said last, and of which run. What it says again it has said before."""
    with store.begin() as session:
        row = session.get(Membership, membership_id)
        if row is not None and (row.said, row.said_run, row.is_held_up) != (line, run_id, is_held_up):
            row.said, row.said_run, row.is_held_up, row.said_at = line, run_id, is_held_up, store.clock()
            row.removed_at = row.removed_at if is_held_up else None


def unsay(store: Store, membership_id: str, run_id: str) -> None:
    """Drop what the participant said last where it was of this run, as it is so no longer."""
    with store.begin() as session:
        row = session.get(Membership, membership_id)
        if row is not None and row.said_run == run_id:
            for name, value in NOTHING_SAID.items():
                setattr(row, name, value)


def pause(store: Store, membership_id: str, *, paused: bool) -> None:
    """Take no part for now, or go on; a training that is under way ends at its next step and goes on from there."""
    _change(store, membership_id, is_paused=paused, **({} if paused else NOTHING_SAID))


def bind(store: Store, membership_id: str, dataset_id: str) -> None:
    """Train on another dataset from now on. Raises MistakeError where it is not here."""
    if datasets.one(store, dataset_id) is None:
        raise MistakeError("the dataset is no longer here; choose another")
    row = one(store, membership_id)
    if row is not None and row.dataset_id != dataset_id:
        _change(store, membership_id, dataset_id=dataset_id, **NOTHING_SAID)


def limit(store: Store, membership_id: str, limits: Policy, *, always: bool) -> None:
    """Set the owner's limits; with `always` a run within them needs no consent of its own."""
    _change(store, membership_id, policy=limits.model_dump(mode="json"), always=always)


def leave(store: Store, membership_id: str) -> None:
    """Forget a federation: this machine's key for it, and all that was fetched and trained for it. Its log stays.

    What was sent cannot be called back; the coordinator still sees the member until they remove it.
    """
    _change(store, membership_id, left_at=store.clock(), dataset_id=None, policy={}, always=False, **NOTHING_SAID)
    shutil.rmtree(home(store, membership_id).folder, ignore_errors=True)


def forget_log(store: Store, membership_id: str) -> None:
    """Delete the log of a federation that was left, and the names of its runs. Raises MistakeError for any other."""
    with store.begin() as session:
        row = session.get(Membership, membership_id)
        if row is None or row.left_at is None:
            raise MistakeError("only the log of a federation that was left is deleted")
        session.delete(row)


def _change(store: Store, membership_id: str, **values: Any) -> None:
    with store.begin() as session:
        row = session.get(Membership, membership_id)
        if row is not None:
            for name, value in values.items():
                setattr(row, name, value)
