"""Which language a page speaks, and where its texts are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from gettext import NullTranslations
from pathlib import Path

from flask import Flask, has_request_context, request
from flask_babel import Babel, Domain
from jinja2 import pass_eval_context
from jinja2.nodes import EvalContext
from markupsafe import Markup

from fedflow.web import present
from fedflow.web.amounts import number

LANGUAGES = {"en": "English", "uk": "Українська"}
"""What the pages are written in, each named in itself."""

COOKIE = "fedflow_language"
TRANSLATIONS = Path(__file__).parent / "translations"


class KeptDomain(Domain):  # type: ignore[misc]
    """Texts of a locale, found with one look at the request: a page asks for hundreds."""

    def __init__(self, folders: Sequence[Path]) -> None:
        super().__init__([str(folder) for folder in folders])
        self._of: dict[str, NullTranslations] = {}

    def ngettext(self, singular: str, plural: str, num: int, **variables: object) -> str:
        """As Flask-Babel's; the number stands there as the reader writes it."""
        return str(self.get_translations().ngettext(singular, plural, num)) % {"num": number(num), **variables}

    def get_translations(self) -> NullTranslations:
        """Those of the present locale; none outside of a request and an app's context."""
        locale = present.locale()
        if locale is None:
            return NullTranslations()
        language: str = locale.language  # a whole locale takes long to compare, and there is one of each language
        found = self._of.get(language)
        if found is None:
            found = self._of[language] = super().get_translations()
        return found


class KeptBabel(Babel):  # type: ignore[misc]
    """Flask-Babel that reads a catalogue once. 4.0.0 makes a domain with an empty cache for every request."""

    def __init__(self, app: Flask, folders: Sequence[Path], selector: Callable[[], str]) -> None:
        self._kept = KeptDomain(folders)
        super().__init__(app, locale_selector=selector)
        app.jinja_env.install_gettext_callables(  # type: ignore[attr-defined]
            gettext=self._kept.gettext,
            ngettext=lambda one, many, count: self._kept.get_translations().ngettext(one, many, count),
            newstyle=True,
            pgettext=lambda context, text: self._kept.get_translations().pgettext(context, text),
            npgettext=lambda context, one, many, count: self._kept.get_translations().npgettext(
                context, one, many, count
            ),
        )
        app.jinja_env.globals["_"] = self._in_template
        app.jinja_env.globals["ngettext"] = self._of_many_in_template

    @pass_eval_context
    def _in_template(self, context: EvalContext, text: str, /, **variables: object) -> str:
        """As Jinja's own, which is found by a name and asks for the present request twice."""
        found = self._kept.gettext(text)
        return (Markup(found) if context.autoescape else found) % variables  # noqa: S704 - a text of our own

    @pass_eval_context
    def _of_many_in_template(
        self, context: EvalContext, one: str, many: str, count: int, /, **variables: object
    ) -> str:
        """As Jinja's own; the number stands there as the reader writes it."""
        found = self._kept.get_translations().ngettext(one, many, count)
        return (Markup(found) if context.autoescape else found) % {"num": number(count), **variables}  # noqa: S704

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
