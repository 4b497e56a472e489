"""What a person sees first: their federations with the newest runs of each, and what waits for them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import func, select

from fedflow.federation.rounds import Status
from fedflow.server.database.tables import Federation, Member, Run, RunMember
from fedflow.server.services.roles import Belonging, is_at_least
from fedflow.server.store import Store

RUNS_EACH = 3
MOST_WAITING = 20


@dataclass(frozen=True)
class RunLine:
    """A run in one line; `rounds` is how many its plan has."""

    id: str
    federation_id: str
    federation: str
    name: str
    status: Status
    round: int
    rounds: int
    message: str
    created_at: float


@dataclass(frozen=True)
class Asked:
    """A run that wants the consent of the member that the person acts for."""

    run: RunLine
    member: str


def newest_runs(store: Store, federation_ids: Collection[str]) -> dict[str, list[RunLine]]:
    """The newest runs of each federation, newest first."""
    place = func.row_number().over(partition_by=Run.federation_id, order_by=Run.id.desc()).label("place")
    ranked = select(Run.id, place).where(Run.federation_id.in_(federation_ids)).subquery()
    query = _LINES.join(ranked, ranked.c.id == Run.id).where(ranked.c.place <= RUNS_EACH).order_by(Run.id.desc())
    found: dict[str, list[RunLine]] = {}
    with store.read() as session:
        for row in session.execute(query):
            line = _line(*row)
            found.setdefault(line.federation_id, []).append(line)
    return found


def members_of(store: Store, federation_ids: Collection[str]) -> dict[str, int]:
    """How many members each federation has, where it has any."""
    query = (
        select(Member.federation_id, func.count())
        .where(Member.federation_id.in_(federation_ids), Member.removed_at.is_(None))
        .group_by(Member.federation_id)
    )
    with store.read() as session:
        return dict(session.execute(query).all())


def stuck_runs(store: Store, belongings: Collection[Belonging]) -> list[RunLine]:
    """Runs that go on only when the person says so: failed or paused, where they are a coordinator; newest first."""
    theirs = [each.federation_id for each in belongings if is_at_least(each.role, "coordinator")]
    stuck = Run.status.in_((Status.FAILED, Status.PAUSED))
    query = _LINES.where(Run.federation_id.in_(theirs), stuck).order_by(Run.id.desc()).limit(MOST_WAITING)
    with store.read() as session:
        return [_line(*row) for row in session.execute(query)]


def asked(store: Store, belongings: Collection[Belonging]) -> list[Asked]:
    """Runs that want the consent of a member that the person acts for; newest first."""
    theirs = [each.member_id for each in belongings if each.member_id is not None]
    query = (
        _LINES.add_columns(Member.name)
        .join(RunMember, RunMember.run_id == Run.id)
        .join(Member, Member.id == RunMember.member_id)
        .where(RunMember.member_id.in_(theirs), RunMember.consent == "asked", Run.round > 0)
        .where(Run.status.in_((Status.RUNNING, Status.PAUSED)))
        .order_by(Run.id.desc())
        .limit(MOST_WAITING)
    )
    with store.read() as session:
        return [Asked(_line(*line), member) for *line, member in session.execute(query)]


_LINES = select(
    Run.id,
    Run.federation_id,
    Federation.name,
    Run.name,
    Run.status,
    Run.round,
    Run.plan["rounds"].as_integer(),
    Run.message,
    Run.created_at,
).join(Federation, Federation.id == Run.federation_id)


def _line(*columns: object) -> RunLine:
    identifier, federation_id, federation, name, status, number, rounds, message, created_at = columns
    return RunLine(
        str(identifier),
        str(federation_id),
        str(federation),
        str(name),
        Status(str(status)),
        int(str(number)),
        int(str(rounds)),
        str(message),
        float(str(created_at)),
    )
