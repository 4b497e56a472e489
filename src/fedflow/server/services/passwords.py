"""Passwords: what is taken for one, how it is kept, and how it is checked."""

from __future__ import annotations

import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fedflow import passwords
from fedflow.passwords import MOST
from fedflow.server.errors import Unprocessable

# argon2id with the first choice of OWASP's cheat sheet: 19 MiB, two passes. Two at a time, as each takes that memory.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
AT_WORK = threading.Semaphore(2)
NOBODYS = HASHER.hash("nobody has this password")
"""What an unknown address's password is compared with, so that it takes as long as a known one's."""


def hashed(password: str) -> str:
    """What is kept of a password."""
    with AT_WORK:
        return HASHER.hash(_normal(password))


def is_right(password: str, kept: str | None) -> bool:
    """Whether it is the password that `kept` was made of; as slow where there is none."""
    try:
        with AT_WORK:
            return HASHER.verify(kept or NOBODYS, _normal(password)[: 4 * MOST]) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(kept: str) -> bool:
    """Whether it was made with less effort than is taken today."""
    return HASHER.check_needs_rehash(kept)


def too_short(password: str) -> Unprocessable:
    """The error for a password of fewer letters than are needed."""
    return Unprocessable(f"password: {passwords.too_short(password)}")


def check(password: str, *about: str) -> None:
    """Raise Unprocessable, with what to do, for a password that is too short, or easily guessed.

    `about` is what others know of the person: name, address.
    """
    if (why := passwords.weakness(password, *about)) is not None:
        raise Unprocessable(f"password: {why}")


def _normal(password: str) -> str:
    """The same text, however a keyboard composes its letters."""
    return unicodedata.normalize("NFKC", password)
