"""Files that a page's script sends in pieces, in the shape of tus: created with their beginning, then piece by piece.

https://tus.io/protocols/resumable-upload. What differs: the same file is the same upload, whoever asks for it and
however often, so that a page that was loaded anew need not know its address.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from pathlib import Path

from flask import Blueprint, Response, abort, jsonify, redirect, request, url_for
from werkzeug import Response as AnyResponse
from werkzeug.exceptions import RequestEntityTooLarge

from fedflow.client.database.tables import Arrival
from fedflow.client.pages import current, faults
from fedflow.client.services import arrivals, manifests, shelving_uploads
from fedflow.client.services.arrivals import BEGINNING_BYTES, PIECE_BYTES, Sent
from fedflow.errors import FedFlowError, MistakeError, StorageError
from fedflow.web.kit import is_own_path

blueprint = Blueprint("arriving", __name__)

FIELD = "arrived"
"""The form's field of a file that has come in pieces: its identifier."""


@blueprint.post("/arriving")
def begins() -> AnyResponse:
    """How far a file is, whose Upload-Length, Upload-Metadata and beginning are sent; or why it is not taken.

    Where it is loose files after each other, their manifest follows the beginning.
    """
    request.max_content_length = BEGINNING_BYTES + manifests.MOST_BYTES
    told = _metadata(request.headers.get("Upload-Metadata", ""))
    length = request.headers.get("Upload-Length", "", str)
    if not length.isdecimal():
        abort(400)
    name = shelving_uploads.called(told.get("filename", ""))
    try:
        beginning, manifest = _beginning(min(int(length), BEGINNING_BYTES))
        about = told.get("what", ""), name, int(length), told.get("changed", "")
        sent = Sent(*about, beginning, manifest, told.get("dataset") or None)
        row = arrivals.begin(current.store(), sent)
    except FedFlowError as error:
        return _refused(error)
    return _told(row, 201, {"Location": url_for("pages.arriving.goes_on", arrival_id=row.id)})


@blueprint.patch("/arriving/<arrival_id>")
def goes_on(arrival_id: str) -> AnyResponse:
    """Write a piece at Upload-Offset; 409 says where the file is instead."""
    request.max_content_length = PIECE_BYTES
    at = request.headers.get("Upload-Offset", -1, int)
    piece = request.get_data()
    try:
        row = arrivals.append(current.store(), arrival_id, at, piece)
    except StorageError as error:
        return _refused(error)
    if row is None:
        abort(404)
    return _told(row, 204 if row.offset_bytes == at + len(piece) else 409, {})


@blueprint.post("/arriving/<arrival_id>/drop")
def drops(arrival_id: str) -> AnyResponse:
    """Forget a file that nobody wants any more."""
    arrivals.drop(current.store(), arrival_id)
    back = request.form.get("next", "")
    return redirect(back if is_own_path(back) else url_for("pages.activity.page"), 303)


def arrived(what: str) -> tuple[Arrival, Path] | None:
    """The file that came before this form, and its place; None where none did. Raises MistakeError."""
    arrival_id = request.form.get(FIELD, "")[:64]
    return arrivals.whole(current.store(), arrival_id, what) if arrival_id else None


def _beginning(size_bytes: int) -> tuple[bytes, str]:
    """What is sent of a file, and the manifest behind it. Raises MistakeError for one that is too long."""
    try:
        body = request.get_data()
        return body[:size_bytes], body[size_bytes:].decode()
    except RequestEntityTooLarge:
        raise MistakeError(manifests.TOO_LONG) from None
    except UnicodeDecodeError:
        abort(400)


def _metadata(text: str) -> dict[str, str]:
    """Of pairs of a key and a value in base64, separated by commas."""
    pairs = (pair.strip().partition(" ") for pair in text.split(","))
    try:
        return {key: b64decode(value, validate=True).decode() for key, _, value in pairs}
    except (binascii.Error, UnicodeDecodeError):
        abort(400)


def _refused(error: FedFlowError) -> AnyResponse:
    answer = jsonify({"told": faults.said(str(error))})
    answer.status_code = 507 if isinstance(error, StorageError) else 422
    return answer


def _told(row: Arrival, status: int, headers: dict[str, str]) -> Response:
    return Response(status=status, headers={**headers, "Upload-Offset": str(row.offset_bytes)})
