"""Signing in at an OpenID provider: the way there, the way back, and identities linked to one's account."""

from __future__ import annotations

import re

from flask import Blueprint, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.api.slots import TRANSFERS
from fedflow.server.errors import Conflict, Forbidden, NotFound
from fedflow.server.pages import browser, security
from fedflow.server.pages.entry import HASHING, MOST_AT_ONCE, lets_in, wanted
from fedflow.server.pages.faults import beside
from fedflow.server.services import identities, sign_in
from fedflow.server.services.identities import Back
from fedflow.server.services.identity import secret_hash
from fedflow.server.services.provider import Provider
from fedflow.web import guard
from fedflow.web.states import State

blueprint = Blueprint("provider", __name__)

ASKING, MOST_ASKING = "the sign-in provider", 16
"""Threads that may wait for the provider's answers: those beyond are told to try again."""

INVITATION = re.compile(r"/invitation/([\w-]{1,80})")


@blueprint.get("/sign-in/provider")
def leaves() -> AnyResponse:
    """Send the browser to the provider. A link and no form: the policy lets forms go nowhere else."""
    target = wanted()
    invited = INVITATION.fullmatch(target)
    with TRANSFERS.held(ASKING, MOST_ASKING):
        address = identities.depart(
            current.store(),
            _provider(),
            _this_browser(),
            target=target,
            invitation=invited[1] if invited else None,
        )
    return redirect(address, 303)


@blueprint.get("/sign-in/provider/back")
def returns() -> AnyResponse:
    """Sign in, or link, who comes back; or say why that cannot be."""
    store, address = current.store(), request.remote_addr or ""
    state, code = request.args.get("state", ""), request.args.get("code", "")
    with TRANSFERS.held(ASKING, MOST_ASKING):
        back = identities.come_back(store, _provider(), _this_browser(), state, code)
    if back.person_id is not None:
        return _linked(back)
    person, is_new = identities.person_of(
        store, back, address, everybody=current.settings().open_registration, letter_in=browser.letter_in()
    )
    has_taken_up = is_new and back.invitation is not None
    return lets_in({"person": person, "provider": back.claims.issuer}, target="/" if has_taken_up else back.target)


@blueprint.post("/account/identities")
def links() -> AnyResponse:
    """A page that leads to the provider, once the password is given: who comes back is linked to this account."""
    store, caller = current.store(), current.caller()
    try:
        with TRANSFERS.held(HASHING, MOST_AT_ONCE):
            sign_in.confirm(store, caller, request.form.get("link", ""))
    except Forbidden as error:
        return security.page(beside(error, "link"))
    with TRANSFERS.held(ASKING, MOST_ASKING):
        address = identities.depart(store, _provider(), _this_browser(), person_id=caller.id)
    return web.page("pages/leave.html", provider=current.settings().provider_name, address=address)


@blueprint.post("/account/identities/<identity_id>/unlink")
def unlinks(identity_id: str) -> AnyResponse:
    """Let the identity no longer sign the reader in."""
    try:
        with TRANSFERS.held(HASHING, MOST_AT_ONCE):
            identities.unlink(current.store(), current.caller(), request.form.get("unlink", ""), identity_id)
    except Forbidden as error:
        return security.page(beside(error, "unlink"))
    except Conflict as error:
        return security.page(beside(error))
    flash(gettext("The identity is unlinked."), State.DONE)
    return redirect(url_for("pages.security.overview"), 303)


def _linked(back: Back) -> AnyResponse:
    """Link who came back to the account that this browser is signed in with, if it is the one that asked for it."""
    found = browser.signed_in()
    if found is None or found.caller.id != back.person_id:
        raise NotFound(identities.LATE)
    identities.link(current.store(), found.caller, back.claims, browser.letter_in())
    flash(gettext("Linked. You can now sign in with it."), State.DONE)
    return redirect(url_for("pages.security.overview"), 303)


def _provider() -> Provider:
    """Raises NotFound where the server has none."""
    settings = current.settings()
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        raise NotFound("there is nothing at this address; see /openapi for what there is")
    return Provider(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_client_secret,
        browser.address() + url_for("pages.provider.returns"),
    )


def _this_browser() -> str:
    return secret_hash(guard.token())
