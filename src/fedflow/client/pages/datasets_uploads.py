"""Bringing pictures through the browser: dropped or chosen, loose or as one zip.

Either comes in pieces before the form; without scripts, with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO

from flask import Blueprint, abort, flash, request, url_for
from flask_babel import ngettext
from werkzeug import Response as AnyResponse
from werkzeug.exceptions import RequestEntityTooLarge

from fedflow.client.pages import arriving, current, faults, sending
from fedflow.client.pages.datasets import listed_page, one_page
from fedflow.client.pages.datasets_asked import dataset_of
from fedflow.client.services import arrivals, datasets, datasets_uploads, manifests
from fedflow.client.services.datasets_uploads import MOST_BYTES
from fedflow.errors import DatasetError, FedFlowError, MistakeError
from fedflow.web.states import State

blueprint = Blueprint("datasets_uploads", __name__)

MANIFEST = "manifest"
"""The form's field of what the loose files are that came in pieces."""


@dataclass(frozen=True)
class Brought:
    """What was brought: a zip, open or at its place, or else files; `name` is that of the zip or the first file."""

    name: str
    archive: IO[bytes] | Path | None
    files: Iterable[tuple[str, IO[bytes]]] = ()
    promised_bytes: int | None = None


@blueprint.post("/datasets/upload")
def takes() -> AnyResponse:
    """Take what was sent in as a new dataset, or say why not."""
    store, name = current.store(), request.form.get("name", "")[:200].strip()
    try:
        with _brought() as brought:
            if brought.archive is not None:
                dataset_id = datasets_uploads.take_archive(store, name or PurePath(brought.name).stem, brought.archive)
            else:
                name = name or _folder(brought.name)
                dataset_id, left_out = datasets_uploads.take(store, name, brought.files, brought.promised_bytes)
                _tell_left_out(left_out)
    except FedFlowError as error:
        return _refused(error, None)
    return _taken(dataset_id)


@blueprint.post("/datasets/<dataset_id>/upload")
def takes_more(dataset_id: str) -> AnyResponse:
    """Take what was sent into this dataset, which is the app's own, or say why not."""
    store = current.store()
    if sending.is_script() and datasets.one(store, dataset_id) is None:
        return sending.told(faults.said(arrivals.TAKEN_OUT))
    dataset = dataset_of(dataset_id)
    if not datasets.is_own(store, dataset):
        abort(404)
    try:
        with _brought() as brought:
            if brought.archive is not None:
                datasets_uploads.take_more_of_archive(store, dataset, brought.archive)
            else:
                _tell_left_out(datasets_uploads.take_more(store, dataset, brought.files, brought.promised_bytes))
    except FedFlowError as error:
        return _refused(error, dataset_id)
    return _taken(dataset_id)


@contextmanager
def _brought() -> Iterator[Brought]:
    """What came in pieces before this form, or else with it.

    What came in pieces is forgotten once it is taken, or refused for what it is. Raises MistakeError where it has not
    arrived, or is more than is taken at once.
    """
    came = arriving.arrived(arrivals.PICTURES)
    if came is None:
        yield _with_form()
        return
    row, place = came
    try:
        if row.files is None:
            yield Brought(row.name, place)
        else:
            with manifests.cut(place, request.form.get(MANIFEST, "")) as parts:
                yield Brought(parts.first, None, parts.streams(), parts.total_bytes)
    except DatasetError:
        arrivals.drop(current.store(), row.id)
        raise
    arrivals.drop(current.store(), row.id)


def _with_form() -> Brought:
    try:
        files = [each for each in request.files.getlist("files") if each.filename]
    except RequestEntityTooLarge:
        raise MistakeError(f"more than {MOST_BYTES // 1_000_000} MB at once; add the folder that they lie in") from None
    streams: list[tuple[str, IO[bytes]]] = [(str(each.filename), each.stream) for each in files]
    names = [name for name, _ in streams]
    first = names[0] if names else ""
    return Brought(first, streams[0][1]) if datasets_uploads.is_archive(names) else Brought(first, None, streams)


def _folder(name: str) -> str:
    """The folder that a file of this name lies in; '' where it is in none."""
    parts = PurePath(name).parts
    return parts[0] if len(parts) > 1 else ""


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
