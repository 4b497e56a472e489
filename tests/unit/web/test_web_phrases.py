"""A sentence of the code finds its words, the most exact ones, with its values."""

from __future__ import annotations

from flask import Flask
from flask_babel import Babel, force_locale

from fedflow.web.phrases import LONGEST, Phrases, sentence

KNOWN = Phrases(
    {
        "{file}: {why}": "%(file)s has a fault: %(why)s",
        "{file}: is damaged; {way_out}": "“%(file)s” is damaged. Fetch it again.",
        "{file}: is damaged; fetch it": "Fetch it.",
        "the disk is full": "no room is left",
        "round {round}: 100% of {names}": "round %(round)s: all of %(names)s",
        "now: it waits, as {reason}": "It waits. %(reason)s",
        "it waits: {problem}": "It waits: %(problem)s",
    },
    value=lambda text: {"all": "everybody"}.get(text, text),
)


def test_the_words_that_fix_most_letters_count() -> None:
    assert KNOWN.said("a.png: is damaged; mend it") == "“a.png” is damaged. Fetch it again."
    assert KNOWN.said("a.png: is damaged; fetch it") == "Fetch it."
    assert KNOWN.said("a.png: is\nodd") == "A.png has a fault: is\nodd."
    assert KNOWN.words("a.png: is damaged; mend it") == "“%(file)s” is damaged. Fetch it again."


def test_amounts_stand_there_as_the_reader_writes_them_and_names_as_they_are() -> None:
    known = Phrases({"{file}: grows from {size} MB to {large} MB": "%(file)s: %(size)s – %(large)s"})
    app = Flask("told")
    Babel(app)
    with app.app_context(), force_locale("uk"):
        assert known.reason("2024.5: grows from 0.3 MB to 12000 MB") == "2024.5: 0,3 – 12\u00a0000"
        assert known.reason("a: grows from none MB to 1e9 MB") == "a: none – 1e9"


def test_a_reason_is_as_it_is_written_and_said_as_a_sentence() -> None:
    assert KNOWN.reason("the disk is full") == "no room is left"
    assert KNOWN.said("the disk is full") == "No room is left."
    for text in ("latin.png: its caption is odd", "my cat.jpeg: is odd", "a/b: is odd", "https://x.example: is away"):
        assert sentence(text) == f"{text}.", "a name is another one with a large letter"
    assert sentence("odd: 1.5 or more") == "Odd: 1.5 or more."


def test_a_sentence_within_another_is_said_too() -> None:
    assert KNOWN.said("now: it waits, as the disk is full") == "It waits. No room is left."
    assert KNOWN.said("now: it waits, as a.png: is damaged; mend it") == "It waits. “a.png” is damaged. Fetch it again."
    assert KNOWN.said("it waits: the disk is full") == "It waits: no room is left."
    assert KNOWN.said("now: it waits, as it rains") == "It waits. It rains."
    assert KNOWN.said("it waits: " * 99).startswith("It waits: It waits: ")


def test_values_are_told_in_the_readers_words_and_may_hold_any_character() -> None:
    assert KNOWN.reason("round 3: 100% of all") == "round 3: all of everybody"
    assert KNOWN.reason("round 3: 100% of a (b) %s {c}") == "round 3: all of a (b) %s {c}"


def test_what_nobody_wrote_words_for_stays_and_is_cut() -> None:
    assert KNOWN.words("nobody knows this") is None
    assert KNOWN.said("nobody knows this") == "Nobody knows this."
    assert KNOWN.said("") == "."
    long = "x" * (LONGEST + 1)
    assert KNOWN.reason(long) == f"{long[:LONGEST]}…"
    assert KNOWN.said(long).endswith("x…")
