"""Runs: the list, one run as it goes, and what its coordinator does with it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from babel.numbers import get_decimal_symbol
from flask import Blueprint, Response, flash, redirect, request, send_file, url_for
from flask_babel import get_locale, gettext
from markupsafe import Markup
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.federation.rounds import Status
from fedflow.plan import AGGREGATED, BASE
from fedflow.server.api import current
from fedflow.server.api.events import POLL_S, QUIET_POLLS, RECONNECT_MS, STREAM_S, streaming
from fedflow.server.database.tables import Score
from fedflow.server.errors import ApiError
from fedflow.server.pages import browser, places, plan_words, run_words
from fedflow.server.pages.faults import said
from fedflow.server.services import (
    events,
    files,
    overview,
    processes,
    refusals,
    registry,
    roles,
    run_charts,
    run_list,
    run_view,
    runs,
    scores,
)
from fedflow.server.services.identity import Caller
from fedflow.server.services.run_list import EVERY, RunLine, Wanted
from fedflow.server.services.run_view import RoundNode, RunView
from fedflow.server.store import Store
from fedflow.web.states import State

blueprint = Blueprint("runs", __name__)

ON_A_PAGE = 50
MOST_REFUSALS = 50
CALM_S = 1.0
"""Between two of the news that a page draws itself anew by; the last one is always told."""

ON_AN_AXIS = r'(<text [^>]*text-anchor="end"[^>]*>)(\S?\d+\.\d+)</text>'
"""A figure beside the upright axis; the members' names, which may look like one, begin at their place instead."""

ASK_NO_MORE = 286
"""The status of an answer that htmx takes as the last one of those that it asks for by the clock."""


@blueprint.get("/runs")
def listed() -> Response:
    """Runs of the reader's federations, newest first; by state, federation and name. htmx gets the list alone."""
    asked = request.args
    state = asked.get("state", "")
    wanted = Wanted(
        status=Status(state) if state in run_words.STATUS else None,
        federation_id=asked.get("federation", "")[:40],
        text=asked.get("name", "").strip()[:80],
    )
    before = asked.get("before", "")[:40]
    found = run_list.newest(current.store(), current.caller(), wanted, before, ON_A_PAGE + 1)
    answer = web.page(
        "pages/runs.html",
        fragment="found",
        runs=found[:ON_A_PAGE],
        stuck_ids=_stuck(found[:ON_A_PAGE]),
        wanted=wanted,
        filtered=wanted != EVERY,
        states=[("", gettext("All")), *((each.value, str(word)) for each, (_, word) in run_words.STATUS.items())],
        newest=_list_at(wanted) if before else None,
        older=_list_at(wanted, found[ON_A_PAGE - 1].id) if len(found) > ON_A_PAGE else None,
        words=run_words,
        moment=_moment,
        federations=[(each.federation_id, each.federation) for each in places.belongings()],
        coordinates=places.planned_in(),
    )
    answer.headers["HX-Replace-Url"] = _list_at(wanted, before)
    return answer


@blueprint.get("/runs/<run_id>")
def run(run_id: str) -> Response:
    """One run as it is now; the part that moves alone where the page asks for it."""
    store, caller = current.store(), current.caller()
    newest = events.last(store, run_view.federation_of(store, run_id))  # before all else: the stream goes on from it
    view = run_view.view(store, run_id, caller)
    measured = scores.listed(store, caller, run_id)
    drawn_rounds = {score.round for score in measured if score.gallery and score.who != BASE}
    may_plan = any(each.federation_id == view.federation_id for each in places.planned_in())
    may_change = roles.is_at_least(roles.role_in(store, caller, view.federation_id), "coordinator")
    asks_for_part = "HX-Request" in request.headers
    gallery = _gallery(
        measured, request.args.get("by", ""), request.args.get("round", 0, type=int), view.plan.gallery.seed
    )
    measuring = view.to_measure > 0 and view.standing.status is not Status.STOPPED
    return web.page(
        "pages/run.html",
        status=ASK_NO_MORE if view.is_over and asks_for_part else 200,
        fragment="live",
        newest=newest,
        view=view,
        federation=_federation(view.federation_id),
        version_id=registry.made_by(store, run_id),
        now=view.standing,
        nodes=[_node(view, each, drawn_rounds) for each in view.rounds],
        is_any_committed=any(each.state == "done" for each in view.rounds),
        words=run_words,
        charts=_charts(store, run_id),
        scores=measured,
        nobody=not processes.are_there(store, "evaluation"),
        gallery=gallery,
        missing=scores.to_come(store, run_id, gallery["round"]) if gallery["round"] and measuring else [],
        not_measured=Counter(scores.not_measured(store, run_id) if view.is_scored else ()),
        refusals=refusals.listed(store, caller, run_id, "", MOST_REFUSALS) if may_change else [],
        may_change=may_change,
        may_plan=may_plan,
        plan=plan_words.facts(view.plan),
        moment=lambda seconds: _moment(store.clock() - seconds),
    )


