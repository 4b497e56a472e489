"""Which passwords are taken, by the server for its people and by the app that listens beyond its own machine."""

from __future__ import annotations

FEWEST, MOST = 12, 200
LEAST_SCORE = 3
"""zxcvbn's 'safely unguessable: moderate protection from an offline attack on a slow hash'."""

LOOKED_AT = 72
"""Characters that zxcvbn is given: its time grows with the square of them."""


def weakness(password: str, *about: str) -> str | None:
    """Why a password is not taken, with what would be; None where it is.

    `about` is what others know of whom it lets in: name, address.
    """
    from zxcvbn import zxcvbn  # noqa: PLC0415 - lists of words that few requests need

    if len(password) < FEWEST:
        return too_short(password)
    if len(password) > MOST:
        return f"has {len(password)} characters; take at most {MOST}"
    known = [part for text in about for part in (text, *text.replace("@", " ").replace(".", " ").split()) if part]
    if zxcvbn(password[:LOOKED_AT], user_inputs=known)["score"] < LEAST_SCORE:
        return "is easily guessed; take a longer one, such as four or five unusual words"
    return None


def too_short(password: str) -> str:
    """What is said of a password of fewer letters than are needed."""
    return f"has {len(password)} characters; take at least {FEWEST}"
