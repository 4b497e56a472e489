"""Identifiers of everything that the server keeps."""

from __future__ import annotations

import re

import uuid_utils

IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ID_LENGTH = 36


def new_id() -> str:
    """A UUIDv7 as text: unique without asking anybody, and sorted by the time it was made."""
    return str(uuid_utils.uuid7())


def kept_id(sent: str) -> str:
    """What a form brings back, so that it counts once however often it is sent; a new one where that is none."""
    return sent if IDENTIFIER.fullmatch(sent) else new_id()
