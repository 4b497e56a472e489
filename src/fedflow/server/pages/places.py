"""Where the reader may go: the rail, and the federations that they belong to."""

from __future__ import annotations

from flask import g, url_for
from flask_babel import gettext

from fedflow import web
from fedflow.server.api import current
from fedflow.server.database.people import RoleName
from fedflow.server.services import roles
from fedflow.server.services.roles import Belonging

MOST_TABS = 6
PLANNING = "/federations/*/runs"
"""Where a run is planned: it belongs to the runs, though its address begins with its federation's."""


def belongings(least: RoleName = "viewer") -> list[Belonging]:
    """The federations in which the reader is at least that; looked up once a request."""
    if "belongings" not in g:
        g.belongings = roles.belongings(current.store(), current.caller())
    found: list[Belonging] = g.belongings
    return [each for each in found if roles.is_at_least(each.role, least)]


def belonging(federation_id: str) -> Belonging:
    """What the reader is in a federation that is theirs."""
    return next(each for each in belongings() if each.federation_id == federation_id)


def planned_in() -> list[Belonging]:
    """The federations in which the reader may plan runs and let members in."""
    return [each for each in belongings("coordinator") if not each.closed]


def is_in(federation_id: str) -> bool:
    """Whether the reader belongs to the federation."""
    return any(each.federation_id == federation_id for each in belongings())


def rail() -> list[web.Item]:
    """The places that exist and that the reader may see."""
    items = [
        web.Item(gettext("Overview"), url_for("pages.overview.overview")),
        web.Item(
            gettext("Federations"),
            url_for("pages.federations.listed"),
            also=(
                "/members",
                "/device",
            ),
            but=(PLANNING,),
        ),
        web.Item(gettext("Runs"), url_for("pages.runs.listed"), also=(PLANNING,)),
        web.Item(gettext("Models"), url_for("pages.models.listed"), also=("/versions", "/releases", "/tryouts")),
    ]
    people, audit = (
        _first("pages.people.everybody", "pages.people.team", "viewer"),
        _first("pages.audit.everything", "pages.audit.of_federation", "administrator"),
    )
    if people is not None:
        items.append(web.Item(gettext("People"), people, also=("/people",)))
    if audit is not None:
        items.append(web.Item(gettext("Audit"), audit, also=("/audit",)))
    if current.caller().is_admin:
        items.append(web.Item(gettext("System"), url_for("pages.system.system")))
    return items


def person() -> web.Item | None:
    """The reader's name, which leads to their account."""
    return web.Item(current.caller().name, url_for("pages.account.profile"))


def tabs(everywhere: str, within: str, least: RoleName, here: str | None, word: str) -> list[dict[str, object]]:
    """Links to the same page of other federations: `here` is the present one, None for the whole server's `word`.

    Some stand in the line, the present one always among them; the others are folded.
    """
    found = belongings(least)
    near = [each for each in found if each.federation_id == here]
    near += [each for each in found if each.federation_id != here][: MOST_TABS - len(near)]
    links: list[dict[str, object]] = [
        {
            "label": each.federation,
            "href": url_for(within, federation_id=each.federation_id),
            "here": each.federation_id == here,
            "folded": each not in near,
        }
        for each in found
    ]
    if current.caller().is_admin:
        links.insert(0, {"label": word, "href": url_for(everywhere), "here": here is None})
    return links if len(links) > 1 else []


def _first(everywhere: str, within: str, least: RoleName) -> str | None:
    """Where a place begins for the reader: the whole server's page, else that of their first federation."""
    if current.caller().is_admin:
        return url_for(everywhere)
    found = belongings(least)
    return url_for(within, federation_id=found[0].federation_id) if found else None
