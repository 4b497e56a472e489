"""Updates handed in: checked by the firewall, kept, and counted once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from fedflow.errors import UpdateError
from fedflow.federation import rounds
from fedflow.federation.firewall import WIRE_DTYPES, Manifest, inspect, manifest_of
from fedflow.federation.protocol import UpdateAnswer, UpdateRequest
from fedflow.federation.rounds import Phase, RunState, Status
from fedflow.server.database.tables import Device, Member, Receipt, Run, RunMember
from fedflow.server.errors import (
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    TooLarge,
    Unauthorised,
    Unavailable,
    Unprocessable,
)
from fedflow.server.services import events, files, refusals, uploads
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_rows import locked_run, membership, plan_of, rules_of, state_of
from fedflow.server.services.runs import close
from fedflow.server.store import Store
from fedflow.storage import BlobStore

SMALL_UPLOAD_BYTES = 256_000_000
"""An upload of so many bytes needs no run that wants it."""

HANDING_IN = threading.Semaphore(2)
"""They hold the run's row in turn anyway; were more at work than there are processors, they would hold up the reads."""

TURN_S = 20.0
"""Who waits longer for a turn is told to come back: its thread is wanted for others."""

CONSENT = (
    select(RunMember.consent, Member.max_examples, Device.revoked_at)
    .join(Member, Member.id == RunMember.member_id)
    .join(Device, Device.member_id == Member.id)
    .where(RunMember.run_id == bindparam("run"), Device.id == bindparam("device"))
)


def hand_in(store: Store, caller: Caller, run_id: str, number: int, request: UpdateRequest) -> UpdateAnswer:
    """Take an uploaded update for a round. The same update twice counts once.

    The bytes are looked at before anything is noted, and stored before the row that refers to them: a crash
    between the two leaves an upload that is handed in again.

    Raises:
        NotFound: no such run in the caller's federation, or no such upload of this device.
        Forbidden: the run was not planned with the member, or its owner has not consented.
        Conflict: another round, a round that takes nothing any more, or a second and different update.
        Unprocessable: the firewall refuses it; the update is kept aside with the reason.
        Unavailable: too many others hand in at the same time.
        TooMany: the firewall refused MOST_REFUSALS of this member's in this round already.
    """
    with _turn(), store.read() as session:
        try:
            run = session.get(Run, run_id)
            if run is None or run.federation_id != caller.federation_id:
                raise NotFound(f"there is no run {run_id}")
            state, max_examples = _open_round(session, caller, run, number)
            manifest = _manifest(store, run, state, max_examples)
        except Conflict:  # looked for after it, as another request may count the same update meanwhile
            if _counted(session, caller, run_id, number, request.sha256):
                store.settle()
                return UpdateAnswer(run=run_id, round=number, sha256=request.sha256, again=True)
            raise
        refusals.check_patience(session, caller, run_id, number)
    try:
        # The upload's lock before the turn: who waits for it keeps nobody else waiting.
        with uploads.taken(store, caller, request.upload_id, request.sha256) as path, _turn():
            return _taken_in(store, caller, run_id, number, request, path, manifest)
    except Gone:
        refusals.say_again(store, caller, run_id, number, request.sha256)
        raise


@contextmanager
def _turn() -> Iterator[None]:
    if not HANDING_IN.acquire(timeout=TURN_S):
        raise Unavailable("many updates are being looked at; hand it in again in a moment")
    try:
        yield
    finally:
        HANDING_IN.release()


def _taken_in(
    store: Store, caller: Caller, run_id: str, number: int, request: UpdateRequest, path: Path, manifest: Manifest
) -> UpdateAnswer:
    """Look at the file and count it, unless another request with the same upload did while this one waited."""
    answer = UpdateAnswer(run=run_id, round=number, sha256=request.sha256, again=False)
    with store.read() as session:
        counted = _counted(session, caller, run_id, number, request.sha256)
    if counted:
        store.settle()
        path.unlink(missing_ok=True)
        return answer.model_copy(update={"again": True})
    try:
        inspect(path, request.num_examples, manifest)
    except UpdateError as error:
        refusals.keep(store, caller, run_id, number, request.sha256, path, str(error))
        raise Unprocessable(str(error)) from None
    store.blobs.adopt(path, request.sha256)
    with store.begin() as session:
        run = locked_run(session, run_id)
        if _counted(session, caller, run_id, number, request.sha256):
            return answer.model_copy(update={"again": True})
        state, _ = _open_round(session, caller, run, number)
        _count(session, store, caller, run, state, request)
    return answer


def _open_round(session: Session, caller: Caller, run: Run, number: int) -> tuple[RunState, int]:
    """The run's state and the member's most examples, where the round takes an update of this member's now."""
    _, member = membership(caller)
    row = session.execute(CONSENT, {"run": run.id, "device": caller.id}).one_or_none()
    if row is None:
        raise Forbidden(f"run '{run.name}' was not planned with the member '{member}'")
    if row.revoked_at is not None:  # since the request came in
        raise Unauthorised("the device was revoked; ask the coordinator for a new join code")
    if row.consent != "accepted":
        raise Forbidden(f"the owner of '{member}' has not consented to run '{run.name}'")
    if run.status not in (Status.RUNNING, Status.PAUSED):
        raise Conflict(f"run '{run.name}' is {run.status} and takes no updates")
    state = state_of(session, run)
    if number != state.round or state.phase is not Phase.COLLECTING:
        raise Conflict(f"round {number} of run '{run.name}' takes no updates; round {state.round} is {state.phase}")
    if member not in state.selected:
        raise Conflict(f"the member '{member}' was not asked in round {number} of run '{run.name}'")
    if member in state.accepted:
        raise Conflict(f"the member '{member}' answered round {number} already, with other content")
    return state, row.max_examples


def _manifest(store: Store, run: Run, state: RunState, max_examples: int) -> Manifest:
    """What an update of this round must be like."""
    network = plan_of(run).network
    if state.model.adapter is not None:
        return _manifest_after(store.blobs, state.model.adapter, network.wire, network.max_norm_ratio, max_examples)
    prepared = run.prepared or {}
    return Manifest(
        tensors={name: (WIRE_DTYPES[network.wire], tuple(shape)) for name, shape in prepared["tensors"].items()},
        max_norm=network.max_norm_ratio * max(prepared["norm"], 1.0),
        max_examples=max_examples,
    )


@lru_cache(maxsize=64)
def _manifest_after(blobs: BlobStore, start: str, wire: str, max_norm_ratio: float, max_examples: int) -> Manifest:
    return manifest_of(blobs.get(start), wire, max_norm_ratio, max_examples)


def _counted(session: Session, caller: Caller, run_id: str, number: int, sha256: str) -> bool:
    receipt = session.get(Receipt, (run_id, number, caller.member_id))
    return receipt is not None and receipt.sha256 == sha256


def _count(session: Session, store: Store, caller: Caller, run: Run, state: RunState, request: UpdateRequest) -> None:
    member_id, member = membership(caller)
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
