"""Coming in: sign-in with its second step, invitations, registration, passwords set by a link, signing out."""

from __future__ import annotations

import base64
import json

from cryptography.fernet import Fernet, InvalidToken
from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import get_locale, gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.passwords import FEWEST
from fedflow.server.api import current, limits
from fedflow.server.api.slots import TRANSFERS
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unauthorised, Unprocessable
from fedflow.server.pages import browser
from fedflow.server.pages.faults import beside, said
from fedflow.server.services import accounts, invitations, letters, links, passwords, sign_in
from fedflow.server.services.identity import secret_hash
from fedflow.server.services.sign_in import NeedsCode
from fedflow.web import guard
from fedflow.web.kit import is_own_path
from fedflow.web.states import State

blueprint = Blueprint("entry", __name__)

STEP_S = 300
"""How long the first step of a sign-in waits for the second."""

HASHING, MOST_AT_ONCE = "passwords", 16
"""Hashing takes time and memory: those beyond are told to try again, so that threads are left for all others."""


@blueprint.get("/sign-in")
def sign_in_page() -> AnyResponse:
    """The form; who is signed in already goes on."""
    if browser.signed_in() is not None:
        return redirect(wanted(), 303)
    return _sign_in_form()


@blueprint.post("/sign-in")
def signs_in() -> AnyResponse:
    """Sign this browser in, or say in one sentence that it cannot be."""
    email, step = request.form.get("email", ""), request.form.get("step", "")
    first = {"email": email, "password": request.form.get("password", "")}
    if step:
        try:
            first = _stepped(step)
        except InvalidToken:
            told = gettext("The first step was too long ago. Sign in once more.")
            return _sign_in_form({"email": email}, {"password": [told]})
    elif faults := _missing(first):
        return _sign_in_form({"email": email}, faults)
    return lets_in(first, request.form.get("code", ""), wanted(), is_second=step != "")


def lets_in(first: dict[str, str], code: str = "", target: str = "/", *, is_second: bool = False) -> AnyResponse:
    """Sign this browser in, or the form for what is wrong or still to come.

    `first` is what the first step brought: address and password, or person and provider.
    """
    try:
        cookie = _signed_in(first, code)
    except NeedsCode:
        return _code_form(first, target, said(sign_in.NEEDS_CODE) if is_second else "")
    except Unauthorised as error:
        fault = said(str(error))
        if is_second:
            return _code_form(first, target, fault)
        return _sign_in_form({"email": first.get("email", "")}, {"password": [fault]})
    return browser.let_in(redirect(target, 303), cookie)


@blueprint.post("/sign-out")
def signs_out() -> AnyResponse:
    """Sign this browser out."""
    caller = current.caller()
    sign_in.end(current.store(), caller, caller.via.removeprefix("sign-in "))
    flash(gettext("You are signed out."), State.DONE)
    return browser.let_out(redirect(url_for("pages.entry.sign_in_page"), 303))


@blueprint.get("/forgotten")
def forgotten() -> Response:
    """What to do without one's password; the same for everybody."""
    return web.page("pages/forgotten.html", sends=current.settings().sends_letters)


@blueprint.post("/forgotten")
def asks_for_link() -> Response:
    """Have a link sent to an address; what is answered says nothing of who has it."""
    return _asked("password")


@blueprint.get("/register")
def registration() -> Response:
    """A form for an account without an invitation, where the server is open to everybody."""
    _check_open()
    return _register_form({}, {})


@blueprint.post("/register")
def registers() -> AnyResponse:
    """Make an account, and sign it in; where letters are sent, send the address a link with which it is made."""
    _check_open()
    return _asked("register") if current.settings().sends_letters else _made(None)


@blueprint.get("/invitation/<code>")
def invitation(code: str) -> Response:
    """What one is invited to; a form to make an account, or a button for who has one."""
    return _invitation_form(code)


