"""What is said at a terminal where memory does not suffice."""

from __future__ import annotations

from fedflow.errors import RunError


def lacks(way_out: str) -> RunError:
    """The error that names what would fit, as options of the command."""
    return RunError(f"the machine's memory does not suffice; {way_out}, or close other programs")
