"""What our own code says in English, and what pages say of it in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache

from flask_babel import LazyString

from fedflow.web.amounts import number

PLACE = re.compile(r"\{\w+\}")
NAMED_FIRST = re.compile(r"^\\\{(\w+)\\\}(?=:\\ )")
ESCAPED_PLACE = re.compile(r"\\\{(\w+)\\\}")

AMOUNT = re.compile(r"\d{1,15}(\.\d{1,9})?")
AMOUNTS = frozenset({"count", "large", "least", "limit", "more", "most", "size"})
"""Places for a number, which stands there as the reader writes it: in others digits may be a name or a version."""

PLACED = re.compile(r"\S*[./]\S*|.*\.\w{1,12}")
"""What names a file or an address; a file's name may hold blanks."""

KEPT = 2000
"""Sentences of which it is known which words they have."""

LONGEST = 1000
"""Letters of a sentence that are looked at and shown: a library's error may have pages of them."""

REASON, PROBLEM = "reason", "problem"
DEEPEST = 4
"""Sentences within sentences that are looked up: what a server says may have more."""


class Phrases:
    """A catalogue: sentences of the code with {places} for their values, and the pages' words with %(places)s for them.

    One that is written out counts before one with places, and of several with places that which fixes most letters.
    A place called {reason} or {problem} holds a sentence of the catalogue again: the first is said as a sentence, the
    other stands as it is written. `value` gives what stands in any other place in the reader's language.
    """

    def __init__(
        self, sentences: Mapping[str, str | LazyString], value: Callable[[str], str] = lambda text: text
    ) -> None:
        self._value = value
        self._known = [
            (_pattern(known), words) for known, words in sorted(sentences.items(), key=lambda pair: _how_vague(pair[0]))
        ]
        self._match = lru_cache(KEPT)(self._first_match)  # there are hundreds, and a page says the same ones again

    def words(self, text: str) -> str | LazyString | None:
        """The words that stand for a sentence, with their places; None where nobody wrote any."""
        found = self._match(text)
        return None if found is None else found[0]

    def reason(self, text: str, depth: int = 0) -> str:
        """A sentence's words with its values, as they are written; the sentence itself where nobody wrote any."""
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]}…"
        found = self._match(text)
        if found is None:
            return text
        words, places = found
        values = {name: self._said_there(name, value, depth) for name, value in places.items()}
        return str(words) % values if values else str(words)

    def said(self, text: str) -> str:
        """The same as a sentence of a page."""
        return sentence(self.reason(text))

    def _first_match(self, text: str) -> tuple[str | LazyString, dict[str, str]] | None:
        """The words for a sentence, and what stands in its places."""
        for known, words in self._known:
            if (match := known.fullmatch(text)) is not None:
                return words, match.groupdict()
        return None

    def _said_there(self, name: str, text: str, depth: int) -> str:
        if name not in (REASON, PROBLEM):
            is_amount = name in AMOUNTS and AMOUNT.fullmatch(text)
            return number(float(text) if "." in text else int(text)) if is_amount else self._value(text)
        within = self.reason(text, depth + 1) if depth < DEEPEST else text
        return sentence(within) if name == REASON else within


def sentence(text: str) -> str:
    """A reason as a sentence of a page. The name of a file or an address at its start stays as it is."""
    name, colon, _ = text.partition(": ")
    begins = text[:1] if colon and PLACED.fullmatch(name) else text[:1].upper()
    return begins + text[1:] + ("" if text.endswith((".", "…")) else ".")


def _pattern(known: str) -> re.Pattern[str]:
    """A file or the like that is named first ends at the first colon; any other place holds whatever fits."""
    first = NAMED_FIRST.sub(r"(?P<\1>(?:(?!: ).)+)", re.escape(known))
    return re.compile(ESCAPED_PLACE.sub(r"(?P<\1>.+?)", first), re.DOTALL)


def _how_vague(known: str) -> tuple[bool, int]:
    """Orders the exact sentences first, then those that fix the most letters: the others would match theirs too."""
    return PLACE.search(known) is not None, -len(PLACE.sub("", known))
