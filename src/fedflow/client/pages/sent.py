"""The log of what left this machine: by federation, run and sort, added up, and as a file to hand on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from flask import Blueprint, Response, abort, flash, redirect, request, stream_with_context, url_for
from flask_babel import gettext
from markupsafe import Markup
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Membership, Sending
from fedflow.client.pages import current, federation_words
from fedflow.client.services import consents, memberships, sendings
from fedflow.client.services.sendings import Sum, Wanted
from fedflow.errors import MistakeError
from fedflow.web import amounts, line_files
from fedflow.web.states import State

blueprint = Blueprint("sent", __name__)

ON_A_PAGE = 50
UNJOINED = Wanted(sendings.NO_FEDERATION)
COLUMNS = (
    "number", "first", "last", "federation", "member", "server", "kind", "run", "run_id", "round", "requests", "bytes",
)  # fmt: skip
SPREADSHEETS = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""By this at its beginning they know a file for UTF-8."""

Names = dict[tuple[str, str], str]
"""Of runs, by their federation and identifier."""


@blueprint.get("/federations/sent")
def page() -> Response:
    """Its lines, newest first; htmx gets the filters and what they let through."""
    store, wanted, before = current.store(), _wanted(), request.args.get("before", 0, type=int)
    found, has_unjoined = sendings.listed(store, wanted, ON_A_PAGE + 1, before), not sendings.is_empty(store, UNJOINED)
    lines, sorts, sums = found[:ON_A_PAGE], sendings.by_sort(store, wanted), sendings.by_run(store, wanted)
    names, rows = consents.names(store), memberships.logged(store)  # last: one may be joined meanwhile
    called = _called(rows)
    return web.page(
        "app/sent.html",
        fragment="log",
        rows={row.id: row for row in rows},
        called=called,
        names=names,
        wanted=wanted,
        is_filtered=wanted != sendings.EVERYTHING,
        lines=lines,
        spans={line.id: _span(line) for line in lines},
        sorts=sorts,
        sums=[(_run_of(each, called, names), each.times, each.size_bytes) for each in sums] if len(sums) > 1 else [],
        federations=_federations(called, has_unjoined=has_unjoined),
        kept=[row for row in rows if row.left_at is not None],
        has_unjoined=has_unjoined,
        runs=_choices(called, names, wanted.membership_id),
        newest=_at("page", wanted) if before else None,
        older=_at("page", wanted, before=lines[-1].id) if len(found) > ON_A_PAGE else None,
        exports=[(_at("export", wanted, form=form), form) for form in FORMS],
    )


@blueprint.get("/federations/sent.<form>")
def export(form: str) -> Response:
    """The lines that the filters let through as a file, oldest first, sent as they are read."""
    if form not in FORMS:
        abort(404)
    store, wanted = current.store(), _wanted()
    rows, names = {row.id: row for row in memberships.logged(store)}, consents.names(store)
    lines = (
        line for line in sendings.every(store, wanted) if line.membership_id is None or line.membership_id in rows
    )  # one may be joined meanwhile
    told = (_told(line, rows.get(line.membership_id or ""), names) for line in lines)
    mimetype, written = FORMS[form]
    response = Response(stream_with_context(written(told)), mimetype=mimetype)
    day = datetime.fromtimestamp(store.clock(), UTC).date()
    response.headers["Content-Disposition"] = f'attachment; filename="fedflow-sent-{day}.{form}"'
    response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.post("/federations/sent/<membership_id>/delete")
def deletes(membership_id: str) -> AnyResponse:
    """Delete the log of a federation that was left, or of what was sent without one."""
    store = current.store()
    try:
        if membership_id == sendings.NO_FEDERATION:
            sendings.forget_unjoined(store)
        else:
            memberships.forget_log(store, membership_id)
    except MistakeError:
        abort(404)
    flash(gettext("That part of the log is deleted."), State.DONE)
    return redirect(url_for("pages.sent.page"), 303)


def _called(rows: list[Membership]) -> dict[str, str]:
    """Federations by identifier: those left or removed say so, and those of one name when they were joined."""
    names = Counter(row.federation for row in rows)
    called = {}
    for row in rows:
        name = row.federation
        if names[name] > 1:
            joined = amounts.exact(datetime.fromtimestamp(row.joined_at, UTC))
            name = str(gettext("%(name)s, joined %(moment)s", name=name, moment=joined))
        if row.left_at is not None:
            name = str(gettext("%(name)s, left", name=name))
        elif row.removed_at is not None:
            name = str(gettext("%(name)s, removed", name=name))
        called[row.id] = name
    return called


def _federations(called: dict[str, str], *, has_unjoined: bool) -> list[tuple[str, str]]:
    """The federations to choose from."""
    found = list(called.items())
    if has_unjoined:
        found.append((sendings.NO_FEDERATION, str(gettext("Before joining"))))
    return found


def _wanted() -> Wanted:
    """The filters; a run of another federation than the one that is asked for is none."""
    asked = {name: request.args.get(name, "")[:40] for name in ("federation", "run", "what")}
    federation, run, what = asked.values()
    if run and federation and consents.one(current.store(), federation, run) is None:
        run = ""
    return Wanted(federation, run, what if what in federation_words.SENT else "")


def _choices(called: dict[str, str], names: Names, membership_id: str) -> list[tuple[str, str]]:
    """The runs to choose from, with their federation where there are several."""
    alone = len(called) == 1 or bool(membership_id)
    return [
        (run, name if alone else gettext("%(run)s, %(federation)s", run=name, federation=called[of]))
        for (of, run), name in names.items()
        if membership_id in ("", of)
    ]


def _at(endpoint: str, wanted: Wanted, **more: object) -> str:
    asked = {"federation": wanted.membership_id, "run": wanted.run_id, "what": wanted.what}
    kept = {name: value for name, value in asked.items() if value}
    return url_for(f"pages.sent.{endpoint}", **kept, **more)  # type: ignore[arg-type]


def _told(line: Sending, row: Membership | None, names: Names) -> dict[str, str | int | None]:
    """A line by the names of the columns; what there is none of is None."""
    origin = (None, None, line.server) if row is None else (row.federation, row.member, row.server)
    values = (
        line.id,
        _moment(line.at),
        _moment(line.until),
        *origin,
        line.what,
        names.get((row.id if row else "", line.run_id or "")),
        line.run_id,
        line.round,
        line.times,
        line.size_bytes,
    )
    return dict(zip(COLUMNS, values, strict=True))


def _run_of(each: Sum, called: dict[str, str], names: Names) -> str:
    """For which run of which federation it was, or where it went beside all runs."""
    if each.membership_id is None:
        return each.server
    federation = called[each.membership_id]
    if each.run_id is None:
        return str(gettext("%(federation)s, for no run", federation=federation))
    name = names.get((each.membership_id, each.run_id), each.run_id)
    return str(gettext("%(run)s, %(federation)s", run=name, federation=federation))


def _span(line: Sending) -> Markup:
    """From a line's first request to its last, as far as these read otherwise."""
    first, last = (datetime.fromtimestamp(each, UTC) for each in (line.at, line.until))
    differ = amounts.relative(first) != amounts.relative(last)
    return Markup(" \N{EN DASH} ").join(map(amounts.time_tag, (first, last) if differ else (last,)))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_csv(told: Iterable[dict[str, str | int | None]]) -> Iterator[str]:
    yield SPREADSHEETS
    yield from line_files.as_csv(COLUMNS, told)


FORMS = {"csv": ("text/csv", _as_csv), "jsonl": ("application/jsonl", line_files.as_json_lines)}
"""How the log is written into a file, by the end of its name."""
