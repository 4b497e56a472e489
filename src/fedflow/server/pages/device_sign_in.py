"""A machine that asks to join is let in here, by the code that it shows."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.errors import Forbidden, NotFound, Unprocessable
from fedflow.server.pages.faults import beside
from fedflow.server.services import device_sign_in
from fedflow.web.reading import last_values
from fedflow.web.states import State

blueprint = Blueprint("device_sign_in", __name__)


@blueprint.get("/device")
def page() -> Response:
    """A field for the code, or the machine that shows it."""
    code = request.args.get("code", "").strip()[:40]
    return _page({"code": code}, {})


@blueprint.post("/device")
def lets_in() -> AnyResponse:
    """Let it in."""
    sent = last_values(request.form)
    code = sent.get("code", "")[:40]
    try:
        found = device_sign_in.approve(
            current.store(), current.caller(), code, sent.get("federation", "")[:40], sent.get("member", "")[:200]
        )
    except (Forbidden, NotFound, Unprocessable) as error:
        return _page(sent, beside(error))
    flash(gettext("“%(device)s” is let in, and goes on by itself.", device=found.device), State.DONE)
    return redirect(url_for("pages.device_sign_in.page"), 303)


@blueprint.post("/device/refuse")
def refuses() -> AnyResponse:
    """Do not let it in."""
    sent = last_values(request.form)
    try:
        device_sign_in.refuse(current.store(), sent.get("code", "")[:40])
    except NotFound as error:
        return _page(sent, beside(error))
    flash(gettext("The machine is not let in, and told so."), State.DONE)
    return redirect(url_for("pages.device_sign_in.page"), 303)


def _page(values: dict[str, str], faults: dict[str, list[str]]) -> Response:
    store, asking, choices = current.store(), None, []
    if values.get("code") and "code" not in faults:
        try:
            asking = device_sign_in.asking(store, values["code"])
        except NotFound as error:
            faults = beside(error)
        else:
            choices = device_sign_in.choices(store, current.caller())
    return web.page(
        "pages/device_sign_in.html",
        status=422 if faults else 200,
        asking=asking,
        choices=choices,
        values=values,
        faults=faults,
    )
