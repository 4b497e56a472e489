"""Who takes part: join codes, made and shown once, and a member's page with its devices and its cap."""

from __future__ import annotations

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.errors import AlreadyMade, ApiError, Unprocessable
from fedflow.server.pages import browser, places, run_words
from fedflow.server.pages.faults import beside, said
from fedflow.server.pages.federations import head
from fedflow.server.services import devices, federations, join_codes, members, policies, roles, shown_counts
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.web.reading import WHOLE, last_values
from fedflow.web.states import State

blueprint = Blueprint("joining", __name__)


@blueprint.get("/federations/<federation_id>/codes")
def codes(federation_id: str) -> Response:
    """Open codes, and a form for a new one."""
    return _codes(federation_id, {"member": request.args.get("member", "")[:80], "identifier": new_id()}, {})


@blueprint.post("/federations/<federation_id>/codes")
def makes_code(federation_id: str) -> AnyResponse:
    """Make a code and show it, this once; the same form again makes no other."""
    sent = last_values(request.form)
    sent["identifier"] = kept_id(sent.get("identifier", ""))
    member = " ".join(sent.get("member", "").split())
    try:
        made = join_codes.make(
            current.store(),
            federation_id,
            member,
            _count(sent.get("max_examples", "")),
            longest_s=current.settings().code_ttl_s,
            by=current.caller(),
            form=sent["identifier"],
        )
    except AlreadyMade:
        flash(
            gettext(
                "This join code was made already, and was shown once. Where nobody has copied it, withdraw it and make "
                "another."
            ),
            State.REFUSED,
        )
        return redirect(url_for("pages.joining.codes", federation_id=federation_id), 303)
    except Unprocessable as error:
        return _codes(federation_id, sent, beside(error))
    line = f"fedflow join {browser.address()} --code {made.code} --data FOLDER"
    return _codes(federation_id, {"identifier": new_id()}, {}, made, {"line": line, "member": made.member})


@blueprint.post("/federations/<federation_id>/codes/<code_id>/withdraw")
def withdraws_code(federation_id: str, code_id: str) -> AnyResponse:
    """Make an open code worth nothing."""
    join_codes.withdraw(current.store(), federation_id, code_id, current.caller())
    flash(gettext("The join code is withdrawn; nobody can join with it any more."), State.DONE)
    return redirect(url_for("pages.joining.codes", federation_id=federation_id), 303)


@blueprint.get("/members/<member_id>")
def member(member_id: str) -> Response:
    """A member with its devices and runs."""
    return _member(member_id, {})


@blueprint.post("/members/<member_id>/cap")
def sets_cap(member_id: str) -> AnyResponse:
    """Let its updates count for so many pictures at most."""
    wanted = request.form.get("max_examples", "").strip()
    try:
        members.set_cap(current.store(), member_id, _count(wanted) or 0, current.caller())
    except Unprocessable as error:
        return _member(member_id, beside(error), wanted)
    flash(gettext("The new limit applies from the member's next update."), State.DONE)
    return redirect(url_for("pages.joining.member", member_id=member_id), 303)


@blueprint.post("/members/<member_id>/counts")
def shows_counts(member_id: str) -> AnyResponse:
    """Show the member's name and example counts beyond its federation, or no longer."""
    shown = last_values(request.form).get("shown") == "on"
    shown_counts.show(current.store(), current.caller(), member_id, shown=shown)
    if shown:
        flash(gettext("Its name and counts are now shown."), State.DONE)
    else:
        flash(
            gettext("Its name and counts are now hidden; existing releases keep what they say."),
            State.DONE,
        )
    return redirect(url_for("pages.joining.member", member_id=member_id), 303)


@blueprint.post("/members/<member_id>/remove")
def removes(member_id: str) -> AnyResponse:
    """Shut the member out with all its devices."""
    federations.remove_member(current.store(), member_id, current.caller())
    flash(gettext("The member is removed. Its devices are shut out, and its runs continue without it."), State.DONE)
    return redirect(url_for("pages.joining.member", member_id=member_id), 303)


@blueprint.post("/devices/<device_id>/revoke")
def revokes(device_id: str) -> AnyResponse:
    """Shut one device out."""
    found = members.member_of(current.store(), device_id)
    try:
        devices.revoke(current.store(), device_id, current.caller())
        flash(gettext("The device is revoked and shut out at once."), State.DONE)
    except ApiError as error:
        flash(said(str(error)), State.FAILED)
    return redirect(url_for("pages.joining.member", member_id=found), 303)


def _codes(
    federation_id: str,
    values: dict[str, str],
    faults: dict[str, list[str]],
    made: join_codes.MadeCode | None = None,
    told: dict[str, str] | None = None,
) -> Response:
    store = current.store()
    rules = policies.read(store, federation_id)
    return web.page(
        "pages/join_codes.html",
        status=422 if faults else 200,
        **head(federation_id, "pages.joining.codes"),
        codes=join_codes.open_codes(store, federation_id),
        members=members.names(store, federation_id),
        default_max_examples=rules.members.most_examples,
        values=values,
        faults=faults,
        made=made,
        told=told or {},
    )


def _member(member_id: str, faults: dict[str, list[str]], wanted: str | None = None) -> Response:
    found, machines, runs = members.member(current.store(), member_id)
    belonging = places.belonging(found.federation_id)
    return web.page(
        "pages/member.html",
        status=422 if faults else 200,
        member=found,
        devices=machines,
        runs=runs,
        federation=belonging.federation,
        closed=belonging.closed,
        coordinates=roles.is_at_least(belonging.role, "coordinator"),
        run_words=run_words,
        may_agree=shown_counts.may_agree(current.store(), current.caller(), member_id),
        shown=shown_counts.are_shown(current.store(), member_id),
        cap=str(found.max_examples) if wanted is None else wanted,
        faults=faults,
    )


def _count(text: str) -> int | None:
    """A whole number, None for nothing. Raises Unprocessable for anything else."""
    if not text.strip():
        return None
    if not WHOLE.fullmatch(text.strip()) or not 1 <= int(text) <= policies.MOST_EXAMPLES:
        raise Unprocessable(f"max_examples: '{text.strip()}' is no whole number from 1 on")
    return int(text)
