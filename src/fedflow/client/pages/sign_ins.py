"""Signing in at a server, which lets this machine into a federation without a code that somebody hands on."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, abort, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.addresses import is_private, sign_in_page
from fedflow.client.pages import current, faults
from fedflow.client.services import datasets, server_sign_ins
from fedflow.client.services.server_sign_ins import SignInRequest
from fedflow.errors import FedFlowError
from fedflow.web.forms import describe
from fedflow.web.reading import Reading, last_values, read

blueprint = Blueprint("sign_ins", __name__)


@blueprint.get("/federations/sign-in")
def form() -> AnyResponse:
    """The server's address, and this machine's name; first of all it needs pictures, as the form to join says."""
    if not datasets.listed(current.store()):
        return redirect(url_for("pages.federations.join_form"), 303)
    given = {name: request.args[name][:400] for name in ("server", "device") if name in request.args}
    return _page(Reading(None, given))


@blueprint.post("/federations/sign-in")
def begins() -> AnyResponse:
    """Have the server wait for its owner."""
    reading = read(SignInRequest, last_values(request.form))
    if reading.settings is None:
        return _page(reading, status=422)
    try:
        row = server_sign_ins.begin(current.store(), reading.settings)
    except FedFlowError as error:
        refused = faults.refused(reading, error)
        if "" in refused.faults:  # all that can be wrong with an answer is about the server that gave it
            refused.faults.setdefault("server", []).extend(refused.faults.pop(""))
        return _page(refused, status=422)
    return redirect(url_for("pages.sign_ins.waits", sign_in_id=row.id), 303)


@blueprint.get("/federations/sign-in/<sign_in_id>")
def waits(sign_in_id: str) -> AnyResponse:
    """The server's page to open, and the code to compare; it goes on when the server has let this machine in."""
    store = current.store()
    row = server_sign_ins.one(store, sign_in_id) or abort(404)
    reason = ""
    try:
        state = server_sign_ins.ask(store, row)
    except FedFlowError as error:
        state, reason = "waiting", faults.said(str(error))
    if state == "approved":
        target = url_for("pages.federations.join_form", signed_in=row.id)
        if "HX-Request" in request.headers:
            return Response(status=204, headers={"HX-Redirect": target})
        return redirect(target, 303)
    return web.page(
        "app/sign_in_waits.html",
        fragment="live",
        row=row,
        state=state,
        reason=reason,
        address=sign_in_page(row.server, row.user_code),
        is_private=is_private(row.server),
        left_s=max(0.0, row.expires_at - store.clock()),
    )


def _page(reading: Reading[SignInRequest], *, status: int = 200) -> Response:
    [group] = describe(SignInRequest)
    found = {field.name: field for field in group.fields}
    return web.page(
        "app/sign_in.html",
        status=status,
        fields=[
            replace(found["server"], label=gettext("Server")),
            replace(found["device"], label=gettext("This machine's name")),
        ],
        values=reading.values,
        faults=reading.faults,
    )
