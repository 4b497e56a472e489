"""Which language the page speaks that is being made."""

from __future__ import annotations

from babel import Locale
from flask import g, has_app_context
from flask_babel import get_locale

ELSEWHERE = "en"
"""Outside of a request."""


def locale() -> Locale | None:
    """The reader's; None outside of a request and an app's context.

    As Flask-Babel's `get_locale`, which finds out five times over whether there is a request: a page asks for hundreds
    of texts and figures.
    """
    if not has_app_context():
        return None
    kept: Locale | None = getattr(g.get("_flask_babel"), "babel_locale", None) or get_locale()
    return kept


def language() -> str:
    """The reader's language as 'en' or 'uk'."""
    found = locale()
    return ELSEWHERE if found is None else str(found.language)
