"""The audit log: who did what, newest first, whether it is as it was written, and what is found of it as a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.database.people import AuditEntry
from fedflow.server.errors import NotFound
from fedflow.server.pages import agents, audit_files, audit_words, places
from fedflow.server.pages.words import ACTIONS, VIA
from fedflow.server.services import audit, audit_looks, audit_objects, directory, processes
from fedflow.server.services.audit import NEWEST

blueprint = Blueprint("audit", __name__)

PAGE = 50
DAY_S = 86_400.0


@dataclass(frozen=True)
class Line:
    """An entry as it is shown: `facts` are pairs of a word and a value, `href` is the page of what it is about."""

    number: int
    at: float
    actor: str
    actor_id: str
    action: str
    about: str
    href: str | None
    object_id: str
    federation: str
    facts: list[tuple[str, str]]
    address: str
    via: str


@dataclass(frozen=True)
class Asked:
    """What the address filters by, as it was typed: `since` and `until` are the first and the last day, in UTC."""

    what: str
    actor: str
    who: str
    about: str
    since: str
    until: str

    @classmethod
    def of_request(cls) -> Asked:
        """That of the request under way; a day that is none is left out."""
        told = {name: request.args.get(name, "").strip()[:80] for name in cls.__dataclass_fields__}
        return cls(**told | {name: told[name] if _day(told[name]) else "" for name in ("since", "until")})

    def kept(self) -> dict[str, str | None]:
        """What the address of another page of the same holds."""
        return {name: value or None for name, value in vars(self).items()}

    def found(self, federation_id: str | None) -> Callable[..., list[AuditEntry]]:
        """`audit.listed` of what is asked for."""
        since, until = _day(self.since), _day(self.until)
        return partial(
            audit.listed,
            current.store(),
            federation_id=federation_id,
            actor_id=self.who,
            actor=self.actor,
            action=self.what,
            object_id=self.about,
            since=None if since is None else since.timestamp(),
            until=None if until is None else until.timestamp() + DAY_S,
        )


def _day(text: str) -> datetime | None:
    """The beginning of a day, in UTC; None where `text` is none."""
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except ValueError:
        return None


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


@blueprint.get("/audit/file")
def file() -> Response:
    """What the filters find on this server, as a file."""
    return _file(None)


@blueprint.get("/audit/<federation_id>/file")
def file_of_federation(federation_id: str) -> Response:
    """What the filters find in a federation, as a file."""
    return _file(federation_id)


def _file(federation_id: str | None) -> Response:
    """Written while it is sent: the log may be long. The download is an entry itself, before it begins."""
    kind = request.args.get("kind", "jsonl")
    if kind not in audit_files.WRITERS:
        raise NotFound(
            f"the audit log is no file of the kind {kind[:20]!r}; it is one of {', '.join(audit_files.WRITERS)}"
        )
    asked = Asked.of_request()
    found = asked.found(federation_id)
    if request.method == "GET":
        audit.note_download(current.store(), current.caller(), federation_id, format=kind, **vars(asked))
    name = f"audit-{datetime.now(UTC):%Y-%m-%d}.{kind}"
    return Response(
        audit_files.WRITERS[kind](audit.newest_first(found)),
        content_type=audit_files.TYPES[kind],
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"},
    )


def _page(federation_id: str | None) -> Response:
    asked = Asked.of_request()
    before = request.args.get("before", NEWEST, type=int)
    found = asked.found(federation_id)(before=min(max(before, 0), NEWEST), limit=PAGE + 1)
    of_federation = "" if federation_id is None else "_of_federation"
    here = "pages.audit.everything" if federation_id is None else "pages.audit.of_federation"

    def at(**more: object) -> str:
        return url_for(here, federation_id=federation_id, **{**asked.kept(), **more})  # type: ignore[arg-type]

    def as_file(kind: str) -> str:
        kept: dict[str, Any] = asked.kept()
        return url_for(f"pages.audit.file{of_federation}", federation_id=federation_id, kind=kind, **kept)

    lines = _lines(found[:PAGE])
    return web.page(
        "pages/audit.html",
        tabs=places.tabs(
            "pages.audit.everything", "pages.audit.of_federation", "administrator", federation_id, gettext("Everything")
        ),
        lines=lines,
        federation_id=federation_id,
        values=asked,
        filtered=any(vars(asked).values()),
        who=lines[0].actor if asked.who and lines else "",
        about=(lines[0].about or lines[0].actor) if asked.about and lines else "",
        actions=sorted(((name, str(words)) for name, words in ACTIONS.items()), key=lambda pair: pair[1]),
        at=at,
        as_file=as_file,
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
    caller = current.caller()
    found = audit_objects.found(current.store(), caller, entries)
    means = directory.means(current.store(), {each.via for each in entries})
    federations = {each.federation_id: each.federation for each in places.belongings()}
    return [
        Line(
            number=each.number,
            at=each.at,
            actor=_actor(each),
            actor_id=each.actor_id,
            action=str(ACTIONS.get(each.action, each.action)),
            about=audit_words.about(each, found.get(each.object_id)),
            href=audit_words.href(found.get(each.object_id), caller.is_admin),
            object_id=each.object_id,
            federation=federations.get(each.federation_id or "", ""),
            facts=audit_words.facts(each, means.get(each.via)),
            address=each.address,
            via=_via(each.via, means.get(each.via)),
        )
        for each in entries
    ]


def _actor(entry: AuditEntry) -> str:
    """Who did it, by the name of then; who was not signed in has none."""
    if entry.actor_kind == "server":
        return str(gettext("The server"))
    return entry.actor if entry.actor_id else str(gettext("somebody"))


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
