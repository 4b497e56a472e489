"""Datasets: folders of pictures, the grid of one with its tags and problems, and each picture's caption."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, abort, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Dataset, Picture
from fedflow.client.pages import current
from fedflow.client.services import datasets, jobs
from fedflow.datasets.captions import caption_tags
from fedflow.datasets.pixels import PictureError
from fedflow.datasets.thumbnails import MEDIA_TYPE, thumbnail
from fedflow.errors import DatasetError, MistakeError
from fedflow.web.reading import sentence
from fedflow.web.states import State

blueprint = Blueprint("datasets", __name__)

ON_A_PAGE = 120
MOST_TAGS = 60
DAY_S = 86_400
UNREADABLE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 160"><path d="M24 24h112v112H24zl112 112m0-112L24 136" '
    'fill="none" stroke="#888" stroke-width="2"/></svg>'
)


@blueprint.get("/datasets")
def listed() -> Response:
    """All datasets, and the form for one more."""
    return _listed("", {})


@blueprint.post("/datasets")
def adds() -> AnyResponse:
    """Take a folder in, or say what is wrong with it."""
    folder = request.form.get("folder", "")[:4000]
    try:
        dataset_id = datasets.add(current.store(), folder)
    except MistakeError as error:
        return _listed(folder, {"folder": [sentence(str(error))]})
    return redirect(url_for("pages.datasets.one", dataset_id=dataset_id), 303)


@blueprint.get("/datasets/<dataset_id>")
def one(dataset_id: str) -> Response:
    """The grid: all pictures, those with a tag or a text in the caption, or those that cannot be used."""
    dataset, store = _dataset(dataset_id), current.store()
    tag, text = request.args.get("tag", "")[:200], request.args.get("text", "").strip()[:200]
    faulty = "problems" in request.args
    first = max(request.args.get("first", 0, type=int), 0)
    every = datasets.pictures(store, dataset_id)
    shown = [each for each in every if _is_wanted(each, tag, text, faulty)]

    def at(first: int) -> str:
        kept = {"tag": tag or None, "text": text or None, "problems": "" if faulty else None, "first": first or None}
        return url_for("pages.datasets.one", dataset_id=dataset_id, **kept)  # type: ignore[arg-type]

    return web.page(
        "app/dataset.html",
        fragment="live",
        dataset=dataset,
        pictures=shown[first : first + ON_A_PAGE],
        total=len(shown),
        first=first,
        every=len(every),
        faults_in=sum(1 for each in every if each.problem) + len(dataset.other_problems),
        tags=datasets.tag_counts(every)[:MOST_TAGS],
        tag=tag,
        text=text,
        faulty=faulty,
        newer=at(max(first - ON_A_PAGE, 0)) if first else None,
        older=at(first + ON_A_PAGE) if len(shown) > first + ON_A_PAGE else None,
        looking=[job for job in jobs.under_way(store, (datasets.KIND,)) if job.asked["dataset"] == dataset_id],
        now=store.clock(),
    )


@blueprint.post("/datasets/<dataset_id>/look")
def looks(dataset_id: str) -> AnyResponse:
    """Look at the folder again."""
    datasets.look_again(current.store(), _dataset(dataset_id).id)
    return redirect(url_for("pages.datasets.one", dataset_id=dataset_id), 303)


@blueprint.post("/datasets/<dataset_id>/remove")
def removes(dataset_id: str) -> AnyResponse:
    """Forget the dataset; the folder stays."""
    datasets.remove(current.store(), dataset_id)
    flash(gettext("The dataset is taken out. Its folder is as it was."), State.DONE)
    return redirect(url_for("pages.datasets.listed"), 303)


@blueprint.get("/datasets/<dataset_id>/pictures/<int:picture_id>")
def picture(dataset_id: str, picture_id: int) -> Response:
    """One picture with its caption to change, and the ways to those beside it."""
    return _picture(_dataset(dataset_id), picture_id, {})


@blueprint.post("/datasets/<dataset_id>/pictures/<int:picture_id>")
def captions(dataset_id: str, picture_id: int) -> AnyResponse:
    """Write the caption, or say why it is not written."""
    dataset = _dataset(dataset_id)
    try:
        text, seen = request.form.get("caption", "")[:10_000], request.form.get("seen", "")
        datasets.caption(current.store(), dataset, picture_id, text, seen)
    except (MistakeError, DatasetError) as error:
        return _picture(dataset, picture_id, {"caption": [sentence(str(error))]}, request.form.get("caption", ""))
    flash(gettext("The caption is written."), State.DONE)
    return redirect(url_for("pages.datasets.picture", dataset_id=dataset_id, picture_id=picture_id), 303)


@blueprint.get("/datasets/<dataset_id>/pictures/<int:picture_id>/small")
def small(dataset_id: str, picture_id: int) -> Response:
    """The picture as a thumbnail, with nothing else of its file; a crossed frame where it cannot be read."""
    dataset, row = _dataset(dataset_id), _row(dataset_id, picture_id)
    try:
        content = thumbnail(Path(dataset.folder) / row.path)
    except PictureError:
        response = Response(UNREADABLE, mimetype="image/svg+xml")
        response.cache_control.no_store = True
        return response
    response = Response(content, mimetype=MEDIA_TYPE)
    response.cache_control.private, response.cache_control.max_age = True, DAY_S
    return response


def _listed(folder: str, faults: dict[str, list[str]]) -> Response:
    return web.page(
        "app/datasets.html",
        status=422 if faults else 200,
        lines=datasets.listed(current.store()),
        folder=folder,
        faults=faults,
    )


def _picture(dataset: Dataset, picture_id: int, faults: dict[str, list[str]], typed: str | None = None) -> Response:
    row = _row(dataset.id, picture_id)
    numbers = [each.id for each in datasets.pictures(current.store(), dataset.id)]
    place = numbers.index(picture_id)
    return web.page(
        "app/dataset_picture.html",
        status=422 if faults else 200,
        dataset=dataset,
        picture=row,
        typed=row.caption if typed is None else typed,
        faults=faults,
        before=numbers[place - 1] if place else None,
        behind=numbers[place + 1] if place + 1 < len(numbers) else None,
        position=place + 1,
        total=len(numbers),
    )


def _is_wanted(each: Picture, tag: str, text: str, faulty: bool) -> bool:
    if faulty and not each.problem:
        return False
    if tag and tag not in caption_tags(each.caption):
        return False
    return text.casefold() in f"{each.caption}\n{each.path}".casefold()


def _dataset(dataset_id: str) -> Dataset:
    return datasets.one(current.store(), dataset_id) or abort(404)


def _row(dataset_id: str, picture_id: int) -> Picture:
    return datasets.picture(current.store(), dataset_id, picture_id) or abort(404)
