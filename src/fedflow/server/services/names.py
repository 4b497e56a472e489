"""What can be a name that people read, of whatever: an account, a federation, one of its members."""

from __future__ import annotations

import re

UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
"""Fillers and selectors of variants: for Python they can be printed, and nobody sees them."""


def is_shown(name: str) -> bool:
    """Whether all of it is seen, in one line, in the order that its letters have: nothing in it turns the direction."""
    return name.isprintable() and not name.isspace() and UNSEEN.search(name) is None
