"""One's API tokens: made, shown once, listed, revoked."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.api.slots import TRANSFERS
from fedflow.server.errors import AlreadyMade, Forbidden, NotFound, Unprocessable
from fedflow.server.pages import browser, places
from fedflow.server.pages.account import tabs
from fedflow.server.pages.entry import HASHING, MOST_AT_ONCE
from fedflow.server.pages.faults import beside
from fedflow.server.services import roles, sign_in, tokens
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.server.services.identity import SCOPES
from fedflow.web.reading import last_values
from fedflow.web.states import State

blueprint = Blueprint("tokens", __name__)

DAY_S = 86_400.0
USUAL_DAYS = 90
FIRST = {"name": "", "days": str(USUAL_DAYS), "federation": "", "scope.read": "on"}


@blueprint.get("/account/tokens")
def own() -> Response:
    """The reader's tokens, and a form for another."""
    return _page({**FIRST, "identifier": new_id()}, {})


@blueprint.post("/account/tokens")
def makes() -> AnyResponse:
    """Make one, and show its text this once; the same form again makes no other."""
    sent = last_values(request.form)
    sent["identifier"] = kept_id(sent.get("identifier", ""))
    federation_id = sent.get("federation") or None
    chosen = [scope for scope in SCOPES if sent.get(f"scope.{scope}") == "on"]
    store, caller = current.store(), current.caller()
    try:
        if not _is_fresh():
            with TRANSFERS.held(HASHING, MOST_AT_ONCE):
                sign_in.confirm(store, caller, sent.get("password", ""))
        if federation_id is not None:
            roles.require(store, caller, "federation_id", federation_id, "viewer")
        life_s = _life_s(sent.get("days", ""))
        text = tokens.make(store, caller, sent.get("name", ""), chosen, life_s, federation_id, form=sent["identifier"])
    except AlreadyMade:
        flash(
            gettext(
                "This token was made already, and was shown once. Where nobody has copied it, revoke it and make "
                "another."
            ),
            State.REFUSED,
        )
        return redirect(url_for("pages.tokens.own"), 303)
    except Forbidden as error:
        return _page(sent, beside(error, "password"))
    except NotFound as error:
        return _page(sent, beside(error, "federation"))
    except Unprocessable as error:
        return _page(sent, beside(error))
    return _page({**FIRST, "identifier": new_id()}, {}, made=text)


@blueprint.post("/account/tokens/<token_id>/revoke")
def revokes(token_id: str) -> AnyResponse:
    """End one at once."""
    tokens.revoke(current.store(), current.caller(), token_id)
    flash(gettext("The token is revoked."), State.DONE)
    return redirect(url_for("pages.tokens.own"), 303)


def _life_s(days: str) -> float:
    """Raises Unprocessable where it is no number of days."""
    number = int(days) if days.isascii() and days.strip().isdigit() and len(days) < 9 else 0
    if not 0 < number * DAY_S <= tokens.LONGEST_LIFE_S:
        raise Unprocessable(f"life: at most {tokens.LONGEST_LIFE_S / DAY_S:.0f} days")
    return number * DAY_S


def _is_fresh() -> bool:
    found = browser.signed_in()
    return found is not None and found.is_fresh


def _page(values: dict[str, str], faults: dict[str, list[str]], made: str | None = None) -> Response:
    now = current.store().clock()
    known = {each.federation_id: each.federation for each in places.belongings()}
    return web.page(
        "pages/tokens.html",
        status=422 if faults else 200,
        tabs=tabs("pages.tokens.own"),
        tokens=tokens.listed(current.store(), current.caller()),
        now=now,
        made=made,
        scopes=SCOPES,
        federations=known,
        values=values,
        faults=faults,
        is_fresh=_is_fresh(),
        longest=int(tokens.LONGEST_LIFE_S / DAY_S),
    )
