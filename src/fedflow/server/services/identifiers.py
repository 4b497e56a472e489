"""Identifiers of everything that the server keeps."""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    """A UUIDv7 as text: unique without asking anybody, and sorted by the time it was made."""
    return str(uuid_utils.uuid7())
