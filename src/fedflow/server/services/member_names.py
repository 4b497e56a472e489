"""What a member may be called: its name is the name of a folder on every machine, and a row in a run's table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedflow.plan import ALONE, RESERVED_NAMES, Plan
from fedflow.server.database.people import Invitation
from fedflow.server.database.tables import JoinCode, Member
from fedflow.server.errors import Unprocessable
from fedflow.server.services.names import is_shown

MEMBER = re.compile(r"(?![. ])[^/\\\x00-\x1f\x7f-\x9f]{1,80}")


def check(name: str) -> None:
    """Raise Unprocessable for what cannot be a new member's name."""
    if not MEMBER.fullmatch(name):
        raise Unprocessable("member: give 1 to 80 letters without slashes, and no dot at the beginning")
    if not is_shown(name):
        raise Unprocessable("member: leave out characters that nobody sees, and those that turn the text's direction")
    if name in RESERVED_NAMES or name.startswith(ALONE):
        raise Unprocessable(f"member: '{name}' is what a run's table calls one of its own rows; choose another name")


def is_there(session: Session, federation_id: str, name: str) -> bool:
    """Whether the federation has a member of that name, a removed one too."""
    known = select(Member.id).where(Member.federation_id == federation_id, Member.name == name)
    return session.scalar(known) is not None


def called(session: Session, federation_id: str, given: str) -> str:
    """What the member is called whose name is given: as the federation has it already, of a member or of one to come.

    Two members that differ in case alone, or in how their letters are composed, would be one organisation counted
    twice. A new name is composed (NFC). One that is there is taken as it is, whatever is asked of new ones.
    Raises Unprocessable for what cannot be a new member's name.
    """
    of_members = select(Member.name).where(Member.federation_id == federation_id).order_by(Member.id)
    of_codes = select(JoinCode.member_name).where(JoinCode.federation_id == federation_id, JoinCode.used_at.is_(None))
    invited = select(Invitation.member_name).where(Invitation.federation_id == federation_id)
    known = [
        *session.scalars(of_members),
        *session.scalars(of_codes.order_by(JoinCode.created_at)),
        *session.scalars(invited.where(Invitation.used_at.is_(None)).order_by(Invitation.created_at)),
    ]
    if given in known:
        return given
    composed = _composed(given)  # of more letters for some
    check(composed)
    same = [each for each in known if each is not None and is_alike(each, composed)]
    return same[0] if same else composed


def is_alike(name: str, other: str) -> bool:
    """Whether two names look the same but for case."""
    return _seen(name) == _seen(other)


def in_plan(planned: Plan, known: Collection[str]) -> Plan:
    """The plan with its clients called as members of the federation are, however their letters are composed."""
    members = {_composed(name): name for name in known}
    given = planned.data.clients
    clients = tuple(name if name in known else members.get(_composed(name), name) for name in given)
    if len(set(clients)) < len(clients):
        return planned
    return planned.model_copy(update={"data": planned.data.model_copy(update={"clients": clients})})


def _composed(name: str) -> str:
    """The name with its letters composed: a file system may have taken a letter and its accent apart."""
    return unicodedata.normalize("NFC", name)


def _seen(name: str) -> str:
    """What two names have in common that look the same: those of before there was a rule may hold what nobody sees."""
    shown = "".join(letter for letter in _composed(name) if is_shown(letter) or letter == " ")
    return _composed(" ".join(shown.split()).casefold())
