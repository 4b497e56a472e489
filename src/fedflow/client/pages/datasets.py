"""Datasets: folders of pictures, the grid of one with its tags and problems, and each picture's caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Dataset
from fedflow.client.pages import current, datasets_words, faults, job_words
from fedflow.client.pages.datasets_asked import KINDS, dataset_of, picture_of, tabs, under_way
from fedflow.client.pages.datasets_captions import MOST_TAGS, step
from fedflow.client.pages.missing import crossed
from fedflow.client.services import (
    arrivals,
    datasets,
    datasets_check,
    datasets_edits,
    datasets_uploads,
    jobs,
    memberships,
    thumbnails,
)
from fedflow.datasets.captions import caption_tags
from fedflow.datasets.intake import WANTED_ENDS
from fedflow.datasets.pixels import PictureError
from fedflow.datasets.thumbnails import MEDIA_TYPE
from fedflow.errors import DatasetError, FedFlowError, MistakeError
from fedflow.web import meanwhile
from fedflow.web.states import State

blueprint = Blueprint("datasets", __name__)

AT_FIRST = 60
"""Pictures that the page brings along; the grid asks for the others."""
DAY_S = 86_400


@blueprint.get("/datasets")
def listed() -> Response:
    """All datasets, and the form for one more."""
    return listed_page("", {})


@blueprint.post("/datasets")
def adds() -> AnyResponse:
    """Take a folder in, or say what is wrong with it."""
    folder = request.form.get("folder", "")[:4000]
    try:
        dataset_id = datasets.add(current.store(), folder)
    except MistakeError as error:
        return listed_page(folder, {"folder": [faults.said(str(error))]})
    return redirect(url_for("pages.datasets.one", dataset_id=dataset_id), 303)


@blueprint.get("/datasets/<dataset_id>")
def one(dataset_id: str) -> Response:
    """The grid: all pictures, those with a tag or a text in the caption, or those that cannot be used."""
    return one_page(dataset_id, {})


def one_page(
    dataset_id: str, wrong: Mapping[str, Sequence[str]], name: str | None = None, folder: str = ""
) -> Response:
    """The grid's page; `wrong` says by field why a form of it is refused, `name` and `folder` are what was typed."""
    dataset, store = dataset_of(dataset_id), current.store()
    looking = under_way(dataset_id)  # before the pictures: what ends meanwhile is still told, and the page drawn anew
    tag, text = request.args.get("tag", "")[:200], request.args.get("text", "").strip()[:200]
    faulty = "problems" in request.args
    every = datasets.lines(store, dataset_id)
    shown = [each for each in every if each.has(tag, text) and (each.problem or not faulty)]
    failed = jobs.last_failed(store, KINDS, dataset_id)
    return web.page(
        "app/dataset.html",
        status=422 if wrong else 200,
        fragment="live",
        dataset=dataset,
        tabs=tabs(dataset, "pages.datasets.one"),
        pictures=shown if faulty else shown[:AT_FIRST],
        total=len(shown),
        every=len(every),
        faults_in=sum(1 for each in every if each.problem) + len(dataset.other_problems),
        tags=datasets.tag_counts(each.caption for each in every)[:MOST_TAGS],
        tag=tag,
        text=text,
        faulty=faulty,
        undo=step(datasets_edits.undoable(store, dataset_id)),
        redo=step(datasets_edits.redoable(store, dataset_id)),
        reasons=datasets_words.reasons,
        failed=failed,
        why=job_words.reason(failed) if failed else "",
        is_own=datasets.is_own(store, dataset),
        is_there=datasets.is_there(dataset),
        folder=folder,
        trained_by=[each.federation for each in memberships.listed(store) if each.dataset_id == dataset_id],
        most_bytes=datasets_uploads.MOST_BYTES,
        wanted=WANTED_ENDS,
        kept=[each for each in arrivals.listed(store, arrivals.PICTURES) if each.dataset_id == dataset_id],
        faults=wrong,
        name=dataset.name if name is None else name,
        longest_name=datasets.LONGEST_NAME,
        looking=looking,
        packed=datasets_uploads.packed(store, dataset_id),
        now=store.clock(),
    )


@blueprint.post("/datasets/<dataset_id>/trigger")
def triggers(dataset_id: str) -> AnyResponse:
    """Have training put a tag before every caption, or none."""
    try:
        datasets.set_trigger(current.store(), dataset_of(dataset_id).id, request.form.get("trigger", "")[:200])
    except DatasetError as error:
        why = faults.reason(str(error))
        flash(gettext("The trigger tag is as it was: %(reason)s.", reason=why), State.FAILED)
    else:
        flash(gettext("The trigger tag is kept. Training puts it before every caption."), State.DONE)
    return redirect(url_for("pages.datasets.one", dataset_id=dataset_id), 303)


@blueprint.post("/datasets/<dataset_id>/name")
def renames(dataset_id: str) -> AnyResponse:
    """Call the dataset otherwise, or say beside the field why not."""
    name = request.form.get("name", "")[:200]
    try:
        datasets.rename(current.store(), dataset_of(dataset_id).id, name)
    except MistakeError as error:
        return one_page(dataset_id, {"name": [faults.said(str(error))]}, name)
    flash(gettext("The dataset has its new name. Its folder keeps its own."), State.DONE)
    return redirect(url_for("pages.datasets.one", dataset_id=dataset_id), 303)


