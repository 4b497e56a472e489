"""Lets requests in: each is held against the table of rights before its route is called."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Flask, Response, g, redirect, request, url_for
from werkzeug import Response as AnyResponse

from fedflow.errors import RunError
from fedflow.federation.protocol import PROTOCOL, PROTOCOL_HEADER
from fedflow.server.api import current, limits
from fedflow.server.api.rights import RIGHTS, SMALL_BYTES, Right
from fedflow.server.api.slots import MOST_PAGES, PAGES, TRANSFERS, until_sent
from fedflow.server.errors import Forbidden, LengthRequired, OtherProtocol, Unauthorised, Unprocessable
from fedflow.server.pages import browser, error_pages
from fedflow.server.services import catalogue, roles
from fedflow.server.services.identity import Caller, authenticate
from fedflow.web import guard

NUL = b"\\u0000"
"""As JSON writes it. One database keeps it in a text, the other does not."""

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
PAGES_OF_SIZE = frozenset({"openapi.openapi", "openapi.static", "swagger.swagger", "swagger.static"})


def set_up(app: Flask) -> None:
    """Let every request of `app` pass the table. Raises RunError where a route is not in it."""
    lacking = sorted({rule.endpoint for rule in app.url_map.iter_rules()} - RIGHTS.keys())
    if lacking:
        raise RunError(f"no right is given for {', '.join(lacking)}; add a line to RIGHTS in server/api/rights.py")
    app.before_request(_check)
    app.before_request(_refuse_nul)  # by then the content's length is limited
    app.after_request(_leave)


def _check() -> AnyResponse | None:
    if request.endpoint is None:
        return None  # no route: the answer is 404 or 405
    spoken = request.headers.get(PROTOCOL_HEADER)
    if spoken is not None and spoken != str(PROTOCOL):
        raise OtherProtocol(
            f"this server speaks protocol {PROTOCOL}, the client {spoken!r}; "
            "install the same version of FedFlow on both sides"
        )
    right = RIGHTS[request.endpoint]
    if right.who in ("anyone", "reader"):
        is_large = right.most_bytes > SMALL_BYTES and browser.signed_in() is not None  # none of a stranger's is read
        _limit_content(right.most_bytes if is_large else SMALL_BYTES)
        if request.endpoint.startswith(error_pages.PAGES) and request.method not in guard.SAFE:
            browser.check_guard()
        limits.check_address()
        if request.endpoint in PAGES_OF_SIZE:
            g.leave = TRANSFERS.enter(PAGES, MOST_PAGES)
        return _check_reader(right) if right.who == "reader" else None
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer" or not authorization.token:
        raise Unauthorised("the request has no token; send 'Authorization: Bearer TOKEN'")
    g.caller = authenticate(current.store(), authorization.token, request.remote_addr or "")
    limits.limits().take(limits.CALLS, f"{g.caller.kind} {g.caller.id}")
    if right.who not in ("caller", g.caller.kind):
        raise Forbidden(f"this is for a {right.who}, and the token is a {g.caller.kind}'s")
    if g.caller.kind == "device":
        if request.blueprint != "uploads":
            _limit_content(SMALL_BYTES)
        return None
    _check_person(g.caller, right)
    return None


def _check_reader(right: Right) -> AnyResponse | None:
    """Who is signed in may do what their roles say; anybody else is led to the sign-in page, and back from it."""
    found = browser.signed_in()
    if found is None:
        if request.method not in guard.SAFE:
            raise Unauthorised("you are signed out; sign in, and send it again")
        if "HX-Request" in request.headers:  # a part of a page that is open: the sign-in page must not stand in it
            shown = urlsplit(request.headers.get("HX-Current-URL", ""))
            return Response(status=204, headers={"HX-Redirect": _sign_in_page(f"{shown.path}?{shown.query}")})
        return redirect(_sign_in_page(request.full_path), 303)
    g.caller = found.caller
    limits.limits().take(limits.CALLS, f"person {g.caller.id}")
    _check_person(g.caller, right)
    return None


def _sign_in_page(wanted: str) -> str:
    """Its address, which leads back to `wanted` from there; that page looks whether it is one of ours."""
    wanted = wanted.rstrip("?")
    return url_for("pages.entry.sign_in_page", next=None if wanted in ("", "/") else wanted)


def _check_person(caller: Caller, right: Right) -> None:
    """Raise Forbidden or NotFound where a person's token or roles do not suffice for the present request."""
    if right.scope not in caller.scopes:
        raise Forbidden(f"this token lacks the scope '{right.scope}'; make one that has it on your account's page")
    if right.scope == "account" and caller.federation_id is not None:
        raise Forbidden("this token is for one federation, and your account belongs to all; use one without a limit")
    if right.admin and (not caller.is_admin or caller.federation_id is not None):
        raise Forbidden("this is for an administrator of the server")
    if right.role is None:
        return
    arguments = request.view_args or {}
    if right.artifact:
        [part] = catalogue.FOUND_BY.keys() & arguments
        if right.files:
            catalogue.require_files(current.store(), caller, part, str(arguments[part]))
            return
        catalogue.require(current.store(), caller, part, str(arguments[part]), right.role)
        return
    named = next((part for part in roles.KEY_OF if part in arguments), None)
    if named is not None:
        roles.require(current.store(), caller, named, str(arguments[named]), right.role)
        return
    content = request.get_json(silent=True) if right.who != "reader" else None
    federation_id = content.get("federation_id") if isinstance(content, dict) else None
    if isinstance(federation_id, str):  # what is no text is refused by the route, which reads it then
        roles.require(current.store(), caller, "federation_id", federation_id, right.role)


def _refuse_nul() -> None:
    if request.endpoint is None:
        return
    is_page = request.endpoint.startswith(error_pages.PAGES)
    is_form = is_page and request.mimetype in FORMS  # a piece of an upload is none
    sent = (request.values if is_form else request.args).values()
    if any("\0" in text for text in sent) or (request.is_json and NUL in request.get_data()):
        raise Unprocessable("the content holds the character NUL, which no text needs; leave it out")


def _limit_content(most_bytes: int) -> None:
    """Content that is read as a whole is short, and says its length: no thread waits for a stranger's."""
    if request.content_length is None and "Transfer-Encoding" in request.headers:
        raise LengthRequired("the content says no length; send it with Content-Length")
    request.max_content_length = request.max_form_memory_size = most_bytes


def _leave(response: Response) -> Response:
    leave = g.pop("leave", None)
    return response if leave is None else until_sent(response, leave)
