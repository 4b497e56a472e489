"""Downloads by content hash, whole or by Range."""

from __future__ import annotations

from flask import Response, request, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from fedflow.errors import StorageError
from fedflow.federation.protocol import API
from fedflow.server.api import current
from fedflow.server.api.messages import FilePath
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.api.slots import MOST_OF_A_DEVICE, TRANSFERS, until_sent
from fedflow.server.services import files

blueprint = APIBlueprint(
    "files",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="files")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)
YEAR_S = 31_536_000
CONTENT = {"description": "The content, or the part that Range asks for.", "content": {"application/octet-stream": {}}}


@blueprint.get("/files/<sha256>", responses={200: CONTENT, 206: CONTENT})
def content(path: FilePath) -> Response:
    """A file's content. Its ETag is its SHA-256, and it never changes."""
    caller = current.caller()
    asked = request.headers.get("Range", "bytes=")
    if "," in asked or not asked.startswith("bytes="):  # several parts, or another unit: all of it, as HTTP has it
        del request.environ["HTTP_RANGE"]
    place = files.path_for(current.store(), caller, path.sha256)
    leave = TRANSFERS.enter(f"device {caller.id}", MOST_OF_A_DEVICE) if caller.kind == "device" else None
    try:
        response = send_file(
            place, mimetype="application/octet-stream", conditional=True, etag=path.sha256, max_age=YEAR_S
        )
    except BaseException as error:
        if leave is not None:
            leave()
        if isinstance(error, OSError):
            raise StorageError(f"{place}: cannot be read ({error.strerror}); check the store") from error
        raise
    response.cache_control.public = False
    response.cache_control.private = True
    response.cache_control.immutable = True
    return response if leave is None else until_sent(response, leave)
