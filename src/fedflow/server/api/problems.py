"""Every error as the one shape `protocol.Problem`, or as a page; the right status, one clear sentence, no traceback."""

from __future__ import annotations

import errno
import logging
from http import HTTPStatus

from flask import Flask, Response, g, make_response, request
from flask_openapi3.types import ResponseDict
from pydantic import ValidationError
from sqlalchemy.exc import DatabaseError, DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, InternalServerError

from fedflow.errors import MistakeError, StorageError, StoreAway
from fedflow.federation.protocol import PROTOCOL, Fault, Problem
from fedflow.server.api.current import answer
from fedflow.server.api.limits import TooOften
from fedflow.server.errors import ApiError, Unavailable, UnderWay
from fedflow.server.pages import error_pages

STATUSES = (400, 401, 403, 404, 408, 409, 410, 411, 413, 415, 416, 422, 426, 429, 500, 503, 507)
PROBLEMS: ResponseDict = dict.fromkeys(STATUSES, Problem)
"""Errors that a route may give; the API's description leaves out those that one of them cannot."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DISK_FULL_STATE = "53100"
"""PostgreSQL's word for it."""

FULL = "the server's disk is full; its coordinator must free space, then try again"
RETRY_AFTER_S = 5
HEADERS = {
    401: ("WWW-Authenticate", "Bearer"),
    426: ("Upgrade", f"FedFlow/{PROTOCOL}"),
    429: ("Retry-After", str(RETRY_AFTER_S)),
    503: ("Retry-After", str(RETRY_AFTER_S)),
}
RETRIED = (429, 503)
"""A page too says when to try again; how one signs in to the API is nothing to a browser."""

SENTENCES = {
    404: "there is nothing at this address; see /openapi for what there is",
    405: "this address does not take the method {method}; see /openapi for what it takes",
    413: "the request is larger than the server takes here",
    416: "the range is outside the file; ask for the file without one",
}
KINDS = ("int", "float")
"""What pydantic adds to the place of a value that may be of several kinds."""

log = logging.getLogger("fedflow.server")


def set_up(app: Flask) -> None:
    """Answer whatever a request of `app` may end with."""
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(MistakeError, lambda error: problem(422, "mistake", str(error)))
    app.register_error_handler(StorageError, _storage_error)
    app.register_error_handler(
        RecursionError, lambda _: problem(400, "bad_request", "the content is nested too deeply")
    )
    app.register_error_handler(DataError, lambda _: problem(422, "unprocessable", "a value in it cannot be stored"))
    app.register_error_handler(DatabaseError, _database_error)  # OperationalError, and a file that is damaged
    app.register_error_handler(InterfaceError, _database_error)
    app.register_error_handler(PoolTimeout, _database_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _defect)


def problem(status: int, code: str, message: str) -> Response:
    """The response for an error: a page where a browser asked for one, else the one shape."""
    if error_pages.wants_page():
        response = error_pages.error_page(status, message)
    else:
        fault = Fault(code=code, message=message, request_id=g.get("request_id", ""))
        response = answer(Problem(error=fault), status)
    if status in HEADERS and (status in RETRIED or not error_pages.wants_page()):
        response.headers.set(*HEADERS[status])
    return response


def unreadable_request(error: ValidationError) -> Response:
    """The response to a request whose content pydantic refuses: the first thing that is wrong with it."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "model_type":  # the content is no object at all
        if request.content_length and not request.is_json:
            return problem(415, "unsupported_media_type", "the content is not JSON; send it as application/json")
        return problem(400, "bad_request", "the content is not a JSON object; check its syntax")
    if first["type"] == "json_invalid":
        return problem(400, "bad_request", "the content is not JSON; check its syntax")
    where = ".".join(str(part) for part in first["loc"] if part not in KINDS)
    return problem(422, "unprocessable", f"{where or 'content'}: {_lower(first['msg'].removeprefix('Value error, '))}")


def _api_error(error: ApiError) -> Response:
    response = problem(error.status, error.code, str(error))
    if isinstance(error, UnderWay):
        response.headers["Retry-After"] = "1"
    if isinstance(error, TooOften):
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _storage_error(error: StorageError) -> Response:
    log.error("%s", error, extra={"request_id": g.get("request_id", "")})
    if isinstance(error, StoreAway):
        return _api_error(Unavailable("the server's store does not answer; try again in a moment"))
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in DISK_FULL:
        return problem(507, "disk_full", FULL)
    return problem(500, "storage", "the server cannot use its store; its log names the file and the reason")


def _database_error(error: Exception) -> Response:
    if type(error) not in (DatabaseError, OperationalError, InterfaceError, PoolTimeout):
        return _defect(error)  # what was asked of it is wrong
    log.error("database: %s", error, extra={"request_id": g.get("request_id", "")})
    cause = getattr(error, "orig", None)
    if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL" or getattr(cause, "sqlstate", "") == DISK_FULL_STATE:
        return problem(507, "disk_full", FULL)
    return _api_error(Unavailable("the server's database does not answer; try again in a moment"))


def _http_error(error: HTTPException) -> Response:
    if error.response is not None:  # a whole response that a route aborted with
        return make_response(error.response)
    if isinstance(error, InternalServerError) and error.original_exception is not None:
        return _defect(error.original_exception)
    status = error.code or 500
    name = HTTPStatus(status).phrase
    sentence = SENTENCES.get(status, _lower(error.description or name)).format(method=request.method)
    response = problem(status, name.lower().replace(" ", "_").replace("-", "_"), sentence)
    for header, value in error.get_headers(request.environ):
        if header not in ("Content-Type", "Content-Length"):
            response.headers[header] = value  # Allow, Content-Range
    return response


def _defect(error: BaseException) -> Response:
    log.error("defect: %s", error, exc_info=error, extra={"request_id": g.get("request_id", "")})
    return problem(500, "failed", "the server failed; its log tells why under this request_id")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