@blueprint.post("/datasets/<dataset_id>/folder")
def moves(dataset_id: str) -> AnyResponse:
    """Point the dataset at where its folder is now, or say beside the field why not."""
    folder = request.form.get("folder", "")[:4000]
    try:
        datasets.move(current.store(), dataset_of(dataset_id).id, folder)
    except MistakeError as error:
        return one_page(dataset_id, {"folder": [faults.said(str(error))]}, folder=folder)
    return redirect(url_for("pages.datasets.one", dataset_id=dataset_id), 303)


@blueprint.post("/datasets/<dataset_id>/look")
def looks(dataset_id: str) -> AnyResponse:
    """Look at the folder again."""
    datasets.forget_left_out(current.store(), dataset_of(dataset_id).id)
    datasets.look_again(current.store(), dataset_id)
    return redirect(url_for("pages.datasets.one", dataset_id=dataset_id), 303)


@blueprint.post("/datasets/<dataset_id>/remove")
def removes(dataset_id: str) -> AnyResponse:
    """Forget the dataset; the folder stays."""
    dataset, store = dataset_of(dataset_id), current.store()
    datasets.remove(store, dataset_id)
    datasets_check.forget(store, dataset_id)
    if datasets.is_own(store, dataset):
        flash(gettext("The dataset is taken out, and the app's copy of it deleted."), State.DONE)
    else:
        flash(gettext("The dataset is taken out. Its folder is as it was."), State.DONE)
    return redirect(url_for("pages.datasets.listed"), 303)


@blueprint.get("/datasets/<dataset_id>/pictures/<int:picture_id>")
def picture(dataset_id: str, picture_id: int) -> Response:
    """One picture with its caption to change, and the ways to those beside it."""
    return _picture(dataset_of(dataset_id), picture_id, {})


@blueprint.post("/datasets/<dataset_id>/pictures/<int:picture_id>")
def captions(dataset_id: str, picture_id: int) -> AnyResponse:
    """Write the caption, or say why it is not written."""
    dataset = dataset_of(dataset_id)
    try:
        text, seen = request.form.get("caption", ""), request.form.get("seen", "")
        done = datasets.caption(current.store(), dataset, picture_id, text, seen)
    except FedFlowError as error:
        row = picture_of(dataset_id, picture_id)
        wrong = faults.said(str(error)) if row.caption == seen else meanwhile.overtaken(row.caption)
        return _picture(dataset, picture_id, {"caption": [wrong]}, text)
    if done.kept:
        flash(f"{gettext('The caption is written.')} {datasets_words.kept(done.kept)}", State.DONE)
    elif caption_tags(text):
        flash(gettext("The caption is written."), State.DONE)
    else:
        flash(gettext("The caption is removed. Without one the picture is not trained on."), State.DONE)
    return redirect(url_for("pages.datasets.picture", dataset_id=dataset_id, picture_id=picture_id), 303)


@blueprint.get("/datasets/<dataset_id>/pictures/<int:picture_id>/small")
def small(dataset_id: str, picture_id: int) -> Response:
    """The picture as a thumbnail, with nothing else of its file; a crossed frame where it cannot be read."""
    dataset, row = dataset_of(dataset_id), picture_of(dataset_id, picture_id)
    try:
        content = thumbnails.small(current.store(), Path(dataset.folder) / row.path)
    except PictureError:
        return crossed()
    response = Response(content, mimetype=MEDIA_TYPE)
    response.cache_control.private, response.cache_control.max_age = True, DAY_S
    return response


def listed_page(folder: str, faults: dict[str, list[str]]) -> Response:
    lines = datasets.listed(current.store())
    return web.page(
        "app/datasets.html",
        status=422 if faults else 200,
        lines=lines,
        away={line.dataset.id for line in lines if not datasets.is_there(line.dataset)},
        refused=datasets_uploads.refused(current.store()),
        busy={job.asked["dataset"] for job in jobs.under_way(current.store(), KINDS)},
        folder=folder,
        faults=faults,
        most_bytes=datasets_uploads.MOST_BYTES,
        wanted=WANTED_ENDS,
        kept=arrivals.listed(current.store(), arrivals.PICTURES),
        names={line.dataset.id: line.dataset.name for line in lines},
    )


def _picture(dataset: Dataset, picture_id: int, faults: dict[str, list[str]], typed: str | None = None) -> Response:
    row = picture_of(dataset.id, picture_id)
    numbers = [each.id for each in datasets.lines(current.store(), dataset.id)]
    place = numbers.index(picture_id)
    return web.page(
        "app/dataset_picture.html",
        status=422 if faults else 200,
        dataset=dataset,
        reasons=datasets_words.reasons,
        picture=row,
        about=datasets.about(current.store(), dataset, picture_id),
        typed=row.caption if typed is None else typed,
        faults=faults,
        before=numbers[place - 1] if place else None,
        behind=numbers[place + 1] if place + 1 < len(numbers) else None,
        position=place + 1,
        total=len(numbers),
    )
