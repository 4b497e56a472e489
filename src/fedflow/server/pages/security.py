"""How one signs in: password, second factor, and the browsers that are signed in."""

from __future__ import annotations

import segno
from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from markupsafe import Markup
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.passwords import FEWEST
from fedflow.server.api import current
from fedflow.server.api.slots import TRANSFERS
from fedflow.server.errors import AlreadyMade, Conflict, Forbidden, Unprocessable
from fedflow.server.pages import agents, browser
from fedflow.server.pages.account import tabs
from fedflow.server.pages.entry import HASHING, MOST_AT_ONCE
from fedflow.server.pages.faults import beside, said
from fedflow.server.services import accounts, identities, second_factor, sign_in
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.web.states import State

blueprint = Blueprint("security", __name__)


@blueprint.get("/account/sign-in")
def overview() -> Response:
    """Password, second factor, browsers."""
    return page({})


@blueprint.post("/account/password")
def changes_password() -> AnyResponse:
    """Another password; other browsers are signed out."""
    old, new = request.form.get("old", ""), request.form.get("new", "")
    ends_tokens = "on" in request.form.getlist("tokens")
    try:
        with TRANSFERS.held(HASHING, MOST_AT_ONCE):
            accounts.change_password(
                current.store(), current.caller(), old, new, ends_tokens=ends_tokens, letter_in=browser.letter_in()
            )
    except Forbidden as error:
        return page(beside(error, "old"), ends_tokens=ends_tokens)
    except Unprocessable as error:
        return page({"new": beside(error)["password"]}, ends_tokens=ends_tokens)
    said = gettext("Your password is changed, and your other browsers are signed out.")
    if ends_tokens:
        said = f"{said} " + gettext("Your API tokens are revoked.")
    answer = _done(said)
    return browser.let_in(answer, sign_in.renew(current.store(), current.caller()))


@blueprint.post("/account/second-factor")
def begins() -> AnyResponse:
    """Make a secret for another device, once the password is given."""
    if (faults := _confirmed()) is not None:
        return page(faults)
    second_factor.begin(current.store(), current.caller())
    return redirect(url_for("pages.security.device"), 303)


@blueprint.get("/account/second-factor")
def device() -> AnyResponse:
    """The secret as a picture and as text, and a field for the device's first code."""
    return _device({})


@blueprint.post("/account/second-factor/code")
def confirms() -> AnyResponse:
    """Ask for the second factor from now on; the codes for the device's loss are shown this once."""
    store, caller = current.store(), current.caller()
    try:
        codes = second_factor.confirm(store, caller, request.form.get("code", ""), browser.letter_in())
    except Unprocessable as error:
        if second_factor.is_on(store, caller):
            return _told(
                gettext(
                    "The second step is on already, and its recovery codes were shown once. If you did not save them, "
                    "switch it off and set it up anew."
                ),
                State.REFUSED,
            )
        return _device(beside(error, "code"))
    return browser.keep_in(web.page("pages/recovery.html", codes=codes), sign_in.renew(store, caller))


@blueprint.post("/account/second-factor/recovery-codes")
def renews_codes() -> AnyResponse:
    """New codes for the device's loss, shown this once; those before count no more."""
    if (faults := _confirmed()) is not None:
        return page(faults)
    form = kept_id(request.form.get("identifier", ""))
    try:
        codes = second_factor.renew_codes(current.store(), current.caller(), form=form, letter_in=browser.letter_in())
    except AlreadyMade:
        return _told(
            gettext("These codes were made already, and were shown once. If you did not save them, make others."),
            State.REFUSED,
        )
    except Conflict as error:
        return _told(said(str(error)), State.REFUSED)
    return web.page("pages/recovery.html", codes=codes)


@blueprint.post("/account/second-factor/off")
def takes_off() -> AnyResponse:
    """Sign in with the password alone again."""
    if (faults := _confirmed()) is not None:
        return page(faults)
    caller = current.caller()
    second_factor.take_off(current.store(), caller, caller.id, browser.letter_in())
    return _done(gettext("The second step is off: your password alone signs you in."))


@blueprint.post("/account/browsers/<browser_id>/end")
def ends(browser_id: str) -> AnyResponse:
    """Sign one of the reader's browsers out."""
    sign_in.end(current.store(), current.caller(), browser_id)
    return _done(gettext("That browser is signed out."))


@blueprint.post("/account/browsers/end")
def ends_others() -> AnyResponse:
    """Sign all of them out but this one."""
    sign_in.end_others(current.store(), current.caller())
    return _done(gettext("All other browsers are signed out."))


def _confirmed() -> dict[str, list[str]] | None:
    """The fault where the password that the form brings is wrong."""
    try:
        with TRANSFERS.held(HASHING, MOST_AT_ONCE):
            sign_in.confirm(current.store(), current.caller(), request.form.get("password", ""))
    except Forbidden as error:
        return beside(error, "password")
    return None


def page(faults: dict[str, list[str]], *, ends_tokens: bool = True) -> Response:
    """All of it, with what is wrong beside the fields."""
    store, caller = current.store(), current.caller()
    here = caller.via.removeprefix("sign-in ")
    browsers = [
        {
            "id": each.id,
            "name": agents.named(each.agent),
            "address": each.address,
            "seen": each.seen_at,
            "began": each.created_at,
            "is_here": each.id == here,
        }
        for each in sign_in.browsers(store, caller)
    ]
    browsers.sort(key=lambda each: not each["is_here"])
    return web.page(
        "pages/security.html",
        status=422 if faults else 200,
        tabs=tabs("pages.security.overview"),
        browsers=browsers,
        is_on=second_factor.is_on(store, caller),
        identifier=new_id(),
        codes_left=second_factor.codes_left(store, caller),
        has_password=browser.asks_password(),
        provider=current.settings().provider_name,
        identities=identities.linked(store, caller),
        faults=faults,
        ends_tokens="on" if ends_tokens else "off",
        fewest=FEWEST,
    )


def _device(faults: dict[str, list[str]]) -> AnyResponse:
    begun = second_factor.begun(current.store(), current.caller())
    if begun is None:
        return redirect(url_for("pages.security.overview"), 303)
    drawn = segno.make(begun.address, error="m", micro=False)
    picture = drawn.svg_inline(scale=4, border=4, dark="#000", light="#fff", omitsize=False)
    secret = " ".join(begun.secret[at : at + 4] for at in range(0, len(begun.secret), 4))
    return web.page(
        "pages/device.html",
        status=422 if faults else 200,
        picture=Markup(picture),  # noqa: S704 - drawn by segno: a path, no text of anybody's
        secret=secret,
        faults=faults,
    )


def _done(sentence: str) -> AnyResponse:
    return _told(sentence, State.DONE)


def _told(sentence: str, state: State) -> AnyResponse:
    flash(sentence, state)
    return redirect(url_for("pages.security.overview"), 303)
