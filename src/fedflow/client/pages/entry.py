"""The password, where the app listens beyond this machine, and the way out again."""

from __future__ import annotations

import hmac
import time

from flask import Blueprint, Response, redirect, request, session, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.pages import current, doors

blueprint = Blueprint("entry", __name__)

WRONG_S = 1.0
"""A wrong password takes this long, each in a thread: a few a second can be tried."""


@blueprint.get("/password")
def page() -> Response:
    """Where the password is asked for."""
    return web.page("app/password.html", faults={})


@blueprint.post("/password")
def sign_in() -> AnyResponse:
    """Let this browser in, or say that it was wrong."""
    given = request.form.get("password", "")
    if not hmac.compare_digest(given.encode(), (current.settings().password or "").encode()):
        time.sleep(WRONG_S)
        return web.page("app/password.html", status=422, faults={"password": [gettext("This is not the password.")]})
    session[doors.SIGNED_IN] = doors.password_mark()
    return redirect(url_for("pages.generate.page"), 303)


@blueprint.post("/sign-out")
def sign_out() -> AnyResponse:
    """Let every browser out that the password has let in; it is asked for again."""
    doors.close()
    session.pop(doors.SIGNED_IN, None)
    return redirect(url_for("pages.entry.page", out=1), 303)
