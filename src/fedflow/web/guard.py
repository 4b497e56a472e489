"""The forms' guard: a form carries a keyed hash of a cookie that other sites can neither read nor set."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from flask import Flask, Response, current_app, g, request
from werkzeug import Response as AnyResponse

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
FIELD, HEADER = "csrf_token", "X-CSRFToken"
OWN_SITES = frozenset({"", "same-origin", "none"})
"""What browsers that say where a request comes from say of our own pages."""

EXTENSION = "fedflow.guard"


@dataclass(frozen=True)
class _Guard:
    key: Callable[[], bytes]
    max_age_s: float


def set_up(app: Flask, key: Callable[[], bytes], max_age_s: float) -> None:
    """Give the templates `csrf_token`, and every browser a cookie of its own for `max_age_s` seconds.

    `key` gives the app's secret bytes, the same in all its processes.
    """
    app.extensions[EXTENSION] = _Guard(key, max_age_s)
    app.jinja_env.globals["csrf_token"] = token
    app.after_request(_keep)


def cookie_name(kind: str) -> str:
    """A cookie's name: over https one that no other host, and nothing unencrypted, can set."""
    return f"__Host-fedflow_{kind}" if request.is_secure else f"fedflow_{kind}"


def set_cookie(answer: AnyResponse, kind: str, value: str, max_age_s: float) -> None:
    """Give the browser a cookie that no script reads and no other site's form sends."""
    answer.set_cookie(
        cookie_name(kind), value, max_age=int(max_age_s), httponly=True, secure=request.is_secure, samesite="Lax"
    )


def token() -> str:
    """What a form of this browser carries."""
    if "guard_token" not in g:  # each row of a list may have a form
        cookie = request.cookies.get(cookie_name("guard")) or g.setdefault("new_guard", secrets.token_urlsafe(24))
        g.guard_token = _hash(str(cookie))
    return str(g.guard_token)


def is_ours() -> bool:
    """Whether this request's form is one that this browser was given by this app."""
    cookie = request.cookies.get(cookie_name("guard"), "")
    sent = request.headers.get(HEADER) or request.form.get(FIELD, "")
    known = cookie != "" and hmac.compare_digest(sent.encode(), _hash(cookie).encode())
    return known and request.headers.get("Sec-Fetch-Site", "") in OWN_SITES


def renew(answer: AnyResponse) -> None:
    """Give this browser a new cookie: forms that it was given before are worth nothing."""
    set_cookie(answer, "guard", secrets.token_urlsafe(24), _settings().max_age_s)


def _keep(answer: Response) -> Response:
    """Give a browser that has no cookie yet the one that its page was drawn with."""
    if "new_guard" in g:
        set_cookie(answer, "guard", g.new_guard, _settings().max_age_s)
    return answer


def _hash(cookie: str) -> str:
    return hashlib.sha256((_settings().key().hex() + cookie).encode("utf-8", "surrogatepass")).hexdigest()


def _settings() -> _Guard:
    return cast(_Guard, current_app.extensions[EXTENSION])
