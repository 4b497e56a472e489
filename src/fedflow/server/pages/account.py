"""One's own account: name and language, address, one's data, and the end of it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import force_locale, get_locale, gettext
from pydantic import TypeAdapter
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.api.slots import TRANSFERS
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.pages import browser
from fedflow.server.pages.entry import HASHING, MOST_AT_ONCE
from fedflow.server.pages.faults import beside
from fedflow.server.services import accounts, directory, letters, own_data
from fedflow.web import languages, meanwhile
from fedflow.web.states import State

blueprint = Blueprint("account", __name__)

EXPORT = TypeAdapter(dict[str, Any])
"""Writes indented JSON in a thirtieth of the standard library's time: an account may have thousands of lines."""


def tabs(here: str) -> list[dict[str, object]]:
    """The parts of the account; `here` is the present one's endpoint."""
    parts = {
        "pages.account.profile": gettext("Profile"),
        "pages.security.overview": gettext("Sign-in"),
        "pages.tokens.own": gettext("API tokens"),
        "pages.tryouts.own": gettext("Pictures"),
        "pages.account.data": gettext("Data"),
    }
    return [{"label": word, "href": url_for(part), "here": part == here} for part, word in parts.items()]


@blueprint.get("/account")
def profile() -> Response:
    """Name, language and address."""
    return _profile()


@blueprint.post("/account")
def saves() -> AnyResponse:
    """Another name, another language."""
    merged = meanwhile.merge(_kept(), request.form)
    if merged.overtaken:
        known = {"": gettext("As set in the browser"), **languages.LANGUAGES}
        return _profile(merged.values, meanwhile.faults(merged, {"locale": known}), status=409)
    name, locale = merged.values["name"], merged.values["locale"] or None
    try:
        accounts.rename(current.store(), current.caller(), name, locale)
    except Unprocessable as error:
        return _profile(merged.values, beside(error), status=422)
    with force_locale(locale or str(get_locale())):  # the next page speaks it
        flash(gettext("Saved."), State.DONE)
    answer = redirect(url_for("pages.account.profile"), 303)
    answer.delete_cookie(languages.COOKIE)  # what was chosen here counts, and not what was chosen in this browser
    return answer


@blueprint.post("/account/address")
def changes_address() -> AnyResponse:
    """Another address to sign in with."""
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        with TRANSFERS.held(HASHING, MOST_AT_ONCE):
            accounts.change_email(current.store(), current.caller(), password, email, browser.letter_in())
    except (Unprocessable, Forbidden, Conflict) as error:
        return _profile({"email": email}, beside(error, "password"), status=422)
    flash(gettext("You sign in with %(email)s from now on.", email=email.strip().lower()), State.DONE)
    return redirect(url_for("pages.account.profile"), 303)


@blueprint.post("/account/address/letter")
def asks_for_letter() -> AnyResponse:
    """Have the link sent once more with which the address is confirmed."""
    if (locale := browser.letter_in()) is None:
        raise NotFound("there is nothing at this address; see /openapi for what there is")
    letters.ask_to_confirm(current.store(), current.caller().id, locale)
    flash(gettext("A letter with a link is on its way."), State.DONE)
    return redirect(url_for("pages.account.profile"), 303)


@blueprint.get("/account/data")
def data() -> Response:
    """What the server holds of the reader, and the end of the account."""
    return _data({})


@blueprint.get("/account/data.json")
def exported() -> Response:
    """All of it as a file."""
    told = own_data.export(current.store(), current.caller())
    answer = Response(EXPORT.dump_json(told, indent=2) + b"\n", mimetype="application/json")
    answer.headers["Content-Disposition"] = 'attachment; filename="fedflow-account.json"'
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.post("/account/delete")
def deletes() -> AnyResponse:
    """Close the account for good."""
    try:
        with TRANSFERS.held(HASHING, MOST_AT_ONCE):
            accounts.delete_account(
                current.store(), current.caller(), request.form.get("password", ""), request.form.get("email", "")
            )
    except (Forbidden, Conflict, Unprocessable) as error:
        return _data(beside(error, "password"))
    flash(gettext("Your account is closed."), State.DONE)
    return browser.let_out(redirect(url_for("pages.entry.sign_in_page"), 303))


def _kept() -> dict[str, str]:
    """Name and language, as their form carries them."""
    return {"name": current.caller().name, "locale": browser.language() or ""}


def _profile(
    values: dict[str, str] | None = None, faults: dict[str, list[str]] | None = None, *, status: int = 200
) -> Response:
    return web.page(
        "pages/account.html",
        status=status,
        account=directory.account(current.store(), current.caller().id),
        mark=meanwhile.mark(_kept()),
        sends=current.settings().sends_letters,
        tabs=tabs("pages.account.profile"),
        values={**_kept(), "email": "", **(values or {})},
        faults=faults or {},
    )


def _data(faults: dict[str, list[str]]) -> Response:
    return web.page("pages/data.html", status=422 if faults else 200, tabs=tabs("pages.account.data"), faults=faults)
