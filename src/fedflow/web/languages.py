"""Which language a page speaks, and where its texts are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from flask import Flask, has_request_context, request
from flask_babel import Babel, Domain

LANGUAGES = {"en": "English", "uk": "Українська"}
"""What the pages are written in, each named in itself."""

COOKIE = "fedflow_language"
TRANSLATIONS = Path(__file__).parent / "translations"


class KeptBabel(Babel):  # type: ignore[misc]
    """Flask-Babel that reads a catalogue once. 4.0.0 makes a domain with an empty cache for every request."""

    def __init__(self, app: Flask, folders: Sequence[Path], selector: Callable[[], str]) -> None:
        self._kept = Domain([str(folder) for folder in folders])
        super().__init__(app, locale_selector=selector)

    @property
    def domain_instance(self) -> Domain:
        """The one domain of all requests."""
        return self._kept


def set_up(app: Flask, translations: Sequence[Path], language_of_person: Callable[[], str | None]) -> None:
    """Let `app` speak the reader's language, with the kit's texts and those of the folders `translations`."""

    def choose() -> str:
        if not has_request_context():
            return "en"
        for wanted in (request.cookies.get(COOKIE), language_of_person()):
            if wanted in LANGUAGES:
                return wanted
        return request.accept_languages.best_match(LANGUAGES) or "en"

    KeptBabel(app, (TRANSLATIONS, *translations), choose)
