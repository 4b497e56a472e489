"""Who is here: all accounts for the server's administrators, and the people of a federation with their roles."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.errors import AlreadyMade, Conflict, NotFound, Unprocessable
from fedflow.server.pages import browser, places
from fedflow.server.pages.faults import beside
from fedflow.server.pages.words import ROLES
from fedflow.server.services import accounts, directory, invitations, links, members, role_changes, roles, second_factor
from fedflow.server.services.directory import Account
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.server.services.links import Purpose
from fedflow.server.services.roles import Holder
from fedflow.web import meanwhile
from fedflow.web.reading import last_values
from fedflow.web.states import State

blueprint = Blueprint("people", __name__)

PAGE = 50


def tabs(here: str | None) -> list[dict[str, object]]:
    """The server's people and those of the reader's federations."""
    return places.tabs("pages.people.everybody", "pages.people.team", "viewer", here, gettext("Everybody"))


@blueprint.get("/people")
def everybody() -> Response:
    """All accounts of this server."""
    search = request.args.get("search", "").strip()[:80]
    number = max(1, request.args.get("page", 1, type=int))
    found, total = directory.accounts(current.store(), search, (number - 1) * PAGE, PAGE)

    def turn(to: int) -> str:
        return url_for("pages.people.everybody", search=search or None, page=to)

    return web.page(
        "pages/everybody.html",
        tabs=tabs(None),
        accounts=found,
        total=total,
        first=(number - 1) * PAGE + 1,
        previous_href=turn(number - 1) if number > 1 else None,
        next_href=turn(number + 1) if number * PAGE < total else None,
        search=search,
        invitations=invitations.listed(current.store(), None),
    )


@blueprint.get("/people/accounts/<person_id>")
def account(person_id: str) -> Response:
    """One account, and what may be done with it."""
    return _account(person_id)


@blueprint.post("/people/accounts/<person_id>/shut")
def shuts(person_id: str) -> AnyResponse:
    """Shut the account: its browsers and tokens are out at once."""
    accounts.disable(current.store(), current.caller(), person_id, disabled=True)
    return _done(person_id, gettext("The account is shut."))


@blueprint.post("/people/accounts/<person_id>/open")
def opens(person_id: str) -> AnyResponse:
    """Open it again."""
    accounts.disable(current.store(), current.caller(), person_id, disabled=False)
    return _done(person_id, gettext("The account is open again."))


@blueprint.post("/people/accounts/<person_id>/administrator")
def makes_administrator(person_id: str) -> AnyResponse:
    """Let the person do everything on this server."""
    accounts.make_admin(current.store(), current.caller(), person_id, is_admin=True)
    return _done(person_id, gettext("This person is now an administrator of the server."))


@blueprint.post("/people/accounts/<person_id>/no-administrator")
def unmakes_administrator(person_id: str) -> AnyResponse:
    """Let them do it no longer."""
    accounts.make_admin(current.store(), current.caller(), person_id, is_admin=False)
    if person_id == current.caller().id:
        return redirect("/", 303)
    return _done(person_id, gettext("This person is no longer an administrator of the server."))


@blueprint.post("/people/accounts/<person_id>/second-factor/off")
def takes_second_factor_off(person_id: str) -> AnyResponse:
    """For who lost the device and the codes."""
    found = directory.account(current.store(), person_id)
    second_factor.take_off(current.store(), current.caller(), found.id, browser.letter_in())
    return _done(person_id, gettext("The second step is off for this account."))


@blueprint.post("/people/accounts/<person_id>/password-link")
def makes_password_link(person_id: str) -> AnyResponse:
    """A link to set a password, shown this once."""
    return _link(person_id, "password", "pages.entry.password_page")


@blueprint.post("/people/accounts/<person_id>/address-link")
def makes_address_link(person_id: str) -> AnyResponse:
    """A link to confirm the address, shown this once; whoever makes it sends it there."""
    return _link(person_id, "address", "pages.entry.address_page", directory.account(current.store(), person_id).email)


@blueprint.get("/people/<federation_id>")
def team(federation_id: str) -> Response:
    """The people of a federation, and who is invited."""
    store = current.store()
    own = roles.role_in(store, current.caller(), federation_id)
    invites, gives = roles.is_at_least(own, "coordinator"), roles.is_at_least(own, "administrator")
    return web.page(
        "pages/team.html",
        tabs=tabs(federation_id),
        federation_id=federation_id,
        federation=places.belonging(federation_id).federation,
        closed=places.belonging(federation_id).closed,
        holders=roles.holders_seen_by(store, current.caller(), federation_id),
        invites=invites,
        gives=gives,
        invitations=invitations.listed(store, federation_id) if invites else [],
        reader=current.caller().id,
    )


@blueprint.get("/people/<federation_id>/roles/<person_id>")
def role(federation_id: str, person_id: str) -> Response:
    """What a person is in the federation, and a form to change it."""
    holder = _holder(federation_id, person_id)
    return _role(federation_id, holder, _held(holder), {})


@blueprint.post("/people/<federation_id>/roles/<person_id>")
def gives_role(federation_id: str, person_id: str) -> AnyResponse:
    """Make the person something else; what stands in the field of the member counts for a participant alone."""
    holder, sent = _holder(federation_id, person_id), last_values(request.form)
    merged = meanwhile.merge(_held(holder), sent)
    if merged.overtaken:
        return _role(federation_id, holder, merged.values, meanwhile.faults(merged, {"role": ROLES}), status=409)
    given = next((each for each in roles.ROLES if each == merged.values["role"]), holder.role)
    member = " ".join(merged.values["member"].split()) or None
    try:
        role_changes.give(
            current.store(),
            current.caller(),
            federation_id,
            person_id,
            given,
            member if given == "participant" else None,
        )
    except (Unprocessable, Conflict) as error:
        values = {"role": given, "member": member or ""}
        return _role(federation_id, holder, values, beside(error, "role"), status=422)
    return _team(federation_id, gettext("%(name)s is now %(role)s.", name=holder.name, role=str(ROLES[given])))


@blueprint.post("/people/<federation_id>/roles/<person_id>/take")
def takes_role(federation_id: str, person_id: str) -> AnyResponse:
    """Let the person have nothing to do with the federation any more."""
    holder = _holder(federation_id, person_id)
    role_changes.take(current.store(), current.caller(), federation_id, person_id)
    if person_id == current.caller().id and not current.caller().is_admin:
        return redirect("/", 303)
    return _team(federation_id, gettext("%(name)s no longer belongs to the federation.", name=holder.name))


def _held(holder: Holder) -> dict[str, str]:
    """What the person is by now, as the form carries it."""
    return {"role": holder.role, "member": holder.member or ""}


def _role(
    federation_id: str, holder: Holder, values: dict[str, str], faults: dict[str, list[str]], *, status: int = 200
) -> Response:
    here = places.belonging(federation_id)
    return web.page(
        "pages/role.html",
        status=status,
        federation_id=federation_id,
        federation=here.federation,
        closed=here.closed,
        holder=holder,
        members=members.names(current.store(), federation_id),
        roles=roles.ROLES,
        mark=meanwhile.mark(_held(holder)),
        values=values,
        faults=faults,
    )


def _holder(federation_id: str, person_id: str) -> Holder:
    found = roles.holders(current.store(), federation_id)
    holder = next((each for each in found if each.person_id == person_id), None)
    if holder is None:
        raise NotFound(f"the person {person_id} has no role in this federation; invite them")
    return holder


def _link(person_id: str, purpose: Purpose, leads_to: str, about: str | None = None) -> AnyResponse:
    """Make a link and show it; the same form again makes no other, which would end the one that was shown."""
    form = kept_id(request.form.get("identifier", ""))
    try:
        code = links.make(current.store(), current.caller(), person_id, purpose, about or "", form=form)
    except AlreadyMade:
        told = gettext("This link was made already, and was shown once. Where nobody has copied it, make another.")
        flash(told, State.REFUSED)
        return redirect(url_for("pages.people.account", person_id=person_id), 303)
    return _account(person_id, **{f"{purpose}_link": browser.address() + url_for(leads_to, code=code)})


def _account(person_id: str, **made: str) -> Response:
    store = current.store()
    found: Account = directory.account(store, person_id)
    return web.page(
        "pages/person.html",
        account=found,
        roles=directory.roles_of(store, person_id),
        is_own=person_id == current.caller().id,
        identifier=new_id(),
        made=made,
    )


def _done(person_id: str, sentence: str) -> AnyResponse:
    flash(sentence, State.DONE)
    return redirect(url_for("pages.people.account", person_id=person_id), 303)


def _team(federation_id: str, sentence: str) -> AnyResponse:
    flash(sentence, State.DONE)
    return redirect(url_for("pages.people.team", federation_id=federation_id), 303)
