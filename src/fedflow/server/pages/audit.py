"""The audit log: who did what, newest first, and whether it is as it was written."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import Blueprint, Response, redirect, request, url_for
from flask_babel import LazyString, format_decimal, gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.database.people import AuditEntry
from fedflow.server.pages import agents, places
from fedflow.server.pages.words import ACTIONS, FACTS, KINDS, ROLES, SCOPES, VIA, VISIBILITIES
from fedflow.server.services import audit, audit_looks, directory, processes
from fedflow.web import amounts

blueprint = Blueprint("audit", __name__)

PAGE = 50
SHOWN_DIGITS = 12
SHA256 = re.compile(r"[0-9a-f]{64}")
WORDS: dict[str, dict[str, LazyString]] = {
    "role": ROLES,
    "before": ROLES,
    "scopes": SCOPES,
    "visibility": VISIBILITIES,
    "kind": KINDS,
}
"""Facts whose values pages call otherwise."""

NEWEST = 2**62


@dataclass(frozen=True)
class Line:
    """An entry as it is shown: `facts` are pairs of a word and a value."""

    number: int
    at: float
    actor: str
    actor_id: str
    action: str
    about: str
    federation: str
    facts: list[tuple[str, str]]
    address: str
    via: str


@blueprint.get("/audit")
def everything() -> Response:
    """What was done on this server."""
    return _page(None)


@blueprint.get("/audit/<federation_id>")
def of_federation(federation_id: str) -> Response:
    """What was done in a federation."""
    return _page(federation_id)


@blueprint.get("/audit/chain")
def chain() -> Response:
    """What the last look found: whether the whole log is as it was written."""
    return _chain(None)


@blueprint.post("/audit/chain")
def looks_again() -> AnyResponse:
    """Have a worker look through the whole log anew."""
    return _again(None)


@blueprint.get("/audit/<federation_id>/chain")
def chain_of_federation(federation_id: str) -> Response:
    """The same for who sees one federation: the chain is one, of all."""
    return _chain(federation_id)


@blueprint.post("/audit/<federation_id>/chain")
def looks_again_for_federation(federation_id: str) -> AnyResponse:
    """The same for who sees one federation."""
    return _again(federation_id)


def _page(federation_id: str | None) -> Response:
    what, actor, who = (request.args.get(name, "").strip()[:80] for name in ("what", "actor", "who"))
    before = request.args.get("before", NEWEST, type=int)
    found = audit.listed(
        current.store(),
        federation_id=federation_id,
        actor_id=who,
        actor=actor,
        action=what,
        before=min(max(before, 0), NEWEST),
        limit=PAGE + 1,
    )
    kept = {"what": what or None, "actor": actor or None, "who": who or None}
    here = "pages.audit.everything" if federation_id is None else "pages.audit.of_federation"

    def at(**more: object) -> str:
        return url_for(here, federation_id=federation_id, **{**kept, **more})  # type: ignore[arg-type]

    lines = _lines(found[:PAGE])
    return web.page(
        "pages/audit.html",
        tabs=places.tabs(
            "pages.audit.everything", "pages.audit.of_federation", "administrator", federation_id, gettext("Everything")
        ),
        lines=lines,
        federation_id=federation_id,
        values={"what": what, "actor": actor, "who": who},
        who=lines[0].actor if who and lines else "",
        actions=sorted(((name, str(words)) for name, words in ACTIONS.items()), key=lambda pair: pair[1]),
        at=at,
        newer=at(before=None) if before != NEWEST else None,
        older=at(before=lines[-1].number) if len(found) > PAGE else None,
        chain_href=_chain_href(federation_id),
    )


def _again(federation_id: str | None) -> AnyResponse:
    audit_looks.last(current.store(), anew=True)
    return redirect(_chain_href(federation_id), 303)


def _chain(federation_id: str | None) -> Response:
    looked = audit_looks.last(current.store())
    return web.page(
        "pages/chain.html",
        fragment="chain",
        looked=looked,
        nobody=looked.under_way and not processes.are_there(current.store(), "evaluation"),
        chain_href=_chain_href(federation_id),
    )


def _chain_href(federation_id: str | None) -> str:
    if federation_id is None:
        return url_for("pages.audit.chain")
    return url_for("pages.audit.chain_of_federation", federation_id=federation_id)


def _lines(entries: list[AuditEntry]) -> list[Line]:
    names = directory.names(current.store(), {each.object_id for each in entries if each.object_kind == "person"})
    means = directory.means(current.store(), {each.via for each in entries})
    federations = {each.federation_id: each.federation for each in places.belongings()}
    return [
        Line(
            number=each.number,
            at=each.at,
            actor=gettext("The server") if each.actor_kind == "server" else each.actor,
            actor_id=each.actor_id,
            action=str(ACTIONS.get(each.action, each.action)),
            about="" if each.object_id == each.actor_id else names.get(each.object_id, ""),
            federation=federations.get(each.federation_id or "", ""),
            facts=[_fact(name, value) for name, value in each.facts.items() if value not in (None, "", False, [])],
            address=each.address,
            via=_via(each.via, means.get(each.via)),
        )
        for each in entries
    ]


def _via(way: str, means: str | None) -> str:
    """How somebody did it, with the browser or token by name where that is still known."""
    kind, _, about = way.partition(" ")
    if kind == "sign-in" and means is not None:
        return str(gettext("in a browser: %(name)s", name=agents.named(means)))
    if kind == "token" and means is not None:
        return str(gettext("with the API token “%(name)s”", name=means))
    if kind == "provider" and about:
        return str(gettext("through the provider %(name)s", name=about))
    return str(VIA.get(way, VIA.get(kind, "")))


def _fact(name: str, value: object) -> tuple[str, str]:
    if name == "agent":
        return str(FACTS["agent"]), agents.named(str(value))
    return str(FACTS.get(name, name)), _shown(value, WORDS.get(name, {}))


def _shown(value: object, words: dict[str, LazyString]) -> str:
    """A fact's value in a few words: a file's size and the beginning of its hash, what others are called."""
    if isinstance(value, dict):
        if "sha256" in value and "size_bytes" in value:
            return f"{amounts.megabytes(value['size_bytes'])}, {str(value['sha256'])[:SHOWN_DIGITS]}"
        return ", ".join(f"{FACTS.get(key, key)} ({_shown(each, words)})" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(each, words) for each in value)
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    if isinstance(value, float):
        return str(format_decimal(round(value, 3)))
    text = str(words.get(str(value), value))
    return text[:SHOWN_DIGITS] if SHA256.fullmatch(text) else text
