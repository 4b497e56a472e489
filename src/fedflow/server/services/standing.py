"""Where a run stands, and for whom it waits: the facts that `explain` puts into words, and pages into the reader's."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.orm import Session

from fedflow.federation import rounds
from fedflow.federation.rounds import Phase, RunState, Status
from fedflow.plan import Plan
from fedflow.server.database.tables import Device, Job, Member, Refusal, Round, Run, RunMember, Upload
from fedflow.server.errors import NotFound
from fedflow.server.services.members import SEEN_S
from fedflow.server.services.run_rows import current_round, plan_of, rules_of, state_of
from fedflow.server.store import Sighting, Store

SENDING_S = 60.0
"""An upload that got no byte for so long is not under way."""

GIVES_UP = frozenset({"policy", "failed", "refused"})
"""Words of `protocol.Doing` that keep a member from answering in this round until somebody does something about it."""

MACHINES = (
    select(
        RunMember.run_id,
        Member.id,
        Member.name,
        RunMember.consent,
        Device.id,
        Device.seen_at,
        Device.doing,
        RunMember.num_examples,
        Member.max_examples,
    )
    .join(RunMember, RunMember.member_id == Member.id)
    .outerjoin(Device, and_(Device.member_id == Member.id, Device.revoked_at.is_(None)))
    .where(RunMember.run_id.in_(bindparam("runs", expanding=True)))
    .order_by(RunMember.position)
)
"""The members of runs with their devices."""

REFUSED = (
    select(Refusal.run_id, Refusal.member_id, Refusal.reason)
    .join(Run, and_(Run.id == Refusal.run_id, Run.round == Refusal.round))
    .where(Run.id.in_(bindparam("runs", expanding=True)))
    .order_by(Refusal.id)
)
"""What the rounds under way have refused."""

GONE = (
    select(Member.name, Member.removed_at)
    .join(RunMember, RunMember.member_id == Member.id)
    .where(RunMember.run_id == bindparam("run"))
    .where(or_(Member.removed_at.is_not(None), RunMember.consent == "declined"))
    .order_by(RunMember.position)
)
"""Those of a run's members that it goes without."""


@dataclass(frozen=True)
class Awaited:
    """A member that has not answered.

    `seen_s` is how long ago its device called last or a byte of its upload came, None where none has joined; `doing` a
    word of `protocol.Doing` about this run, or 'another' where it trains for another one; `refused` why its update was
    refused; `too_many` its pictures and how many it may claim, where it would consent with more; `sending` how many
    bytes of its update are here, and of how many, while they come.
    """

    member: str
    seen_s: float | None
    has_consented: bool
    doing: str | None
    refused: str | None
    too_many: tuple[int, int] | None = None
    sending: tuple[int, int] | None = None

    @property
    def is_offline(self) -> bool:
        """Whether its device has joined but calls no more: what it said last need not be so any longer."""
        return self.seen_s is not None and self.seen_s >= SEEN_S

    @property
    def gives_up(self) -> bool:
        """Whether it will not answer in this round by itself: its update was refused, or it goes without the round."""
        return self.refused is not None or self.doing in GIVES_UP


@dataclass(frozen=True)
class JobStanding:
    """A worker's job that the run waits for; `worker` is at it, or died at it where `died`; None waits for one."""

    worker: str | None
    died: bool
    attempts: int
    error: str | None


@dataclass(frozen=True)
class Collecting:
    """A round that takes updates.

    `left_s` is how long until its deadline and grace are over, `needed` how many updates it closes with then;
    `may_close` says that a coordinator can close it now, `is_complete` that nobody is missing. `gone` are members that
    it goes without, each with whether it was removed or has declined; `spare` so many more could be removed.
    """

    opened_s: float
    left_s: float
    deadline_s: float
    needed: int
    may_close: bool
    is_complete: bool
    gone: tuple[tuple[str, bool], ...]
    spare: int

    @property
    def declined(self) -> tuple[str, ...]:
        """Members that have declined, and that can be asked again."""
        return tuple(name for name, removed in self.gone if not removed)


@dataclass(frozen=True)
class Standing:
    """A run as it stands now. Durations count back from now; `job` and `collecting` are there where they matter."""

    run: str
    name: str
    status: Status
    message: str
    round: int
    rounds: int
    phase: Phase | None = None
    accepted: int = 0
    selected: int = 0
    since_s: float | None = None
    waits: tuple[Awaited, ...] = ()
    job: JobStanding | None = None
    collecting: Collecting | None = None

    @property
    def is_stuck(self) -> bool:
        """Whether its round cannot close until somebody does something about it, however long it waits."""
        round_ = self.collecting
        return round_ is not None and not round_.is_complete and cannot_close(self.accepted, self.waits, round_.needed)

    @property
    def lost(self) -> tuple[str, ...]:
        """Whom it waits for and who will not answer in this round by themselves."""
        return tuple(each.member for each in self.waits if each.gives_up)

    @property
    def may_go_without(self) -> bool:
        """Whether there are some of these, and enough others for a round once they are removed."""
        return self.collecting is not None and 0 < len(self.lost) <= self.collecting.spare


def cannot_close(accepted: int, waits: Iterable[Awaited], needed: int) -> bool:
    """Whether too few updates are in or may still come by themselves for a round that closes with `needed`."""
    return accepted + sum(not each.gives_up for each in waits) < needed


def needed(plan: Plan, state: RunState) -> int:
    """How many updates a round closes with at its deadline."""
    return max(plan.network.quorum or rounds.enough(state, rules_of(plan)), plan.least_updates)


