"""What a member may be called: its name is the name of a folder on every machine, and a row in a run's table."""

from __future__ import annotations

import re

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.plan import ALONE, RESERVED_NAMES
from fedflow.server.database.people import Invitation
from fedflow.server.database.tables import JoinCode, Member
from fedflow.server.errors import Unprocessable

MEMBER = re.compile(r"(?![. ])[^/\\\x00-\x1f\x7f-\x9f]{1,80}")


def check(name: str) -> None:
    """Raise Unprocessable for what cannot be a member's name."""
    if not MEMBER.fullmatch(name):
        raise Unprocessable("member: give 1 to 80 letters without slashes, and no dot at the beginning")
    if name in RESERVED_NAMES or name.startswith(ALONE):
        raise Unprocessable(f"member: '{name}' is what a run's table calls one of its own rows; choose another name")


def is_there(session: Session, federation_id: str, name: str) -> bool:
    """Whether the federation has a member of that name, a removed one too."""
    known = select(Member.id).where(Member.federation_id == federation_id, Member.name == name)
    return session.scalar(known) is not None


def as_known(session: Session, federation_id: str, name: str) -> str:
    """The name as the federation has it already, of a member or of one that is still to come, where case alone differs.

    Two members that differ in nothing else would be one organisation counted twice.
    """
    of_members = select(Member.name).where(Member.federation_id == federation_id).order_by(Member.id)
    of_codes = select(JoinCode.member_name).where(JoinCode.federation_id == federation_id, JoinCode.used_at.is_(None))
    invited = select(Invitation.member_name).where(Invitation.federation_id == federation_id)
    known = [
        *session.scalars(of_members),
        *session.scalars(of_codes.order_by(JoinCode.created_at)),
        *session.scalars(invited.where(Invitation.used_at.is_(None)).order_by(Invitation.created_at)),
    ]
    alike = [each for each in known if each is not None and each.casefold() == name.casefold()]
    return name if name in alike or not alike else alike[0]
