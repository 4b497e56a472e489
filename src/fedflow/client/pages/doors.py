"""Who gets in: this machine's own browser, by its address, and by a password where the app listens beyond it.

A page of another site that the same browser shows can send requests here. They carry its own name as Origin, or another
Host where its name was made to lead here (DNS rebinding), and lack the forms' guard.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from flask import Flask, Response, g, redirect, request, session, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.pages import current
from fedflow.storage import write_atomic
from fedflow.web import guard

OWN_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN = frozenset({"web.asset", "web.preferences", "pages.entry.page", "pages.entry.sign_in"})
SIGNED_IN = "signed_in"
CLOSED = ".signed-out"
"""A file of the app's folder that is written anew whenever somebody signs out."""


def set_up(app: Flask) -> None:
    """Let nobody else in."""
    app.before_request(_check)


def password_mark() -> str:
    """What a browser that knows the password carries, in a cookie that only this app can write."""
    password, key = current.settings().password or "", current.store().key
    return hmac.new(key, password.encode() + _closed(), hashlib.sha256).hexdigest()


def close() -> None:
    """Have what browsers carry be worth nothing: of one that was copied, too."""
    write_atomic(current.store().folder / CLOSED, secrets.token_bytes(32))


def _closed() -> bytes:
    try:
        return (current.store().folder / CLOSED).read_bytes()
    except FileNotFoundError:
        return b""


def _check() -> AnyResponse | None:
    settings = current.settings()
    if settings.is_private and _host_of(f"//{request.host}") not in OWN_HOSTS:
        return _refused(421, gettext("This app answers to 127.0.0.1 and localhost alone. Open it by one of these."))
    if request.method not in guard.SAFE and not _is_own_form():
        reason = gettext("This form is not one that this browser was given. Load the page anew, then try again.")
        return _refused(403, reason)
    g.is_in = settings.password is None or hmac.compare_digest(str(session.get(SIGNED_IN, "")), password_mark())
    if g.is_in or request.endpoint in OPEN:
        return None
    place = url_for("pages.entry.page")
    is_part = "HX-Request" in request.headers  # the whole window goes there
    return Response(headers={"HX-Redirect": place}) if is_part else redirect(place, 303)


def _is_own_form() -> bool:
    origin = request.headers.get("Origin")
    return (origin is None or urlsplit(origin).netloc == request.host) and guard.is_ours()


def _refused(status: int, reason: str) -> AnyResponse:
    g.is_in = False
    return web.page("web/error.html", status=status, code=status, title=gettext("Refused"), reason=reason)


def _host_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