def standing(store: Store, run_id: str) -> Standing:
    """Where the run stands. Raises NotFound where there is no such run."""
    with store.read() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        return standing_of(session, store, run, store.clock())


def standing_of(session: Session, store: Store, run: Run, now: float) -> Standing:
    """The same, in the caller's transaction. `since_s` is of the pause, or of the round's closing."""
    status, plan = Status(run.status), plan_of(run)
    head = (run.id, run.name, status, run.message, run.round, plan.rounds)
    if status is Status.PREPARING:
        return Standing(*head, job=_job(session, run, "prepare", now))
    if status not in (Status.RUNNING, Status.PAUSED):
        return Standing(*head)
    state, row = state_of(session, run), current_round(session, run)
    there = (state.phase, len(state.accepted), len(state.selected))
    if state.phase is Phase.AGGREGATING:
        return Standing(*head, *there, _since(row.closed_at, now), job=_job(session, run, "aggregate", now))
    waits = awaited(session, store, {run.id: rounds.missing(state)}, now)[run.id]
    if status is Status.PAUSED:
        return Standing(*head, *there, _since(run.paused_at, now), waits)
    return Standing(*head, *there, None, waits, collecting=_collecting(session, run, plan, row, state, now))


def _collecting(session: Session, run: Run, plan: Plan, row: Round, state: RunState, now: float) -> Collecting:
    rules, network = rules_of(plan), plan.network
    gone = tuple((name, at is not None) for name, at in session.execute(GONE, {"run": run.id}))
    return Collecting(
        opened_s=max(0.0, now - row.opened_at),
        left_s=max(0.0, row.deadline_at + network.grace_s - now),
        deadline_s=network.deadline_s,
        needed=needed(plan, state),
        may_close=len(state.accepted) >= plan.least_updates,
        is_complete=rounds.may_close(state, rules, deadline_passed=False),
        gone=gone,
        spare=len(plan.data.clients) - len(gone) - plan.least_updates,
    )


def awaited(
    session: Session, store: Store, late: Mapping[str, Iterable[str]], now: float
) -> dict[str, tuple[Awaited, ...]]:
    """Of each run those of its members whose names are `late`, in the federation's order."""
    runs = {"runs": list(late)}
    refused = {(run, member_id): reason for run, member_id, reason in session.execute(REFUSED, runs)}
    sends = sending(session, list(late), now)
    found: dict[str, dict[str, Awaited]] = {run: {} for run in late}
    names = {run: set(each) for run, each in late.items()}
    for run, member_id, name, consent, device, at, doing, count, most in session.execute(MACHINES, runs):
        if name not in names[run]:
            continue
        seen = None if device is None else store.sightings.newest(device, Sighting(at, doing))
        upload = sends.get((run, member_id))
        its = Awaited(
            member=name,
            seen_s=newer(
                None if seen is None else max(0.0, now - seen.at),
                None if upload is None else max(0.0, now - upload.touched_at),
            ),
            has_consented=consent == "accepted",
            doing=None if seen is None else _doing(run, seen.doing),
            refused=refused.get((run, member_id)),
            too_many=(count, most) if consent == "asked" and count is not None and count > most else None,
            sending=None if upload is None else (upload.offset_bytes, upload.length_bytes),
        )
        other = found[run].setdefault(member_id, its)
        if its.seen_s is not None and other.seen_s is not None and its.seen_s < other.seen_s:
            found[run][member_id] = its  # of several devices the one that called last
    return {run: tuple(each.values()) for run, each in found.items()}


def sending(session: Session, run_ids: Collection[str], now: float) -> dict[tuple[str, str], Upload]:
    """Uploads under way for these runs, the newest of each member, by run and member."""
    query = (
        select(RunMember.run_id, Device.member_id, Upload)
        .join(Device, Device.id == Upload.device_id)
        .join(RunMember, RunMember.member_id == Device.member_id)
        .where(RunMember.run_id.in_(run_ids), Upload.sha256.is_(None), Upload.touched_at > now - SENDING_S)
        .order_by(Upload.touched_at)
    )
    found = session.execute(query)
    return {(run_id, member_id): upload for run_id, member_id, upload in found if _may_be_for(upload, run_id)}


def _may_be_for(upload: Upload, run_id: str) -> bool:
    """Whether the sender says so in the upload's metadata, or does not say for which run it is."""
    named = [part.split() for part in upload.upload_metadata.split(",")]
    runs = [part[1] for part in named if part[:1] == ["run"] and len(part) > 1]
    return not runs or runs == [b64encode(run_id.encode()).decode()]


def newer(seen_s: float | None, byte_s: float | None) -> float | None:
    """How long ago something was heard: a call, or a byte of what is being sent, which no call tells of."""
    return seen_s if seen_s is None or byte_s is None else min(seen_s, byte_s)


def _doing(run: str, told: dict[str, str]) -> str | None:
    return told.get(run) or ("another" if "training" in told.values() else None)


def _job(session: Session, run: Run, kind: str, now: float) -> JobStanding | None:
    job = session.scalar(select(Job).where(Job.run_id == run.id, Job.kind == kind, Job.round == run.round))
    if job is None:
        return None
    at_work = job.status == "running" and job.leased_until is not None and job.leased_until > now
    died = job.status == "running" and not at_work and job.worker is not None
    return JobStanding(job.worker if at_work or died else None, died, job.attempts, job.error)


def _since(at: float | None, now: float) -> float | None:
    return None if at is None else max(0.0, now - at)