@blueprint.post("/runs/<run_id>/pause")
def pauses(run_id: str) -> AnyResponse:
    """Hand out no more work."""
    return _changed(run_id, "pause", runs.pause)


@blueprint.post("/runs/<run_id>/resume")
def goes_on(run_id: str) -> AnyResponse:
    """Go on with a paused or failed run."""
    return _changed(run_id, "resume", runs.resume)


@blueprint.post("/runs/<run_id>/stop")
def stops(run_id: str) -> AnyResponse:
    """End the run for good."""
    return _changed(run_id, "stop", runs.stop)


@blueprint.post("/runs/<run_id>/close-round")
def closes_round(run_id: str) -> AnyResponse:
    """Join the updates that are in, of the round that the reader has looked at."""
    seen = request.form.get("round", 0, type=int)
    return _changed(run_id, "close-round", partial(runs.close_round, seen=seen))


@blueprint.post("/runs/<run_id>/ask-again")
def ask_again(run_id: str) -> AnyResponse:
    """Ask a member for its consent once more."""
    member = request.form.get("member", "")
    try:
        runs.ask_again(current.store(), run_id, member, current.caller())
        flash(gettext("%(member)s is asked again.", member=member), State.DONE)
    except ApiError as error:
        flash(said(str(error)), State.FAILED)
    return redirect(url_for("pages.runs.run", run_id=run_id), 303)


@blueprint.get("/runs/<run_id>/stream")
def stream(run_id: str) -> Response:
    """Server-sent events: 'changed' whenever something of the run has; its page then asks for the part that moves.

    'over' says that nothing will any more: the page then closes the stream.
    """
    store = current.store()
    federation_id = run_view.federation_of(store, run_id)
    asks = browser.asked_later()

    def may_look() -> bool:
        caller = asks()
        return caller is not None and roles.role_in(store, caller, federation_id) is not None

    told = request.headers.get("Last-Event-ID", type=int)
    after = request.args.get("after", type=int) if told is None else told
    if after is None:
        after = events.last(store, federation_id)
    return streaming(_changes(store, federation_id, run_id, after, may_look))


@blueprint.get("/pictures/<sha256>")
def picture(sha256: str) -> Response:
    """A picture that was drawn for the reader's federations."""
    path = files.path_for(current.store(), current.caller(), sha256)
    response = send_file(path, mimetype="image/png", conditional=True, etag=sha256, max_age=31_536_000)
    response.cache_control.public = False
    response.cache_control.private = True
    return response


def _changed(run_id: str, action: str, act: Callable[[Store, str, Caller], None]) -> AnyResponse:
    """Do it, and say on the run's page that it is done, or why it cannot be."""
    try:
        act(current.store(), run_id, current.caller())
        flash(str(run_words.ACTIONS[action][1]), State.DONE)
    except ApiError as error:
        flash(said(str(error)), State.FAILED)
    return redirect(url_for("pages.runs.run", run_id=run_id), 303)


def _changes(store: Store, federation_id: str, run_id: str, after: int, may_look: Callable[[], bool]) -> Iterator[str]:
    """What comes after the event `after`, until the run is over, or the reader has signed out or has no role there."""
    yield f"retry: {RECONNECT_MS}\n\n"
    ends = time.monotonic() + STREAM_S
    quiet = 0
    is_over = run_view.is_over(store, run_id)
    while time.monotonic() < ends and not is_over and may_look():
        found = events.since(store, federation_id, after, 200)
        if found:
            after = found[-1].id
        if any(event.run_id == run_id for event in found):
            yield f"id: {after}\nevent: changed\ndata: {after}\n\n"
            is_over = run_view.is_over(store, run_id)
            quiet = 0
            time.sleep(CALM_S - POLL_S)
        else:
            quiet += 1
        if quiet == QUIET_POLLS:
            quiet = 0
            yield ": nothing new\n\n"
        time.sleep(POLL_S)
    if is_over:
        yield "event: over\ndata: over\n\n"


def _stuck(lines: Sequence[RunLine]) -> set[str]:
    """Those of a list whose round cannot close by itself."""
    running = {each.federation_id for each in lines if each.status is Status.RUNNING}
    return {each.run.id for each in overview.stalled_runs(current.store(), running)}


