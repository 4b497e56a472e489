"""What a member may be called: its name is the name of a folder on every machine, and a row in a run's table."""

from __future__ import annotations

import re

from fedflow.plan import ALONE, RESERVED_NAMES
from fedflow.server.errors import Unprocessable

MEMBER = re.compile(r"(?![. ])[^/\\\x00-\x1f\x7f-\x9f]{1,80}")


def check(name: str) -> None:
    """Raise Unprocessable for what cannot be a member's name."""
    if not MEMBER.fullmatch(name):
        raise Unprocessable("member: give 1 to 80 letters without slashes, and no dot at the beginning")
    if name in RESERVED_NAMES or name.startswith(ALONE):
        raise Unprocessable(f"member: '{name}' is what a run's table calls one of its own rows; choose another name")
