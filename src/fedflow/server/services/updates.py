"""Updates handed in: checked by the firewall, kept, and counted once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedflow.errors import UpdateError
from fedflow.federation import rounds
from fedflow.federation.firewall import WIRE_DTYPES, Manifest, inspect, manifest_of
from fedflow.federation.protocol import UpdateAnswer, UpdateRequest
from fedflow.federation.rounds import Phase, Status
from fedflow.server.database.tables import Member, Receipt, Refusal, Run, RunMember
from fedflow.server.errors import Conflict, Forbidden, NotFound, TooLarge, Unprocessable
from fedflow.server.services import events, files, uploads
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import locked_run, membership, model_before, plan_of, rules_of, state_of
from fedflow.server.services.runs import close
from fedflow.server.services.uploads import TooMany
from fedflow.server.store import Store
from fedflow.storage import Blobs

KEPT_ASIDE = 3
"""Refused updates of a member in a run whose bytes are kept, the newest; of the others the reason stays."""

MOST_REFUSALS = 20
"""Refused updates of a member in a round that are looked at."""

SMALL_UPLOAD_BYTES = 256_000_000
"""An upload of so many bytes needs no run that wants it."""


@dataclass(frozen=True)
class RefusalFacts:
    """A refused update as both sides may read it; `sha256` is None where its bytes are kept no more."""

    id: str
    round: int
    member: str
    reason: str
    sha256: str | None
    age_s: float


def hand_in(store: Store, caller: Caller, run_id: str, number: int, request: UpdateRequest) -> UpdateAnswer:
    """Take an uploaded update for a round. The same update twice counts once.

    The bytes are looked at before anything is noted, and stored before the row that refers to them: a crash
    between the two leaves an upload that is handed in again.

    Raises:
        NotFound: no such run in the caller's federation, or no such upload of this device.
        Forbidden: the run was not planned with the member, or its owner has not consented.
        Conflict: another round, a round that takes nothing any more, or a second and different update.
        Unprocessable: the firewall refuses it; the update is kept aside with the reason.
        TooMany: the firewall refused MOST_REFUSALS of this member's in this round already.
    """
    answer = UpdateAnswer(run=run_id, round=number, sha256=request.sha256, again=False)
    with store.read() as session:
        if _counted(session, caller, run_id, number, request.sha256):
            return answer.model_copy(update={"again": True})
        manifest = _checked(session, store, caller, run_id, number)
        _check_patience(session, caller, run_id, number)
    path = uploads.take(store, caller, request.upload_id, request.sha256)
    try:
        inspect(path, request.num_examples, manifest)
    except UpdateError as error:
        _refuse(store, caller, run_id, number, request.sha256, path, str(error))
        raise Unprocessable(str(error)) from None
    store.blobs.adopt(path, request.sha256)
    with store.begin() as session:
        run = locked_run(session, run_id)
        if _counted(session, caller, run_id, number, request.sha256):
            return answer.model_copy(update={"again": True})
        _checked(session, store, caller, run_id, number)
        _count(session, store, caller, run, request)
    return answer


def _checked(session: Session, store: Store, caller: Caller, run_id: str, number: int) -> Manifest:
    """What an update of this member for this round must be like, where the round takes one now."""
    run = session.get(Run, run_id)
    member_id, _ = membership(caller)
    if run is None or run.federation_id != caller.federation_id:
        raise NotFound(f"there is no run {run_id}")
    row = session.get(RunMember, (run_id, member_id))
    member = session.get(Member, member_id)
    if row is None or member is None:
        raise Forbidden(f"run '{run.name}' was not planned with the member '{caller.member}'")
    if row.consent != "accepted":
        raise Forbidden(f"the owner of '{caller.member}' has not consented to run '{run.name}'")
    if run.status not in (Status.RUNNING, Status.PAUSED):
        raise Conflict(f"run '{run.name}' is {run.status} and takes no updates")
    state = state_of(session, run)
    if number != state.round or state.phase is not Phase.COLLECTING:
        raise Conflict(f"round {number} of run '{run.name}' takes no updates; round {state.round} is {state.phase}")
    if member.name not in state.selected:
        raise Conflict(f"the member '{member.name}' was not asked in round {number} of run '{run.name}'")
    if member.name in state.accepted:
        raise Conflict(f"the member '{member.name}' answered round {number} already, with other content")
    plan = plan_of(run)
    start = model_before(session, run, number).adapter
    if start is not None:
        return _manifest(store.blobs, start, plan.network.wire, plan.network.max_norm_ratio, member.max_examples)
    prepared = run.prepared or {}
    return Manifest(
        tensors={name: (WIRE_DTYPES[plan.network.wire], tuple(shape)) for name, shape in prepared["tensors"].items()},
        max_norm=plan.network.max_norm_ratio * max(prepared["norm"], 1.0),
        max_examples=member.max_examples,
    )


@lru_cache(maxsize=64)
def _manifest(blobs: Blobs, start: str, wire: str, max_norm_ratio: float, max_examples: int) -> Manifest:
    return manifest_of(blobs.get(start), wire, max_norm_ratio, max_examples)


def _counted(session: Session, caller: Caller, run_id: str, number: int, sha256: str) -> bool:
    receipt = session.get(Receipt, (run_id, number, caller.member_id))
    return receipt is not None and receipt.sha256 == sha256


def _count(session: Session, store: Store, caller: Caller, run: Run, request: UpdateRequest) -> None:
    member_id, member = membership(caller)
    state = state_of(session, run)
    examples = int(request.num_examples)
    try:
        state = rounds.accept(state, rounds.Receipt(member, run.round, request.sha256, examples))
    except UpdateError as error:
        raise Conflict(str(error)) from None
    files.record(session, store, request.sha256, "update")
    session.flush()
    session.add(
        Receipt(
            run_id=run.id,
            round=run.round,
            member_id=member_id,
            device_id=caller.id,
            sha256=request.sha256,
            num_examples=examples,
            metrics=dict(request.metrics),
            received_at=store.clock(),
        )
    )
    session.flush()
    told = {"round": run.round, "member": member, "num_examples": examples}
    events.record(session, store, run.federation_id, run.id, "update accepted", **told)
    if run.status == Status.RUNNING and rounds.may_close(state, rules_of(plan_of(run)), deadline_passed=False):
        close(session, store, run)


def _refuse(store: Store, caller: Caller, run_id: str, number: int, sha256: str, path: Path, reason: str) -> None:
    """Keep a refused update aside, with its reason, where both sides can read it."""
    member_id, member = membership(caller)
    aside = store.folder / "quarantine" / sha256
    aside.parent.mkdir(parents=True, exist_ok=True)
    path.replace(aside)
    with store.begin() as session:
        run = locked_run(session, run_id)
        row = Refusal(id=new_id(), run_id=run_id, round=number, member_id=member_id, sha256=sha256)
        row.reason, row.refused_at = reason, store.clock()
        session.add(row)
        session.flush()
        dropped = _drop_older(session, run_id, member_id)
        told = {"round": number, "member": member, "reason": reason}
        events.record(session, store, run.federation_id, run_id, "update refused", **told)
    for unused in dropped:
        (store.folder / "quarantine" / unused).unlink(missing_ok=True)


def _drop_older(session: Session, run_id: str, member_id: str) -> list[str]:
    """Let the member's older refusals in this run keep their reason only; returns what nobody refers to any more."""
    ours = select(Refusal).where(Refusal.run_id == run_id, Refusal.member_id == member_id, Refusal.sha256.is_not(None))
    older = session.scalars(ours.order_by(Refusal.refused_at.desc(), Refusal.id.desc()).offset(KEPT_ASIDE)).all()
    hashes = {row.sha256 for row in older if row.sha256 is not None}
    for row in older:
        row.sha256 = None
    session.flush()
    used = set(session.scalars(select(Refusal.sha256).where(Refusal.sha256.in_(hashes))))
    return sorted(hashes - used)


