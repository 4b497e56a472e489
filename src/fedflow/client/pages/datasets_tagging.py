"""Automatic tags of a dataset: which tagger, how surely, and what becomes of captions that are there."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from flask_babel import LazyString, gettext, lazy_gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Dataset
from fedflow.client.pages import current, faults, job_words
from fedflow.client.pages.datasets_asked import dataset_of, tabs, under_way
from fedflow.client.pages.datasets_captions import step
from fedflow.client.services import datasets, datasets_edits, datasets_tagging, jobs
from fedflow.client.services.datasets_tagging import TagRequest
from fedflow.errors import MistakeError
from fedflow.web.forms import texts
from fedflow.web.reading import Reading, last_values, read

blueprint = Blueprint("datasets_tagging", __name__)

WRITE: tuple[tuple[str, LazyString], ...] = (
    ("missing", lazy_gettext("Keep them, and tag the rest")),
    ("add", lazy_gettext("Put the tags behind them")),
    ("replace", lazy_gettext("Replace them")),
)


@blueprint.get("/datasets/<dataset_id>/tags")
def page(dataset_id: str) -> Response:
    """The form, with what was asked for last, and how far it is."""
    failed = jobs.last_failed(current.store(), (datasets_tagging.KIND,), dataset_id)
    values = {} if failed is None else texts(datasets_tagging.request_of(failed))
    return _page(dataset_of(dataset_id), Reading(None, values))


@blueprint.post("/datasets/<dataset_id>/tags")
def asks(dataset_id: str) -> AnyResponse:
    """Have the pictures tagged, or say beside each field what is wrong."""
    dataset = dataset_of(dataset_id)
    reading: Reading[TagRequest] = read(TagRequest, last_values(request.form))
    if reading.settings is None:
        return _page(dataset, reading)
    try:
        datasets_tagging.ask(current.store(), dataset, reading.settings)
    except MistakeError as error:
        return _page(dataset, faults.refused(reading, error))
    return redirect(url_for("pages.datasets_tagging.page", dataset_id=dataset_id), 303)


def _page(dataset: Dataset, reading: Reading[TagRequest]) -> Response:
    store, looking = current.store(), under_way(dataset.id)  # what ends meanwhile is still told, and drawn anew
    failed = jobs.last_failed(store, (datasets_tagging.KIND,), dataset.id)
    every = datasets.lines(store, dataset.id)
    done = datasets_edits.undoable(store, dataset.id)
    return web.page(
        "app/dataset_tags.html",
        status=422 if reading.faults else 200,
        fragment="live",
        dataset=dataset,
        tabs=tabs(dataset, "pages.datasets_tagging.page"),
        fields=_fields(),
        values=reading.values,
        faults=reading.faults,
        failed=failed,
        why=job_words.reason(failed) if failed else "",
        pictures=len(every),
        bare=sum(1 for each in every if not each.caption),
        done=done if done is not None and done.action == datasets_edits.TAG else None,
        undo=step(done),
        looking=looking,
        now=store.clock(),
    )


def _fields() -> list[dict[str, Any]]:
    return [
        {
            "name": "tagger",
            "label": gettext("Tagger"),
            "kind": "text",
            "default": datasets_tagging.SHIPPED,
            "required": True,
            "suggestions": (datasets_tagging.SHIPPED,),
            "help": gettext(
                "icons-v1 knows icon art alone. Or a WD tagger: its .onnx file or folder, or hub:OWNER/NAME."
            ),
        },
        {
            "name": "threshold",
            "label": gettext("Threshold"),
            "kind": "number",
            "optional": True,
            "least": 0,
            "most": 1,
            "help": gettext("Least score of a tag, 0 to 1; the tagger's own if empty."),
        },
        {
            "name": "write",
            "label": gettext("Captions that are there"),
            "kind": "choice",
            "choices": WRITE,
            "default": WRITE[0][0],
        },
    ]
