"""Invitations: made for a federation or for the server, their link shown once, and withdrawn."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.database.people import RoleName
from fedflow.server.errors import AlreadyMade, Conflict, Forbidden, Unprocessable
from fedflow.server.pages import browser, places
from fedflow.server.pages.faults import beside
from fedflow.server.services import accounts, invitations, members, roles
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.web.reading import last_values
from fedflow.web.states import State

blueprint = Blueprint("inviting", __name__)

DAY_S = 86_400


@blueprint.get("/people/invite")
def form_here() -> Response:
    """A form for somebody who is to have an account on this server."""
    return web.page("pages/invite_here.html", values={"identifier": new_id()}, faults={})


@blueprint.post("/people/invite")
def invites_here() -> AnyResponse:
    """Make the invitation and show its link; the same form again makes no other."""
    sent = _sent()
    try:
        code = invitations.make(
            current.store(),
            current.caller(),
            None,
            None,
            email=_email(sent),
            is_admin=sent.get("is_admin") == "on",
            letter_in=browser.letter_in(),
            form=sent["identifier"],
        )
    except AlreadyMade:
        return _made_already(url_for("pages.people.everybody"))
    except Unprocessable as error:
        return web.page("pages/invite_here.html", status=422, values=sent, faults=beside(error))
    return _made(code, url_for("pages.people.everybody"), url_for("pages.inviting.form_here"), sent)


@blueprint.post("/people/invitations/<invitation_id>/withdraw")
def withdraws_here(invitation_id: str) -> AnyResponse:
    """Take an invitation to the server back."""
    invitations.withdraw(current.store(), current.caller(), invitation_id, None)
    flash(gettext("The invitation is withdrawn; its link no longer works."), State.DONE)
    return redirect(url_for("pages.people.everybody"), 303)


@blueprint.get("/people/<federation_id>/invite")
def form(federation_id: str) -> Response:
    """A form for somebody who is to have a role in the federation."""
    return _form(federation_id, {"identifier": new_id()}, {})


@blueprint.post("/people/<federation_id>/invite")
def invites(federation_id: str) -> AnyResponse:
    """Make the invitation and show its link; the same form again makes no other."""
    sent = _sent()
    given: RoleName | None = next((each for each in roles.ROLES if each == sent.get("role")), None)
    try:
        if given is None:
            raise Unprocessable("role: goes with a federation")
        member = sent.get("member", "").strip() or None
        code = invitations.make(
            current.store(),
            current.caller(),
            federation_id,
            given,
            email=_email(sent),
            member=member,
            letter_in=browser.letter_in(),
            form=sent["identifier"],
        )
    except AlreadyMade:
        return _made_already(url_for("pages.people.team", federation_id=federation_id))
    except (Unprocessable, Forbidden) as error:
        return _form(federation_id, sent, beside(error, "role"))
    except Conflict as error:
        return _form(federation_id, sent, beside(error, "member"))
    back = url_for("pages.people.team", federation_id=federation_id)
    return _made(code, back, url_for("pages.inviting.form", federation_id=federation_id), sent)


@blueprint.post("/people/<federation_id>/invitations/<invitation_id>/withdraw")
def withdraws(federation_id: str, invitation_id: str) -> AnyResponse:
    """Take one of the federation's invitations back."""
    invitations.withdraw(current.store(), current.caller(), invitation_id, federation_id)
    flash(gettext("The invitation is withdrawn; its link no longer works."), State.DONE)
    return redirect(url_for("pages.people.team", federation_id=federation_id), 303)


def _sent() -> dict[str, str]:
    """What the form holds, and its identifier in any case."""
    sent = last_values(request.form)
    return {**sent, "identifier": kept_id(sent.get("identifier", ""))}


def _email(sent: dict[str, str]) -> str | None:
    given = sent.get("email", "").strip()
    return accounts.checked_email(given) if given else None


def _form(federation_id: str, values: dict[str, str], faults: dict[str, list[str]]) -> Response:
    belonging = places.belonging(federation_id)
    known = members.names(current.store(), federation_id)
    offered = [each for each in roles.ROLES if roles.is_at_least(belonging.role, each)]
    return web.page(
        "pages/invite.html",
        status=422 if faults else 200,
        federation=belonging.federation,
        federation_id=federation_id,
        closed=belonging.closed,
        members=known,
        roles=[each for each in offered if each != "participant" or known or not belonging.closed],
        values=values,
        faults=faults,
    )


def _made_already(back: str) -> AnyResponse:
    """The answer to a form that was sent before: its link was shown then."""
    flash(
        gettext(
            "This invitation was made already, and its link was shown once. Where nobody has copied it, withdraw it "
            "and make another."
        ),
        State.REFUSED,
    )
    return redirect(back, 303)


def _made(code: str, back: str, again: str, sent: dict[str, str]) -> Response:
    return web.page(
        "pages/invited.html",
        link=browser.address() + url_for("pages.entry.invitation", code=code),
        email=sent.get("email", "").strip(),
        sends=current.settings().sends_letters,
        days=int(invitations.LIFE_S / DAY_S),
        back=back,
        again=again,
    )