@blueprint.post("/invitation/<code>")
def takes_up(code: str) -> AnyResponse:
    """Take the invitation up: with the account one is signed in with, or with a new one."""
    found = browser.signed_in()
    if found is None:
        return _made(code)
    try:
        invitations.accept(current.store(), found.caller, code)
    except (Forbidden, Conflict) as error:
        return _invitation_form(code, faults=beside(error))
    flash(gettext("You have accepted the invitation."), State.DONE)
    return redirect("/", 303)


@blueprint.get("/password/<code>")
def password_page(code: str) -> Response:
    """A form for a new password, where the link still holds. Opening it does not use it up."""
    links.check(current.store(), code, "password")
    return web.page("pages/password.html", faults={}, fewest=FEWEST)


@blueprint.post("/password/<code>")
def sets_password(code: str) -> AnyResponse:
    """Set the password by the link; whoever has linked identities is led to where these can be unlinked."""
    password, address = request.form.get("password", ""), request.remote_addr or ""
    with TRANSFERS.held(HASHING, MOST_AT_ONCE):
        try:
            linked = accounts.reset_password(current.store(), code, password, address, browser.letter_in())
        except Unprocessable as error:
            return web.page("pages/password.html", status=422, faults=beside(error), fewest=FEWEST)
    flash(gettext("Your password is set. Sign in with it."), State.DONE)
    provider = current.settings().provider_name
    if not linked or not provider:
        return redirect(url_for("pages.entry.sign_in_page"), 303)
    warning = gettext(
        "An identity at %(provider)s is still linked to your account and signs in without the password. Once you are "
        "signed in you come to “Sign-in”: if you did not link it yourself, unlink it there.",
        provider=provider,
    )
    flash(warning, State.WAITING)
    return redirect(url_for("pages.entry.sign_in_page", next=url_for("pages.security.overview")), 303)


@blueprint.get("/address/<code>")
def address_page(code: str) -> Response:
    """A button for who has the account: programs that look at links in letters must not confirm anything."""
    links.check(current.store(), code, "address")
    return web.page("pages/address.html")


@blueprint.post("/address/<code>")
def confirms_address(code: str) -> AnyResponse:
    """Confirm that the address is read by who has the account, and is signed in."""
    accounts.confirm_address(current.store(), current.caller(), code)
    flash(gettext("Your address is confirmed."), State.DONE)
    return redirect("/", 303)


def _missing(first: dict[str, str]) -> dict[str, list[str]]:
    """What a sign-in needs and has not brought, by field."""
    faults: dict[str, list[str]] = {}
    if "@" not in first["email"]:
        faults |= beside(Unprocessable("email: has no @"))
    if not first["password"]:
        faults["password"] = [gettext("Write your password.")]
    return faults


def _sign_in_form(values: dict[str, str] | None = None, faults: dict[str, list[str]] | None = None) -> Response:
    return web.page(
        "pages/sign_in.html",
        status=422 if faults else 200,
        next=wanted(),
        values=values or {},
        faults=faults or {},
        is_open=current.settings().open_registration,
        provider=current.settings().provider_name,
    )


def _code_form(first: dict[str, str], target: str, fault: str) -> Response:
    """The second step. The first one's answers go with it, in a text that only this server reads, for this browser."""
    told = json.dumps({**first, "guard": secret_hash(guard.token())})
    step = _cipher().encrypt_at_time(told.encode(), int(current.store().clock())).decode()
    return web.page(
        "pages/sign_in_code.html",
        status=422 if fault else 200,
        next=target,
        step=step,
        faults={"code": [fault]} if fault else {},
    )


def _stepped(step: str) -> dict[str, str]:
    """What the first step brought. Raises InvalidToken."""
    told = _cipher().decrypt_at_time(step.encode(), ttl=STEP_S, current_time=int(current.store().clock()))
    first: dict[str, str] = json.loads(told)
    if first.pop("guard") != secret_hash(guard.token()):
        raise InvalidToken
    return first


def _cipher() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(current.store().key("sign-in step")))


