"""Uploads by the tus protocol 1.0: core, creation, creation-with-upload, termination, checksum, expiration.

https://tus.io/protocols/resumable-upload
"""

from __future__ import annotations

import binascii
import re
import select
import socket
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from flask import Response, request, url_for
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import Field
from werkzeug.http import http_date

from fedflow.federation.protocol import API, Message
from fedflow.server.api import current
from fedflow.server.api.idempotency import idempotent, identifier
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.api.slots import MOST_OF_A_DEVICE, TRANSFERS
from fedflow.server.errors import ApiError
from fedflow.server.services import imports, updates, uploads
from fedflow.server.services.upload_writing import CHECKSUMS, TAKING_IN, Body, Checksum, CutOff

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,termination,checksum,expiration"
OFFSET_TYPE = "application/offset+octet-stream"
CHECKSUM_BYTES = {"sha256": 32, "sha1": 20}
# Comma-separated pairs of a key and, where there is a value, its base64.
METADATA = re.compile(r"[!-+\--~]+( [A-Za-z0-9+/]*={0,2})?(,[ ]?[!-+\--~]+( [A-Za-z0-9+/]*={0,2})?)*")
MAX_METADATA_CHARACTERS = 2000
# A body of which fewer bytes come in this time is cut off: its thread and its upload are others' too.
LEAST_BYTES, STALL_S = 64 * 1024, 30.0
# After each piece there is a pause of so long as the piece takes at this speed, in which the reads of others are
# answered: as fast as they can, uploads keep the processor busy until they are over.
PACE_BYTES_PER_S = 80e6

blueprint = APIBlueprint(
    "uploads",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="uploads", description="tus 1.0.0")],
    abp_responses={**PROBLEMS},
    abp_security=[{"bearer": []}],
)


class UploadPath(Message):
    """Part of an address."""

    upload_id: str = Field(max_length=40)


class BadRequest(ApiError):  # noqa: N818 - the status's name
    """A header is missing or cannot be read."""

    status = 400
    code = "bad_request"


class OtherVersion(ApiError):  # noqa: N818 - what it is
    """Another version of tus."""

    status = 412
    code = "other_tus_version"


class OtherType(ApiError):  # noqa: N818 - what it is
    """A body that is no piece of an upload."""

    status = 415
    code = "unsupported_media_type"


@blueprint.after_request
def _speaks_tus(response: Response) -> Response:
    response.headers["Tus-Resumable"] = VERSION
    response.headers["Cache-Control"] = "no-store"
    if response.status_code == OtherVersion.status:
        response.headers["Tus-Version"] = VERSION
    return response


