"""A dataset's check: what cannot be used and why, what is there twice, personal data, figures."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import LazyString, gettext, lazy_gettext
from markupsafe import Markup, escape
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.pages import current, datasets_words, faults
from fedflow.client.pages.datasets_asked import dataset_of, tabs, under_way
from fedflow.client.pages.datasets_captions import step
from fedflow.client.services import datasets, datasets_asides, datasets_check, datasets_edits
from fedflow.client.services.datasets_journal import LEFT_OUT
from fedflow.datasets.personal import Kind
from fedflow.errors import FedFlowError
from fedflow.web.amounts import number
from fedflow.web.reading import WHOLE
from fedflow.web.states import State

blueprint = Blueprint("datasets_check", __name__)

ON_A_PAGE = 100
"""Lines and groups that one part of the page shows."""
MOST_PEOPLE = 5000
LEAST_SIDE, MOST_SIDE = 16, 2048
"""As a training takes for the size of its pictures."""

KINDS: dict[str, LazyString] = {
    Kind.EMAIL: lazy_gettext("e-mail address"),
    Kind.TELEPHONE: lazy_gettext("telephone number"),
    Kind.NAME: lazy_gettext("name"),
}

CHARTS: dict[str, LazyString] = {
    "tags": lazy_gettext("Captions with each tag"),
    "lengths": lazy_gettext("Pictures by number of tags"),
    "sides": lazy_gettext("Pictures by shorter side, pixels"),
}

PARTS: dict[str, LazyString] = {
    "problems": lazy_gettext("Cannot be used"),
    "same": lazy_gettext("The same picture"),
    "near": lazy_gettext("Nearly the same"),
    "personal": lazy_gettext("Personal data"),
    "remarks": lazy_gettext("Worth a look"),
    "figures": lazy_gettext("Figures"),
}


@blueprint.get("/datasets/<dataset_id>/check")
def page(dataset_id: str) -> Response:
    """One part of what was found; the first that has anything where none is named."""
    dataset, store = dataset_of(dataset_id), current.store()
    looking = under_way(dataset_id)  # before what was found: what ends meanwhile is still told, and drawn anew
    kept = datasets_check.found(store, dataset_id)
    rows = {each.path: each for each in datasets.lines(store, dataset_id)}
    parts = {} if kept is None else _parts(kept, rows)
    if dataset.looked_at is not None:
        parts["problems"] = [[each.path, each.problem] for each in rows.values() if each.problem]
        parts["problems"] += dataset.other_problems
    named = request.args.get("part", "")
    here = named if named in PARTS else next((name for name in PARTS if parts.get(name)), "figures")
    size, wrong = _size()
    edit = datasets_edits.undoable(store, dataset_id)
    return web.page(
        "app/dataset_check.html",
        fragment="live",
        dataset=dataset,
        tabs=tabs(dataset, "pages.datasets_check.page"),
        here=here,
        filters=_filters(dataset_id, here, parts),
        kept=kept,
        is_old=kept is not None and kept["at"] < datasets_edits.changed_at(store, dataset),
        rows=rows,
        found=parts.get(here, [])[:ON_A_PAGE],
        more=max(0, len(parts.get(here, [])) - ON_A_PAGE),
        charts=_charts(kept or {}),
        size=size,
        wrong_size=wrong,
        side_limits=(LEAST_SIDE, MOST_SIDE),
        unit=datasets_check.unit_of(size),
        buckets=datasets_check.buckets(store, dataset, size) if here == "figures" and kept is not None else [],
        kinds=KINDS,
        reasons=datasets_words.reasons,
        undo=step(edit),
        looking=looking,
        is_checking=any(job.kind == datasets_check.KIND for job in looking),
        now=store.clock(),
    )


@blueprint.post("/datasets/<dataset_id>/check")
def checks(dataset_id: str) -> AnyResponse:
    """Have it checked."""
    datasets_check.ask(current.store(), dataset_of(dataset_id))
    return _back(dataset_id)


@blueprint.post("/datasets/<dataset_id>/people")
def people(dataset_id: str) -> AnyResponse:
    """Keep the names that captions shall not hold, and look for them."""
    dataset, store = dataset_of(dataset_id), current.store()
    names = request.form.get("people", "")[:200_000].splitlines()[:MOST_PEOPLE]
    datasets.set_people(store, dataset_id, (name[:200] for name in names))
    datasets_check.ask(store, dataset)
    flash(gettext("The names are kept on this machine. Captions are looked through for them."), State.DONE)
    return _back(dataset_id, "personal")


@blueprint.post("/datasets/<dataset_id>/leave-out")
def leaves_out(dataset_id: str) -> AnyResponse:
    """Move a picture aside, or, without one named, all of the same pixels but the first of each."""
    dataset, store = dataset_of(dataset_id), current.store()
    named = request.form.get("picture", type=int)
    try:
        datasets_asides.leave_out(store, dataset, _doubles(dataset_id) if named is None else [named])
    except FedFlowError as error:
        why = faults.reason(str(error))
        flash(gettext("Nothing was changed: %(reason)s.", reason=why), State.FAILED)
    else:
        flash(
            gettext("What is left out lies in the folder %(name)s now, where nothing reads it.", name=LEFT_OUT),
            State.DONE,
        )
    return _back(dataset_id, request.form.get("part", ""))


def _size() -> tuple[int, list[str]]:
    """The size of training pictures that buckets are shown for, and what is wrong with the one that was asked for."""
    asked = request.args.get("size", "").strip()
    size = int(asked) if WHOLE.fullmatch(asked) else None
    if size is not None and LEAST_SIDE <= size <= MOST_SIDE:
        return size, []
    least, most = number(LEAST_SIDE), number(MOST_SIDE)
    told = gettext("Write a whole number from %(least)s to %(most)s.", least=least, most=most)
    return datasets_check.SIZE, [told] if asked else []


def _doubles(dataset_id: str) -> list[int]:
    """Pictures whose pixels another has that stands before them."""
    store = current.store()
    rows = {each.path: each for each in datasets.lines(store, dataset_id)}
    groups = _parts(datasets_check.found(store, dataset_id) or {}, rows)["same"]
    return [rows[path].id for group in groups for path, _ in group[1:]]


def _back(dataset_id: str, part: str = "") -> AnyResponse:
    return redirect(url_for("pages.datasets_check.page", dataset_id=dataset_id, part=part or None), 303)


def _parts(kept: dict[str, Any], rows: dict[str, Any]) -> dict[str, list[Any]]:
    """What was found of pictures that are still there; groups of which one is left are none."""
    same = [[[path, 0] for path in group if path in rows] for group in kept.get("same", [])]
    near = [[each for each in group if each[0] in rows] for group in kept.get("near", [])]
    return {
        "same": [group for group in same if len(group) > 1],
        "near": [group for group in near if len(group) > 1],
        "personal": [each for each in kept.get("personal", []) if each[0] in rows],
        "remarks": [each for each in kept.get("remarks", []) if each[0] in rows],
    }


def _filters(dataset_id: str, here: str, parts: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The parts as tabs; one that nobody has looked for yet has no number."""
    found = []
    for name, label in PARTS.items():
        each = {
            "label": label,
            "href": url_for("pages.datasets_check.page", dataset_id=dataset_id, part=name),
            "here": name == here,
        }
        if name in parts:
            each["count"] = len(parts[name])
        found.append(each)
    return found


def _charts(kept: dict[str, Any]) -> list[Markup]:
    """The drawings, which our own worker has made of escaped texts, with their titles in the reader's language."""
    drawn = kept.get("charts", {})
    return [
        Markup(drawn[name].replace(datasets_check.TITLE, str(escape(title))))  # noqa: S704
        for name, title in CHARTS.items()
        if name in drawn
    ]
