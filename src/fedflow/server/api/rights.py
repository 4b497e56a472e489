"""Who may call what. A route that is not in the table cannot be served."""

from __future__ import annotations

from typing import Literal

from flask import Flask, Response, g, request

from fedflow.errors import RunError
from fedflow.federation.protocol import PROTOCOL, PROTOCOL_HEADER
from fedflow.server.api import current
from fedflow.server.api.slots import MOST_PAGES, PAGES, TRANSFERS, until_sent
from fedflow.server.errors import Forbidden, LengthRequired, OtherProtocol, Unauthorised, Unprocessable
from fedflow.server.services.identity import authenticate

Right = Literal["anyone", "device", "person", "caller"]
"""'caller' is a device or a person; what either may see of it is the service's to say."""

RIGHTS: dict[str, Right] = {
    "health.healthz": "anyone",
    "health.readyz": "anyone",
    "openapi.openapi": "anyone",
    "openapi.doc_url": "anyone",
    "openapi.static": "anyone",
    "swagger.swagger": "anyone",
    "swagger.static": "anyone",
    "swagger.oauth2-redirect": "anyone",
    "devices.join": "anyone",
    "devices.challenge": "anyone",
    "devices.token": "anyone",
    "devices.me": "caller",
    "devices.revoke": "person",
    "federations.create": "person",
    "federations.listed": "person",
    "federations.members": "person",
    "federations.new_code": "person",
    "federations.remove_member": "person",
    "events.listed": "person",
    "files.content": "caller",
    "registry.models": "caller",
    "registry.adapters": "caller",
    "registry.versions": "caller",
    "registry.lineage": "caller",
    "registry.export": "person",
    "runs.create": "person",
    "runs.listed": "caller",
    "runs.facts": "caller",
    "runs.scored": "caller",
    "runs.rounds": "caller",
    "runs.explained": "person",
    "runs.refused": "caller",
    "runs.ask_again": "person",
    "runs.pause": "person",
    "runs.resume": "person",
    "runs.stop": "person",
    "runs.close_round": "person",
    "uploads.options": "anyone",
    "uploads.create": "device",
    "uploads.offset": "device",
    "uploads.append": "device",
    "uploads.terminate": "device",
    "uploads.overridden": "device",
    "work.current_work": "device",
    "work.consent": "device",
    "work.hand_in": "device",
}

SMALL_BYTES = 64_000
"""Most content of a request of anybody's or a device's, uploads apart. A plan, which a person sends, may be larger."""

NUL = b"\\u0000"
"""As JSON writes it. One database keeps it in a text, the other does not."""

PAGES_OF_SIZE = frozenset({"openapi.openapi", "openapi.static", "swagger.swagger", "swagger.static"})


def set_up(app: Flask) -> None:
    """Let every request of `app` pass the table. Raises RunError where a route is not in it."""
    lacking = sorted({rule.endpoint for rule in app.url_map.iter_rules()} - RIGHTS.keys())
    if lacking:
        raise RunError(f"no right is given for {', '.join(lacking)}; add a line to RIGHTS in server/api/rights.py")
    app.before_request(_check)
    app.before_request(_refuse_nul)  # by then the content's length is limited
    app.after_request(_leave)


def _check() -> None:
    if request.endpoint is None:
        return  # no route: the answer is 404 or 405
    spoken = request.headers.get(PROTOCOL_HEADER)
    if spoken is not None and spoken != str(PROTOCOL):
        raise OtherProtocol(
            f"this server speaks protocol {PROTOCOL}, the client {spoken!r}; "
            "install the same version of FedFlow on both sides"
        )
    right = RIGHTS[request.endpoint]
    if right == "anyone":
        _limit_content(SMALL_BYTES)
        if request.endpoint in PAGES_OF_SIZE:
            g.leave = TRANSFERS.enter(PAGES, MOST_PAGES)
        return
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer" or not authorization.token:
        raise Unauthorised("the request has no token; send 'Authorization: Bearer TOKEN'")
    g.caller = authenticate(current.store(), authorization.token)
    if right not in ("caller", g.caller.kind):
        raise Forbidden(f"this is for a {right}, and the token is a {g.caller.kind}'s")
    if g.caller.kind == "device" and request.blueprint != "uploads":
        _limit_content(SMALL_BYTES)


def _refuse_nul() -> None:
    if request.endpoint is not None and request.is_json and NUL in request.get_data():
        raise Unprocessable("the content holds the character NUL, which no text needs; leave it out")


def _limit_content(most_bytes: int) -> None:
    """Content that is read as a whole is short, and says its length: no thread waits for a stranger's."""
    if request.content_length is None and "Transfer-Encoding" in request.headers:
        raise LengthRequired("the content says no length; send it with Content-Length")
    request.max_content_length = most_bytes


def _leave(response: Response) -> Response:
    leave = g.pop("leave", None)
    return response if leave is None else until_sent(response, leave)
