"""Captions of a dataset in its grid: all of them as data, one or many changed, and every change undone and redone."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, jsonify, redirect, request, url_for
from flask_babel import gettext, ngettext
from werkzeug import Response as AnyResponse

from fedflow.client.database.tables import Dataset
from fedflow.client.pages import current, datasets_words, faults
from fedflow.client.pages.datasets_asked import dataset_of
from fedflow.client.services import datasets, datasets_edits, datasets_undo
from fedflow.client.services.datasets_edits import MOST_AT_ONCE, Done, Step
from fedflow.errors import FedFlowError
from fedflow.web.kit import is_own_path
from fedflow.web.states import State

blueprint = Blueprint("datasets_captions", __name__)

MOST_TAGS = 60
MOST_WORD = 1000


@blueprint.get("/datasets/<dataset_id>/list")
def listed(dataset_id: str) -> Response:
    """The pictures that the grid shows: number, path, caption, and whether it cannot be used."""
    dataset_of(dataset_id)
    tag, text = request.args.get("tag", "")[:200], request.args.get("text", "").strip()[:200]
    every = datasets.lines(current.store(), dataset_id)
    shown = [[each.id, each.path, each.caption, int(each.problem != "")] for each in every if each.has(tag, text)]
    told = ngettext("%(num)s picture", "%(num)s pictures", len(shown))
    answer = jsonify({"pictures": shown, "told": told, **_around(dataset_id, [each.caption for each in every])})
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.post("/datasets/<dataset_id>/captions")
def changes(dataset_id: str) -> AnyResponse:
    """Add, remove or rename a tag, or find and replace, in the captions of the pictures that are chosen."""
    dataset = dataset_of(dataset_id)
    action = request.form.get("action", "")
    words = request.form.get("first", "")[:MOST_WORD], request.form.get("second", "")[:MOST_WORD]
    chosen = [int(each) for each in request.form.get("pictures", "").split(",") if each.isascii() and each.isdigit()]
    if len(chosen) > MOST_AT_ONCE:
        asked = {"action": action, "words": words, "pictures": chosen}
        datasets_edits.ask(current.store(), dataset, asked, len(chosen))
        return _answer(dataset, None)
    try:
        done = datasets_edits.change(current.store(), dataset, action, words, chosen)
    except FedFlowError as error:
        return _answer(dataset, error)
    return _answer(dataset, done)


@blueprint.post("/datasets/<dataset_id>/pictures/<int:picture_id>/caption")
def caption(dataset_id: str, picture_id: int) -> AnyResponse:
    """Write one caption, where it stands in the grid."""
    dataset = dataset_of(dataset_id)
    text, seen = request.form.get("caption", ""), request.form.get("seen", "")
    try:
        done = datasets.caption(current.store(), dataset, picture_id, text, seen)
    except FedFlowError as error:
        return _answer(dataset, error, picture_id=picture_id)
    return _answer(dataset, done)


@blueprint.post("/datasets/<dataset_id>/<any(undo, redo):way>")
def turns(dataset_id: str, way: str) -> AnyResponse:
    """Undo or redo a change."""
    dataset, store = dataset_of(dataset_id), current.store()
    edit_id = request.form.get("edit", 0, type=int)
    size = datasets_undo.size(store, edit_id)
    if size > MOST_AT_ONCE:
        datasets_edits.ask(store, dataset, {way: edit_id}, size)
        return _answer(dataset, None)
    try:
        done = (datasets_undo.undo if way == "undo" else datasets_undo.redo)(store, dataset, edit_id)
    except FedFlowError as error:
        return _answer(dataset, error)
    return _answer(dataset, done, gettext("Undone.") if way == "undo" else gettext("Redone."))


def step(found: Step | None) -> dict[str, Any] | None:
    """A change that can be undone or redone, for its button."""
    return None if found is None else {"edit": found.id, "what": datasets_words.made(found)}


def _answer(
    dataset: Dataset, done: Done | FedFlowError | None, said: str = "", picture_id: int | None = None
) -> AnyResponse:
    """What was done, why it was not, or (None) that the worker does it: as data for the grid, else as a page.

    `said` says it where it was done; else its captions are counted. Where it was not, the caption of the picture
    `picture_id` is told as it is now: another window may have changed it.
    """
    told, state = _told(done)
    told = said if said and isinstance(done, Done) else told
    if request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json":
        if isinstance(done, FedFlowError):
            row = None if picture_id is None else datasets.picture(current.store(), dataset.id, picture_id)
            now = {} if row is None else {row.id: row.caption}
            return jsonify({"told": told, "captions": now}), 422  # type: ignore[return-value]  # Flask makes an answer of the pair
        every = [each.caption for each in datasets.lines(current.store(), dataset.id)]
        captions = {} if done is None else done.captions
        return jsonify({"told": told, "captions": captions, "waits": done is None, **_around(dataset.id, every)})
    flash(told, state)
    back = request.form.get("next", "")
    return redirect(back if is_own_path(back) else url_for("pages.datasets.one", dataset_id=dataset.id), 303)


def _told(done: Done | FedFlowError | None) -> tuple[str, State]:
    if done is None:
        return gettext("So many captions take a while; how far they are stands above."), State.RUNNING
    if isinstance(done, FedFlowError):
        return gettext("Nothing was changed: %(reason)s.", reason=faults.reason(str(done))), State.FAILED
    emptied = sum(1 for caption in done.captions.values() if not caption)
    told = ngettext("%(num)s caption written.", "%(num)s captions written.", len(done.captions) - emptied)
    if emptied:
        without = ngettext(
            "%(num)s picture has no caption now, and is not trained on.",
            "%(num)s pictures have no caption now, and are not trained on.",
            emptied,
        )
        told = without if emptied == len(done.captions) else f"{told} {without}"
    if done.left:
        left = ngettext(
            "%(num)s stays as it is: it has no other tag. “Remove captions” empties it too.",
            "%(num)s stay as they are: they have no other tag. “Remove captions” empties them too.",
            done.left,
        )
        told = f"{told} {left}"
    if done.unread:
        unread = ngettext(
            "%(num)s stays as it is: it is not UTF-8. It can be written anew on its picture's page.",
            "%(num)s stay as they are: they are not UTF-8. They can be written anew on their pictures' pages.",
            done.unread,
        )
        told = f"{told} {unread}"
    if done.kept:
        told = f"{told} {datasets_words.kept(done.kept)}"
    return str(told), State.DONE


def _around(dataset_id: str, captions: list[str]) -> dict[str, Any]:
    store = current.store()
    return {
        "tags": datasets.tag_counts(captions)[:MOST_TAGS],
        "undo": step(datasets_edits.undoable(store, dataset_id)),
        "redo": step(datasets_edits.redoable(store, dataset_id)),
    }