def options(upload_id: str | None = None) -> Response:  # noqa: ARG001 - the same for every upload
    """What this server can do."""
    headers = {
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(current.settings().max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
    }
    return Response(status=204, headers=headers)


@blueprint.post("/uploads", responses={201: None}, provide_automatic_options=False)
@idempotent
def create() -> Response:
    """Create an upload of Upload-Length bytes; a body of the type of PATCH is its beginning."""
    _check_version()
    settings = current.settings()
    if request.headers.get("Upload-Defer-Length") is not None:
        raise BadRequest("Upload-Defer-Length is not supported; send Upload-Length")
    length = _count("Upload-Length")
    metadata = request.headers.get("Upload-Metadata", "")
    if len(metadata) > MAX_METADATA_CHARACTERS or (metadata and not METADATA.fullmatch(metadata)):
        raise BadRequest(
            f"Upload-Metadata is not a list of 'key base64' in at most {MAX_METADATA_CHARACTERS} characters"
        )
    checksum = _checksum()
    store, caller = current.store(), current.caller()
    if caller.kind == "device":
        most_bytes = settings.max_upload_bytes
        updates.check_size(store, caller, length, most_bytes)
    else:
        most_bytes = settings.max_import_bytes
        imports.check_may_upload(store, caller)
    progress = uploads.create(store, caller, length, metadata, most_bytes, settings.upload_ttl_s, identifier())
    if request.mimetype == OFFSET_TYPE and progress.offset_bytes == 0:
        with incoming_body() as body:
            progress = uploads.append(store, caller, progress.id, 0, body, checksum, settings.upload_ttl_s)
    # Relative, so that it holds behind every proxy.
    location = url_for("uploads.append", upload_id=progress.id)
    return _told(progress, 201, {"Location": location})


def offset(upload_id: str) -> Response:
    """How far an upload is."""
    _check_version()
    progress = uploads.progress(current.store(), current.caller(), upload_id, current.settings().upload_ttl_s)
    headers = {"Upload-Length": str(progress.length_bytes)}
    if progress.upload_metadata:
        headers["Upload-Metadata"] = progress.upload_metadata
    return _told(progress, 200, headers)


@blueprint.patch("/uploads/<upload_id>", responses={204: None}, provide_automatic_options=False)
def append(path: UploadPath) -> Response:
    """Write the body at Upload-Offset. Every byte that the answer's Upload-Offset counts is on the disk."""
    return _append(path.upload_id)


@blueprint.delete("/uploads/<upload_id>", responses={204: None}, provide_automatic_options=False)
def terminate(path: UploadPath) -> Response:
    """Forget an upload and its bytes."""
    return _terminate(path.upload_id)


@blueprint.post("/uploads/<upload_id>", responses={204: None}, provide_automatic_options=False)
def overridden(path: UploadPath) -> Response:
    """PATCH or DELETE for clients whose network lets only POST through, named in X-HTTP-Method-Override."""
    method = request.headers.get("X-HTTP-Method-Override", "")
    if method == "PATCH":
        return _append(path.upload_id)
    if method == "DELETE":
        return _terminate(path.upload_id)
    raise BadRequest("POST to an upload needs 'X-HTTP-Method-Override: PATCH' or 'DELETE'")


def _append(upload_id: str) -> Response:
    _check_version()
    if request.mimetype != OFFSET_TYPE:
        raise OtherType(f"the body is no piece of an upload; send 'Content-Type: {OFFSET_TYPE}'")
    at, checksum = _count("Upload-Offset"), _checksum()
    with incoming_body() as body:
        progress = uploads.append(
            current.store(), current.caller(), upload_id, at, body, checksum, current.settings().upload_ttl_s
        )
    return _told(progress, 204, {})


def _terminate(upload_id: str) -> Response:
    _check_version()
    uploads.terminate(current.store(), current.caller(), upload_id, current.settings().upload_ttl_s)
    return Response(status=204)


# The API's description knows no such methods: tus describes them.
for _rule in ("/uploads", "/uploads/<upload_id>"):
    blueprint.add_url_rule(_rule, view_func=options, methods=["OPTIONS"], provide_automatic_options=False)
blueprint.add_url_rule("/uploads/<upload_id>", view_func=offset, methods=["HEAD"], provide_automatic_options=False)


class _Incoming:
    """The request's body, piece by piece."""

    def __init__(self) -> None:
        # The service says where the end is; the limit for JSON is not for uploads.
        settings = current.settings()
        request.max_content_length = max(settings.max_upload_bytes, settings.max_import_bytes) + 1
        self.received_bytes = 0
        self.over = threading.Event()
        source = request.environ["wsgi.input"]
        connection = request.environ.get("gunicorn.socket")
        reader = getattr(source, "reader", None)  # has an unreader where the body's length is known
        self._read: Callable[[int], bytes] = _in_pieces(request.stream)
        if connection is not None and hasattr(getattr(reader, "unreader", None), "take_buffered"):
            self._read = _straight(connection, reader)

    def read(self, size: int) -> bytes:
        try:
            chunk = self._read(size)
        except Exception as error:  # each WSGI server has its own for a body that ends early or is malformed
            self.over.set()
            raise CutOff from error
        self.received_bytes += len(chunk)
        if not chunk:
            self.over.set()
        return chunk

    def watch(self, connection: socket.socket) -> None:
        """Stop reading from a connection through which hardly anything comes."""
        seen_bytes = 0
        while not self.over.wait(STALL_S):
            if self.received_bytes - seen_bytes < LEAST_BYTES:
                with suppress(OSError):  # it is gone already
                    connection.shutdown(socket.SHUT_RD)
                return
            seen_bytes = self.received_bytes


def _in_pieces(stream: IO[bytes]) -> Callable[[int], bytes]:
    """A body from a stream that returns what was asked for and no less: small pieces, so that a slow one moves on."""
    return lambda size: stream.read(min(size, LEAST_BYTES))


def _straight(connection: socket.socket, reader: Any) -> Callable[[int], bytes]:
    """A body of known length, read from gunicorn's socket without the copies that its own reader makes.

    Those are made under the interpreter's lock, and fifty uploads at once would keep every other request waiting.
    """
    ready = select.poll()
    ready.register(connection, select.POLLIN)

    def read(size: int) -> bytes:
        size = min(size, reader.length)
        chunk: bytes = reader.unreader.take_buffered()  # what came along with the headers
        if len(chunk) > size:
            reader.unreader.unread(chunk[size:])
        chunk = chunk[:size]
        if not chunk and size:
            ready.poll()
            with TAKING_IN:
                chunk = connection.recv(size)
                time.sleep(len(chunk) / PACE_BYTES_PER_S)
        reader.length -= len(chunk)
        return chunk

    return read


@contextmanager
def incoming_body() -> Iterator[Body]:
    """The present request's body, for `uploads.append`; one that hardly moves is cut off."""
    incoming = _Incoming()
    connection = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if connection is not None:  # waitress has read the whole body already
        threading.Thread(target=incoming.watch, args=(connection,), daemon=True).start()
    try:
        with TRANSFERS.held(f"{current.caller().kind} {current.caller().id}", MOST_OF_A_DEVICE):
            yield Body(incoming.read, request.content_length)
    finally:
        incoming.over.set()


def _check_version() -> None:
    spoken = request.headers.get("Tus-Resumable")
    if spoken != VERSION:
        raise OtherVersion(f"Tus-Resumable is {(spoken or 'missing')[:20]!r}; this server speaks tus {VERSION}")


def _count(header: str) -> int:
    """A header that is a whole number from 0. Digits beyond those of any file are refused too."""
    text = request.headers.get(header, "")
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise BadRequest(f"{header} is {text[:20]!r}; send a whole number of bytes")
    return int(text)


def _checksum() -> Checksum | None:
    text = request.headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in CHECKSUMS:
        raise BadRequest(f"Upload-Checksum: {algorithm[:20]!r} is not supported; take one of {', '.join(CHECKSUMS)}")
    try:
        digest = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != CHECKSUM_BYTES[algorithm]:
        raise BadRequest(f"Upload-Checksum is no {algorithm} in base64; send '{algorithm} BASE64'")
    return Checksum(algorithm, digest)


def _told(progress: uploads.Progress, status: int, headers: dict[str, str]) -> Response:
    response = Response(status=status, headers=headers)
    response.headers["Upload-Offset"] = str(progress.offset_bytes)
    if progress.offset_bytes < progress.length_bytes:
        response.headers["Upload-Expires"] = http_date(progress.expires_at)
    return response
