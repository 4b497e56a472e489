"""Federations: the list, a new one, and of one its members and devices."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.errors import ApiError
from fedflow.server.pages import places
from fedflow.server.pages.faults import beside
from fedflow.server.services import federations, members, roles
from fedflow.web.states import State

blueprint = Blueprint("federations", __name__)

PAGE = 50


@blueprint.get("/federations")
def listed() -> Response:
    """The reader's federations, each with its members and runs."""
    found, number = places.belongings(), page_number()
    shown = found[(number - 1) * PAGE : number * PAGE]
    told = members.summaries(current.store(), [each.federation_id for each in shown])
    return web.page(
        "pages/federations.html",
        federations=[(each, told[each.federation_id]) for each in shown],
        is_admin=current.caller().is_admin,
        **paging(number, len(shown), len(found), "pages.federations.listed"),
    )


@blueprint.get("/federations/new")
def form() -> Response:
    """A form for a new federation."""
    return web.page("pages/new_federation.html", values={}, faults={})


@blueprint.post("/federations/new")
def makes() -> AnyResponse:
    """Make it, and go to its page."""
    name = " ".join(request.form.get("name", "").split())
    try:
        made = federations.create(current.store(), federations.checked_name(name), by=current.caller())
    except ApiError as error:
        faults = beside(error, "name")
        return web.page("pages/new_federation.html", status=422, values={"name": name}, faults=faults)
    flash(gettext("The federation is ready. Make a join code for its first member, or invite somebody."), State.DONE)
    return redirect(url_for("pages.federations.one", federation_id=made), 303)


@blueprint.get("/federations/<federation_id>")
def one(federation_id: str) -> Response:
    """A federation with its members."""
    number, shared = page_number(), head(federation_id, "pages.federations.one")
    found, total = members.listed(current.store(), federation_id, (number - 1) * PAGE, PAGE)
    return web.page(
        "pages/federation.html",
        **shared,
        has_first_name=shared["administers"] and shared["federation"] == federations.DEFAULT,
        members=found,
        summary=members.summaries(current.store(), [federation_id])[federation_id],
        **paging(number, len(found), total, "pages.federations.one", federation_id=federation_id),
    )


@blueprint.get("/federations/<federation_id>/devices")
def devices(federation_id: str) -> Response:
    """The machines of all its members."""
    number = page_number()
    found, total, there = members.devices(current.store(), federation_id, (number - 1) * PAGE, PAGE)
    return web.page(
        "pages/devices.html",
        **head(federation_id, "pages.federations.devices"),
        devices=found,
        there=there,
        **paging(number, len(found), total, "pages.federations.devices", federation_id=federation_id),
    )


def head(federation_id: str, here: str) -> dict[str, Any]:
    """What the pages of one federation share: its name, the reader's role there, the tabs."""
    belonging = places.belonging(federation_id)
    coordinates = roles.is_at_least(belonging.role, "coordinator")
    administers = roles.is_at_least(belonging.role, "administrator")
    takes_part = roles.is_at_least(belonging.role, "participant")
    parts = [
        ("pages.federations.one", gettext("Members")),
        ("pages.federations.devices", gettext("Devices")),
        *([("pages.joining.codes", gettext("Join codes"))] if coordinates and not belonging.closed else []),
        ("pages.policies.rules", gettext("Rules")),
        *([("pages.imports.listed", gettext("Imports"))] if takes_part else []),
        ("pages.people.team", gettext("People and invitations")),
        *([("pages.federation_settings.page", gettext("Settings"))] if administers else []),
    ]
    return {
        "federation": belonging.federation,
        "federation_id": federation_id,
        "role": belonging.role,
        "coordinates": coordinates,
        "administers": administers,
        "closed": belonging.closed,
        "takes_part": takes_part,
        "tabs": [
            {"label": label, "href": url_for(endpoint, federation_id=federation_id), "here": endpoint == here}
            for endpoint, label in parts
        ],
    }


def page_number() -> int:
    """Which page of a list is asked for, from 1."""
    return min(max(1, request.args.get("page", 1, type=int)), 1_000_000)


def paging(number: int, shown: int, total: int, endpoint: str, **parts: Any) -> dict[str, Any]:
    """What the pagination at a list's end is drawn from."""
    first = (number - 1) * PAGE + 1
    return {
        "total": total,
        "first": first,
        "last": first + shown - 1,
        "previous_href": url_for(endpoint, page=number - 1, **parts) if number > 1 else None,
        "next_href": url_for(endpoint, page=number + 1, **parts) if number * PAGE < total else None,
    }
