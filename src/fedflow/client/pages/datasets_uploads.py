"""Bringing pictures through the browser: dropped on the page or chosen, as files or as one zip."""

from __future__ import annotations

from pathlib import PurePath

from flask import Blueprint, flash, jsonify, redirect, request, url_for
from flask_babel import gettext, ngettext
from werkzeug import Response as AnyResponse
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge

from fedflow.client.pages import current, faults
from fedflow.client.pages.datasets import listed_page
from fedflow.client.services import datasets_uploads
from fedflow.client.services.datasets_uploads import MOST_BYTES, MOST_FILES
from fedflow.errors import FedFlowError, MistakeError
from fedflow.web.states import State

blueprint = Blueprint("datasets_uploads", __name__)


@blueprint.post("/datasets/upload")
def takes() -> AnyResponse:
    """Take what was sent in as a new dataset, or say why not."""
    request.max_form_parts, request.max_content_length = 2 * MOST_FILES, MOST_BYTES + 10_000_000
    try:
        files = [each for each in request.files.getlist("files") if each.filename]
        dataset_id = _taken(request.form.get("name", "")[:200], files)
    except RequestEntityTooLarge:
        most = MOST_BYTES // 1_000_000
        return _refused(
            gettext(
                "More than %(most)s MB at once. Put the pictures into a folder on this machine, then add that.",
                most=most,
            )
        )
    except FedFlowError as error:
        return _refused(faults.said(str(error)))
    place = url_for("pages.datasets.one", dataset_id=dataset_id)
    return jsonify({"place": place}) if _is_script() else redirect(place, 303)


def _taken(name: str, files: list[FileStorage]) -> str:
    store = current.store()
    zips = [each for each in files if str(each.filename).lower().endswith(".zip")]
    if len(files) == 1 and zips:
        called = PurePath(str(zips[0].filename)).stem
        return datasets_uploads.take_archive(store, name.strip() or called, zips[0].stream)
    if zips:
        raise MistakeError("a zip comes alone; bring either one zip, or pictures and captions")
    streams = [(str(each.filename), each.stream) for each in files]
    if not name.strip() and streams:
        name = PurePath(streams[0][0]).parts[0] if "/" in streams[0][0] else ""
    dataset_id, left_out = datasets_uploads.take(store, name, streams)
    if left_out:
        told = ngettext(
            "%(num)s file was left out: it is neither picture nor caption.",
            "%(num)s files were left out: they are neither pictures nor captions.",
            left_out,
        )
        flash(told, State.REFUSED)
    return dataset_id


def _is_script() -> bool:
    return request.accept_mimetypes.best_match(("text/html", "application/json")) == "application/json"


def _refused(why: str) -> AnyResponse:
    if _is_script():
        answer = jsonify({"told": why})
        answer.status_code = 422
        return answer
    return listed_page("", {"files": [why]})