def _list_at(wanted: Wanted, before: str = "") -> str:
    """The address of the list: what it is filtered by, and after which run it goes on."""
    kept = {"state": wanted.status, "federation": wanted.federation_id, "name": wanted.text, "before": before}
    return url_for("pages.runs.listed", **{name: value for name, value in kept.items() if value})  # type: ignore[arg-type]


def _federation(federation_id: str) -> str:
    """Its name; empty for an administrator who has no role in it."""
    return next((each.federation for each in places.belongings() if each.federation_id == federation_id), "")


def _charts(store: Store, run_id: str) -> list[Markup]:
    """The drawings with their few words in the reader's language."""
    spoken = {
        "Training loss": gettext("Training loss"),
        "FID, lower is better": gettext("FID, lower is better"),
        "KID, lower is better": gettext("KID, lower is better"),
        "round": gettext("round"),
    }
    labels = {
        "aggregated": gettext("aggregated"),
        "mean": gettext("mean"),
        "base": gettext("base"),
        "floor": gettext("floor"),
        "alone, each": gettext("alone, each"),
        "alone": gettext("alone"),
    }
    names = {
        "FID per round": gettext("FID per round"),
        "KID per round": gettext("KID per round"),
        "Training loss per round": gettext("Training loss per round"),
    }
    drawn = run_charts.drawn(store, run_id)
    found = []
    for measure in ("kid", "fid", "loss"):
        drawing = drawn.get(measure, "")
        for english, word in spoken.items():
            drawing = drawing.replace(f">{english}</text>", f">{Markup.escape(word)}</text>")
        for english, word in labels.items():  # some have a figure behind them, with or without a sign
            labelled = partial(_labelled, str(Markup.escape(word)))
            drawing = re.sub(rf">{english}( \S?[\d.]+)?</text>", labelled, drawing)
        drawing = re.sub(ON_AN_AXIS, lambda found: f"{found[1]}{_in_digits(found[2])}</text>", drawing)
        for english, word in names.items():
            drawing = drawing.replace(f'aria-label="{english}"', f'aria-label="{Markup.escape(word)}"', 1)
        if drawing:
            found.append(Markup(drawing))  # noqa: S704 - the worker drew it, and escapes the members' names
    return found


def _labelled(word: str, found: re.Match[str]) -> str:
    """A label in the reader's language, with the figure behind it where there is one."""
    return f">{word}{_in_digits(found[1] or '')}</text>"


def _in_digits(figure: str) -> str:
    """A drawing's figure with the reader's decimal sign."""
    return figure.replace(".", get_decimal_symbol(get_locale()))


def _node(view: RunView, node: RoundNode, drawn: set[int]) -> dict[str, object]:
    """A round for the line of rounds; one that was drawn with leads to its pictures, side by side."""
    href = url_for("pages.runs.run", run_id=view.id, round=node.number, _anchor="gallery")
    return {**run_words.node(node, view.standing), "href": href if node.number in drawn else None}


def _gallery(measured: list[Score], by: str, number: int, first_seed: int) -> dict[str, Any]:
    """Prompts down, and across the rounds of the joint model or of one member's updates.

    Each row is a prompt, its seed (`first_seed` is the first prompt's) and its pictures. Of round `number`, where it
    was drawn with, across are the models: base, aggregated, and each member's update.
    """
    drawn = [score for score in measured if score.gallery]
    whose = sorted({score.who for score in drawn} - {BASE, AGGREGATED})
    rounds = sorted({score.round for score in drawn if score.who != BASE})
    who = by if by in whose else AGGREGATED
    number = number if number in rounds else 0
    if number:
        of_round = {score.who: score for score in drawn if score.round == number or score.who == BASE}
        strips = [of_round[name] for name in (BASE, AGGREGATED, *whose) if name in of_round]
    else:
        strips = [score for score in drawn if score.who in (BASE, who)]
    prompts = strips[0].prompts if strips else []
    return {
        "who": who,
        "whose": whose,
        "round": number,
        "newest": rounds[-1] if rounds else 0,
        "all_rounds": rounds,
        "heads": [_model_head(score, number) for score in strips],
        "rows": [
            (prompt, first_seed + place, [score.gallery[place] for score in strips if place < len(score.gallery)])
            for place, prompt in enumerate(prompts)
        ],
    }


def _model_head(score: Score, number: int) -> str:
    """What stands over a column of pictures."""
    if score.who == BASE:
        return str(gettext("Base"))
    if not number:
        return str(gettext("Round %(number)s", number=score.round))
    return str(gettext("Aggregated")) if score.who == AGGREGATED else score.who


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
