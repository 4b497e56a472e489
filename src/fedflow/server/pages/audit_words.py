"""An entry of the audit log in the reader's words: what it speaks of, and what was noted with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from flask import url_for
from flask_babel import LazyString, gettext, lazy_gettext

from fedflow.server.database.people import AuditEntry
from fedflow.server.pages import agents, plan_words
from fedflow.server.pages.faults import said
from fedflow.server.pages.policies import labels
from fedflow.server.pages.system import JOBS
from fedflow.server.pages.words import (
    ACTIONS,
    FACTS,
    KINDS,
    LAYOUTS,
    LETTER_KINDS,
    ROLES,
    SCOPES,
    SOURCES,
    VISIBILITIES,
)
from fedflow.server.services.audit_objects import Object
from fedflow.web import amounts

SHOWN_DIGITS = 12
SHA256 = re.compile(r"[0-9a-f]{64}")
OF_A_CLOSED_ACCOUNT = 6

WORDS: dict[str, Mapping[str, LazyString]] = {
    "role": ROLES,
    "scopes": SCOPES,
    "visibility": VISIBILITIES,
    "kind": {**KINDS, **JOBS},
    "letter": LETTER_KINDS,
    "source": SOURCES,
    "layout": {name: word for name, (word, _) in LAYOUTS.items()},
    "what": ACTIONS,
    "format": {"csv": lazy_gettext("CSV"), "jsonl": lazy_gettext("JSON lines")},
    "allowed_methods": plan_words.CHOICES["method"],
}
"""Facts whose values pages call otherwise."""

SHOWN_AS: dict[str, Callable[[str], str]] = {
    "agent": agents.named,
    "reason": said,
    "seconds": lambda text: amounts.duration(float(text)),
}
"""Facts whose values are put into words by a function."""

NAMED_BY: dict[str, str] = {
    "member": "member",
    "device": "device",
    **dict.fromkeys(("run", "federation", "model", "adapter", "release", "import", "token", "tryout", "job"), "name"),
}
"""By what an entry is about: the fact that says its name."""

CHANGED = ("role", "max_examples", "visibility", "name", "email")
"""Facts that may stand beside what they were before."""

ONLY_WHERE_SO = frozenset({"is_admin"})
"""Facts that say nothing where they are not so: nothing was switched off."""

WITHOUT: dict[str, LazyString] = {
    "allowed_models": lazy_gettext("all"),
    "allowed_methods": lazy_gettext("all"),
}
"""What it means that a rule has no value, where it is no limit."""

PAGES: dict[str, tuple[str, str]] = {
    "run": ("pages.runs.run", "run_id"),
    "federation": ("pages.federations.one", "federation_id"),
    "member": ("pages.joining.member", "member_id"),
    "artifact": ("pages.models.one", "artifact_id"),
    "version": ("pages.versions.one", "version_id"),
    "release": ("pages.releases.one", "release_id"),
    "person": ("pages.people.account", "person_id"),
}
"""By what it is: its page, and what its address calls it."""


def about(entry: AuditEntry, found: Object | None) -> str:
    """What was changed, by the name that it had then; of persons by the one of today, as the log names nobody else."""
    if entry.object_kind == "person":
        if entry.object_id == entry.actor_id or found is None:
            return ""
        if found.is_closed:
            return str(gettext("a closed account (%(id)s)", id=entry.object_id[-OF_A_CLOSED_ACCOUNT:]))
        return found.name
    return str(entry.facts.get(NAMED_BY.get(entry.object_kind, ""), found.name if found is not None else ""))


def href(found: Object | None, is_admin: bool) -> str | None:
    """Where the page of an entry's object is; accounts are for the server's administrators to see."""
    if found is None or (found.kind == "person" and (found.is_closed or not is_admin)):
        return None
    endpoint, part = PAGES[found.kind]
    return url_for(endpoint, **{part: found.id})  # type: ignore[arg-type]


def facts(entry: AuditEntry, means: str | None = None) -> list[tuple[str, str]]:
    """What was noted, but for the name of what it is about: pairs of a word and a value.

    `means` is the browser or token that is shown beside; the same browser is not told twice.
    """
    told = {name: value for name, value in entry.facts.items() if name != NAMED_BY.get(entry.object_kind)}
    told = {name: value for name, value in told.items() if value is not False or name not in ONLY_WHERE_SO}
    if told.get("what") not in ACTIONS:  # a filter that an address named, and nothing is called so
        told.pop("what", None)
    if told.get("agent") == means:
        told.pop("agent", None)
    if entry.action == "rules changed":
        return [(labels().get(name, name), _change(name, *pair)) for name, pair in told.items()]
    pairs = {}
    changed = next((name for name in CHANGED if name in told), None)
    if "before" in told:
        before = told.pop("before")
        name = changed or "role"
        pairs[name] = (
            _change(name, before, told[name]) if name in told and told[name] != before else _shown(name, before)
        )
    return [
        (_word(name), pairs.get(name) or _shown(name, value))
        for name, value in {**told, **pairs}.items()
        if value not in (None, "", [])
    ]


def _word(name: str) -> str:
    return str(FACTS.get(name, name))


def _change(name: str, before: object, after: object) -> str:
    return f"{_shown(name, before)} \N{RIGHTWARDS ARROW} {_shown(name, after)}"


def _shown(name: str, value: object) -> str:  # noqa: PLR0911 - one for each kind
    """A fact's value in a few words: a file's size and the beginning of its hash, what others are called."""
    if value in (None, "", []):
        return str(WITHOUT.get(name, gettext("not set")))
    if isinstance(value, dict):
        if "sha256" in value and "size_bytes" in value:
            return f"{amounts.megabytes(value['size_bytes'])}, {str(value['sha256'])[:SHOWN_DIGITS]}"
        return ", ".join(f"{_word(key)} ({_shown(key, each)})" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(name, each) for each in value)
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    if name in SHOWN_AS:
        return SHOWN_AS[name](str(value))
    if isinstance(value, int | float):
        return amounts.number(round(value, 3))
    text = str(WORDS.get(name, {}).get(str(value), value))
    return text[:SHOWN_DIGITS] if SHA256.fullmatch(text) else text
