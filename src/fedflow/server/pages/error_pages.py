"""The page that answers a request that could not be done, with the way on."""

from __future__ import annotations

from flask import Response, request, url_for
from flask_babel import gettext, lazy_gettext

from fedflow import web
from fedflow.server.pages import browser
from fedflow.server.pages.faults import beside
from fedflow.server.services.provider import NO_ANSWER

PAGES = ("pages.", "web.")
"""How the endpoints of pages begin."""

TITLES = {
    400: lazy_gettext("The request is not valid"),
    401: lazy_gettext("You are signed out"),
    403: lazy_gettext("Not allowed"),
    404: lazy_gettext("Page not found"),
    405: lazy_gettext("The request is not valid"),
    410: lazy_gettext("This is gone"),
    413: lazy_gettext("Too large"),
    429: lazy_gettext("Too many requests"),
    500: lazy_gettext("The server failed"),
    503: lazy_gettext("A part of the server does not answer"),
    507: lazy_gettext("The server's disk is full"),
}

PROVIDER = ("pages.provider.leaves", "pages.provider.returns")
"""On the way to the sign-in provider and back."""


def wants_page() -> bool:
    """Whether this request is answered by a page where it fails: a page's own, or a browser's that has lost its way."""
    if request.endpoint is not None:
        return request.endpoint.startswith(PAGES)
    return not request.path.startswith("/api/") and "text/html" in request.headers.get("Accept", "")


def error_page(status: int, sentence: str) -> Response:
    """The answer to a request that could not be done."""
    title = TITLES.get(status, lazy_gettext("This could not be done"))
    if sentence == NO_ANSWER:
        title = lazy_gettext("The sign-in provider does not answer")
    reason = next(iter(beside(RuntimeError(sentence)).values()))[0]
    way_out, target = _way_out(status)
    return web.page(
        "web/error.html", status=status, code=status, title=title, reason=reason, way_out=way_out, way_out_href=target
    )


def _way_out(status: int) -> tuple[str | None, str | None]:
    """What to do now, and its address; None for the first page."""
    if status == 401:
        return gettext("Sign in"), url_for("pages.entry.sign_in_page")
    if status == 410 and request.endpoint in ("pages.entry.password_page", "pages.entry.sets_password"):
        return gettext("Forgotten password"), url_for("pages.entry.forgotten")
    if status == 410 and request.endpoint in ("pages.entry.address_page", "pages.entry.confirms_address"):
        return gettext("Account"), url_for("pages.account.profile")
    if request.endpoint in PROVIDER and status < 500 and browser.signed_in() is not None:
        return gettext("Sign-in"), url_for("pages.security.overview")
    if request.endpoint in PROVIDER:
        return gettext("Sign in"), url_for("pages.entry.sign_in_page")
    return None, None