def _check_patience(session: Session, caller: Caller, run_id: str, number: int) -> None:
    """Raise TooMany for a member that was refused too often in this round: each costs a look, a file and a row."""
    member_id, member = membership(caller)
    query = select(func.count()).where(
        Refusal.run_id == run_id, Refusal.round == number, Refusal.member_id == member_id
    )
    if (session.scalar(query) or 0) >= MOST_REFUSALS:
        raise TooMany(
            f"{MOST_REFUSALS} updates of '{member}' were refused in round {number}; no more are looked at, "
            "ask the coordinator"
        )


def check_size(store: Store, caller: Caller, length_bytes: int, max_bytes: int) -> None:
    """Raise TooLarge where no update of this member's can be so large, by what its runs start from.

    Above `max_bytes` it is another's to say.
    """
    if not SMALL_UPLOAD_BYTES < length_bytes <= max_bytes:
        return
    member_id, _ = membership(caller)
    query = (
        select(Run.prepared)
        .join(RunMember, RunMember.run_id == Run.id)
        .where(RunMember.member_id == member_id, Run.status.in_((Status.RUNNING, Status.PAUSED)))
    )
    with store.read() as session:
        wanted = [prepared["upload_bytes"] for prepared in session.scalars(query) if prepared]
    most = max(SMALL_UPLOAD_BYTES, 2 * max(wanted, default=0))
    if length_bytes > most:
        raise TooLarge(f"no run of this member's wants more than {most} bytes, this upload has {length_bytes}")


def refusals(store: Store, caller: Caller, run_id: str, after: str, limit: int) -> list[RefusalFacts]:
    """Refused updates of a run, oldest first, after the identifier `after`: a person sees all, a device its member's.

    Raises NotFound where there is no such run in the caller's federation.
    """
    now = store.clock()
    query = (
        select(Refusal, Member.name)
        .join(Member, Member.id == Refusal.member_id)
        .where(Refusal.run_id == run_id, Refusal.id > after)
        .order_by(Refusal.id)
        .limit(limit)
    )
    if caller.kind == "device":
        query = query.where(Refusal.member_id == caller.member_id)
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None or (caller.kind == "device" and run.federation_id != caller.federation_id):
            raise NotFound(f"there is no run {run_id}")
        return [
            RefusalFacts(row.id, row.round, member, row.reason, row.sha256, max(0.0, now - row.refused_at))
            for row, member in session.execute(query)
        ]
