"""POSTs that create, done once however often they are sent: the header `Idempotency-Key`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from flask import Response, g, request

from fedflow.server.api import current
from fedflow.server.errors import ApiError, Unprocessable
from fedflow.server.services import idempotency
from fedflow.server.services.idempotency import Answer

HEADER = "Idempotency-Key"
LONGEST_KEY = 200
TELLING = ("Upload-Length", "Upload-Metadata")
"""Headers that say what is asked for."""

KEPT = ("Location", "Upload-Offset", "Upload-Expires")
"""Headers that belong to the answer."""

P = ParamSpec("P")


def identifier() -> str | None:
    """What this request creates gets it, the same one where it came before with the same key; None without a key."""
    return str(g.identifier) if "identifier" in g else None


def idempotent(route: Callable[P, Response]) -> Callable[P, Response]:
    """Let `route`, which answers JSON or headers alone, be asked again with the same key without being done again.

    A request without a key is done as it is. Refused requests are not kept: corrected or later, they are done.
    """

    @wraps(route)
    def once(*args: P.args, **kwargs: P.kwargs) -> Response:
        key = request.headers.get(HEADER)
        if key is None:
            return route(*args, **kwargs)
        if not 1 <= len(key) <= LONGEST_KEY:
            raise Unprocessable(f"{HEADER}: {len(key)} characters; send 1 to {LONGEST_KEY}, best a random UUID")
        store = current.store()
        caller = f"{g.caller.kind} {g.caller.id}" if "caller" in g else "anyone"
        known = idempotency.claim(store, caller, key, _asked())
        if isinstance(known, Answer):
            return Response(known.body, known.status, known.headers, mimetype="application/json")
        g.identifier = known.identifier
        try:
            response = route(*args, **kwargs)
        except ApiError:  # after any other error it may have been created: the key keeps its identifier
            idempotency.release(store, caller, key, known)
            raise
        headers = {name: response.headers[name] for name in KEPT if name in response.headers}
        told = Answer(response.status_code, response.get_data(as_text=True), headers)
        idempotency.keep(store, caller, key, known, told)
        return response

    once.is_idempotent = True  # type: ignore[attr-defined]
    return once


def is_idempotent(route: object) -> bool:
    """Whether `idempotent` was put around a route, or around what a blueprint made of it."""
    while route is not None:
        if getattr(route, "is_idempotent", False):
            return True
        route = getattr(route, "__wrapped__", None)
    return False


def _asked() -> str:
    """The SHA-256 of what the request asks for: address and JSON, or for an upload its size, not its bytes."""
    told = [request.method, request.path, *(request.headers.get(name, "") for name in TELLING)]
    content = b"" if TELLING[0] in request.headers else request.get_data()
    return hashlib.sha256("\n".join(told).encode() + b"\n" + content).hexdigest()
