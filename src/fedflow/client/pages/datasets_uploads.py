"""Bringing pictures through the browser: dropped or chosen, as files or as one zip, which comes in pieces."""

from __future__ import annotations

from pathlib import PurePath
from typing import IO

from flask import Blueprint, abort, flash, request, url_for
from flask_babel import ngettext
from werkzeug import Response as AnyResponse
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from fedflow.client.pages import arriving, current, faults, sending
from fedflow.client.pages.datasets import listed_page, one_page
from fedflow.client.pages.datasets_asked import dataset_of
from fedflow.client.services import arrivals, datasets, datasets_uploads
from fedflow.client.services.datasets_uploads import MOST_BYTES
from fedflow.errors import FedFlowError, MistakeError
from fedflow.web.states import State

blueprint = Blueprint("datasets_uploads", __name__)


@blueprint.post("/datasets/upload")
def takes() -> AnyResponse:
    """Take what was sent in as a new dataset, or say why not."""
    try:
        dataset_id = _new(_files())
    except FedFlowError as error:
        return _refused(error, None)
    return _taken(dataset_id)


@blueprint.post("/datasets/<dataset_id>/upload")
def takes_more(dataset_id: str) -> AnyResponse:
    """Take what was sent into this dataset, which is the app's own, or say why not."""
    dataset, store = dataset_of(dataset_id), current.store()
    if not datasets.is_own(store, dataset):
        abort(404)
    try:
        files = _files()
        if (came := arriving.arrived(arrivals.PICTURES)) is not None:
            datasets_uploads.take_more_of_archive(store, dataset, came[2])
            arrivals.drop(store, came[0])
        elif (archive := _archive(files)) is not None:
            datasets_uploads.take_more_of_archive(store, dataset, archive.stream)
        else:
            _tell_left_out(datasets_uploads.take_more(store, dataset, _streams(files)))
    except FedFlowError as error:
        return _refused(error, dataset_id)
    return _taken(dataset_id)


def _files() -> list[FileStorage]:
    """What was sent. Raises MistakeError where that is more than is taken at once."""
    try:
        return [each for each in request.files.getlist("files") if each.filename]
    except RequestEntityTooLarge:
        raise MistakeError(f"more than {MOST_BYTES // 1_000_000} MB at once; add the folder that they lie in") from None


def _new(files: list[FileStorage]) -> str:
    store, name = current.store(), request.form.get("name", "")[:200].strip()
    if (came := arriving.arrived(arrivals.PICTURES)) is not None:
        dataset_id = datasets_uploads.take_archive(store, name or PurePath(came[1]).stem, came[2])
        arrivals.drop(store, came[0])
        return dataset_id
    if (archive := _archive(files)) is not None:
        return datasets_uploads.take_archive(store, name or PurePath(str(archive.filename)).stem, archive.stream)
    streams = _streams(files)
    if not name and streams and "/" in streams[0][0]:
        name = PurePath(streams[0][0]).parts[0]
    dataset_id, left_out = datasets_uploads.take(store, name, streams)
    _tell_left_out(left_out)
    return dataset_id


def _archive(files: list[FileStorage]) -> FileStorage | None:
    """The zip, where one was sent. Raises MistakeError where it does not come alone."""
    zips = [each for each in files if str(each.filename).lower().endswith(".zip")]
    if zips and len(files) > 1:
        raise MistakeError("a zip comes alone; bring either one zip, or pictures and captions")
    return zips[0] if zips else None


def _streams(files: list[FileStorage]) -> list[tuple[str, IO[bytes]]]:
    return [(str(each.filename), each.stream) for each in files]


def _tell_left_out(left_out: int) -> None:
    if left_out:
        told = ngettext(
            "%(num)s file was left out: it is neither picture nor caption.",
            "%(num)s files were left out: they are neither pictures nor captions.",
            left_out,
        )
        flash(told, State.REFUSED)


def _taken(dataset_id: str) -> AnyResponse:
    return sending.led_to(url_for("pages.datasets.one", dataset_id=dataset_id))


def _refused(error: FedFlowError, dataset_id: str | None) -> AnyResponse:
    why = faults.said(str(error))
    if sending.is_script():
        return sending.told(why)
    return listed_page("", {"files": [why]}) if dataset_id is None else one_page(dataset_id, {"files": [why]})