def _asked(kind: letters.Kind) -> Response:
    """Write the letter, to whatever address was typed; the worker looks who has it."""
    if not current.settings().sends_letters:
        raise NotFound("there is nothing at this address; see /openapi for what there is")
    typed = request.form.get("email", "")
    try:
        email = accounts.checked_email(typed)
    except Unprocessable as error:
        template = "pages/forgotten.html" if kind == "password" else "pages/register.html"
        return web.page(template, status=422, values={"email": typed}, faults=beside(error), sends=True)
    try:
        limits.limits().take(limits.LETTERS, secret_hash(email))
    except limits.TooOften:
        pass  # the same answer: it says nothing of who asked before
    else:
        letters.ask(current.store(), kind, email, str(get_locale()))
    return web.page("pages/letter_sent.html", email=email, kind=kind)


def _signed_in(first: dict[str, str], code: str = "") -> str:
    store, address, agent = current.store(), request.remote_addr or "", request.headers.get("User-Agent", "")
    if "person" in first:
        return sign_in.enter(store, first["person"], code, agent, address, first["provider"])
    with TRANSFERS.held(HASHING, MOST_AT_ONCE):
        return sign_in.sign_in(store, first["email"], first["password"], code, agent, address)


def _made(code: str | None) -> AnyResponse:
    """Make the account that the form asks for, and sign it in; or the form with what is wrong."""
    sent = {name: request.form.get(name, "") for name in ("name", "email", "password")}
    store, address = current.store(), request.remote_addr or ""
    if faults := _wrong(sent):
        return _register_form(sent, faults) if code is None else _invitation_form(code, sent, faults)
    try:
        with TRANSFERS.held(HASHING, MOST_AT_ONCE):
            person = accounts.register(store, sent["name"], sent["email"], sent["password"], code, address)
    except (Unprocessable, Conflict, Forbidden) as error:
        faults = beside(error, "email")
        return _register_form(sent, faults) if code is None else _invitation_form(code, sent, faults)
    if current.settings().sends_letters:
        letters.ask_to_confirm(store, person, str(get_locale()))
    flash(gettext("Welcome to FedFlow, %(name)s.", name=" ".join(sent["name"].split())), State.DONE)
    return browser.let_in(redirect("/", 303), _signed_in(sent))


def _wrong(sent: dict[str, str]) -> dict[str, list[str]]:
    """All that is wrong with a new account's fields by themselves, beside each; `register` looks at them together."""
    faults: dict[str, list[str]] = {}
    for check, field in ((accounts.checked_name, "name"), (accounts.checked_email, "email")):
        try:
            check(sent[field])
        except Unprocessable as error:
            faults |= beside(error)
    if len(sent["password"]) < FEWEST:
        faults |= beside(passwords.too_short(sent["password"]))
    return faults


def _register_form(values: dict[str, str], faults: dict[str, list[str]]) -> Response:
    return web.page(
        "pages/register.html",
        status=422 if faults else 200,
        values=_shown(values),
        faults=faults,
        fewest=FEWEST,
        sends=current.settings().sends_letters,
    )


def _invitation_form(
    code: str, values: dict[str, str] | None = None, faults: dict[str, list[str]] | None = None
) -> Response:
    """Raises NotFound and Gone, whose pages say what to do."""
    invited = invitations.seen(current.store(), code)
    found = browser.signed_in()
    return web.page(
        "pages/invitation.html",
        status=422 if faults else 200,
        invited=invited,
        person=found.caller.name if found else None,
        values={"email": invited.email or "", **_shown(values or {})},
        faults=faults or {},
        fewest=FEWEST,
        come_in=url_for("pages.entry.sign_in_page", next=request.path),
        provider=current.settings().provider_name,
    )


def _shown(values: dict[str, str]) -> dict[str, str]:
    """What a form is drawn with again: a password never comes back in a page."""
    return {name: text for name, text in values.items() if name != "password"}


def _check_open() -> None:
    if not current.settings().open_registration:
        raise NotFound("there is nothing at this address; see /openapi for what there is")


def wanted() -> str:
    """Where to go after the sign-in: a page of this server, whatever the address says."""
    target = request.values.get("next", "/")
    return target if is_own_path(target) else "/"
