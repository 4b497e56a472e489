"""What this machine is called where its owner says nothing else."""

from __future__ import annotations

import socket

LONGEST = 80
UNNAMED = "device"


def machine_name() -> str:
    """The first part of this machine's host name, in letters that every terminal shows."""
    host = socket.gethostname().partition(".")[0]
    return "".join(letter for letter in host if letter.isprintable())[:LONGEST].strip() or UNNAMED
