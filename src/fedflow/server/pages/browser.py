"""The reader's browser: the cookie that it is signed in by, the forms' guard, and what is drawn for it once."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from socket import gethostname
from urllib.parse import urlsplit

from flask import Flask, g, request
from flask.sessions import SecureCookieSessionInterface
from flask_babel import get_locale
from werkzeug import Response as AnyResponse

from fedflow.server.api import current
from fedflow.server.errors import Forbidden
from fedflow.server.services import sign_in
from fedflow.server.services.identity import Caller
from fedflow.server.services.sign_in import SignedIn
from fedflow.web import guard
from fedflow.web.guard import cookie_name

EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with
"""Addresses that are listened on, and are none to go to."""

STALE = "the form is not one that this browser was given; go back, load the page again, and send it once more"


class FlashCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, which carries what the next page tells, named and kept as the other cookies."""

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002 - Flask's
        """As `cookie_name`."""
        return cookie_name("told")

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002 - Flask's
        """Only over https where the request came over it."""
        return request.is_secure


def set_up(app: Flask) -> None:
    """Give the templates the guard, every browser its own, and the flashes their cookie."""
    app.secret_key = current.store().key("told") if app.secret_key is None else app.secret_key
    app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    app.session_interface = FlashCookie()
    guard.set_up(app, lambda: current.store().key("forms"), sign_in.LONGEST_S)
    app.jinja_env.globals["asks_password"] = asks_password


def address() -> str:
    """The server's address for links that people send on, without a slash at its end.

    Without a public address it is the one that the reader used, where that is this machine's: a name that somebody else
    makes lead here stands in no link.
    """
    settings = current.settings()
    if settings.public_url is not None:
        return settings.public_url
    asked = urlsplit(request.url_root)
    if asked.hostname is not None and _is_own(asked.hostname, settings.host):
        return request.url_root.rstrip("/")
    name = gethostname() if settings.host in EVERYWHERE else settings.host
    host = f"[{name}]" if ":" in name else name
    return f"{asked.scheme}://{host}:{settings.port}"


def _is_own(name: str, listens_on: str) -> bool:
    if name in {"localhost", listens_on, gethostname()}:
        return True
    try:
        return ip_address(name).is_private
    except ValueError:
        return False


def signed_in() -> SignedIn | None:
    """Who is signed in with this browser; looked up once a request."""
    if "signed_in" not in g:
        cookie = request.cookies.get(cookie_name("sign_in"), "")
        g.signed_in = sign_in.who(current.store(), cookie, request.remote_addr or "") if cookie else None
    found: SignedIn | None = g.signed_in
    return found


def asked_later() -> Callable[[], Caller | None]:
    """Asks who is signed in with this browser, as often as it is called, after the request's end too."""
    store, cookie, address = current.store(), request.cookies.get(cookie_name("sign_in"), ""), request.remote_addr or ""

    def ask() -> Caller | None:
        found = sign_in.who(store, cookie, address)
        return None if found is None else found.caller

    return ask


def asks_password() -> bool:
    """Whether the reader has a password to confirm things with; looked up once a request."""
    if "asks_password" not in g:
        g.asks_password = sign_in.has_password(current.store(), current.caller())
    return bool(g.asks_password)


def language() -> str | None:
    """The language that the reader's account names. Asks nothing: an error page is drawn without the database too."""
    found: SignedIn | None = g.get("signed_in")
    return None if found is None else found.locale


def letter_in() -> str | None:
    """The language of a letter that the reader causes: the one of their page; None where none is sent."""
    return str(get_locale()) if current.settings().sends_letters else None


def reader() -> str:
    """The reader's identifier; empty for nobody. Asks nothing, as `language`."""
    found: SignedIn | None = g.get("signed_in")
    return "" if found is None else found.caller.id


def let_in(answer: AnyResponse, cookie: str) -> AnyResponse:
    """Sign this browser in: a new cookie, so that one that was planted before is worth nothing, and a new guard."""
    guard.renew(answer)
    return keep_in(answer, cookie)


def keep_in(answer: AnyResponse, cookie: str) -> AnyResponse:
    """A new cookie for who is signed in already; the guard stays, so that a reload is told what became of its form."""
    guard.set_cookie(answer, "sign_in", cookie, sign_in.LONGEST_S)
    return answer


def let_out(answer: AnyResponse) -> AnyResponse:
    """Forget the cookie of this browser."""
    answer.delete_cookie(cookie_name("sign_in"), secure=request.is_secure, httponly=True, samesite="Lax")
    return answer


def check_guard() -> None:
    """Raise Forbidden for a form that this browser was not given by this server."""
    if not guard.is_ours():
        raise Forbidden(STALE)
