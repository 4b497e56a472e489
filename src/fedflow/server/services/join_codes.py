"""Join codes of a federation: made for one device of a member, listed while they are open, and withdrawn."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select

from fedflow.server.database.tables import JoinCode
from fedflow.server.errors import NotFound
from fedflow.server.services import audit, devices, member_names, policies
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.store import Store

HOUR_S = 3600.0
MOST_OPEN = 200


@dataclass(frozen=True)
class MadeCode:
    """A code as it is told once."""

    code: str
    expires_in_s: float
    member: str


@dataclass(frozen=True)
class OpenCode:
    """A code that nobody has used. `id` is its text's hash, of which 80 bits of chance are not found back."""

    id: str
    member: str
    max_examples: int
    created_at: float
    expires_at: float


def make(
    store: Store,
    federation_id: str,
    member: str,
    max_examples: int | None,
    *,
    longest_s: float,
    by: Caller = SERVER,
    form: str | None = None,
) -> MadeCode:
    """A code for one device of `member`. It holds for `longest_s`, or less where the federation's rules say so.

    member: its name; where one of a name that looks the same but for case is there, it is that one.
    max_examples, form: as `devices.new_code`.
    Raises NotFound where there is no such federation, Conflict where it is closed, Unprocessable for what cannot be a
    member's name, AlreadyMade.
    """
    with store.read() as session:
        member = member_names.called(session, federation_id, member)
    hours = policies.read(store, federation_id).members.join_code_life_hours
    life_s = longest_s if hours is None else min(longest_s, hours * HOUR_S)
    code = devices.new_code(store, federation_id, member, max_examples, ttl_s=life_s, by=by, form=form)
    return MadeCode(code, life_s, member)


def open_codes(store: Store, federation_id: str) -> list[OpenCode]:
    """The federation's codes that nobody has used and that still hold, newest first."""
    query = (
        select(JoinCode)
        .where(JoinCode.federation_id == federation_id, JoinCode.used_at.is_(None))
        .where(JoinCode.expires_at > store.clock())
        .order_by(JoinCode.created_at.desc(), JoinCode.hash)
        .limit(MOST_OPEN)
    )
    with store.read() as session:
        return [
            OpenCode(row.hash, row.member_name, row.max_examples, row.created_at, row.expires_at)
            for row in session.scalars(query)
        ]


def withdraw(store: Store, federation_id: str, code_id: str, by: Caller = SERVER) -> None:
    """Make an unused code worth nothing. Raises NotFound, for a code that was used too."""
    mine = (JoinCode.hash == code_id, JoinCode.federation_id == federation_id, JoinCode.used_at.is_(None))
    with store.begin() as session:
        member = session.scalar(delete(JoinCode).where(*mine).returning(JoinCode.member_name))
        if member is None:
            raise NotFound("there is no such join code, or it was used")
        audit.record(session, store, by, "join code withdrawn", "member", member, federation_id, member=member)
