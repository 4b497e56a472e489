"""Every page of the server before axe-core, wide and narrow, light and dark, in both languages, full and empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from accessibility import faults
from browser import served
from full_server import PASSWORD, Account, Sizes, addresses, fill
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from fedflow.server.api.app import create_app
from fedflow.server.database.people import Person
from fedflow.server.database.tables import Run
from fedflow.server.services import accounts, federations, identity, invitations, links
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store

SIZES = Sizes(federations=9, members=3, people=5, runs=90, rounds=3, adapters=20, audit=60, imports=40, tryouts=14)
FIRST = "ada@example.org"
NOT_PAGES = {
    "pages.account.exported",
    "pages.audit.file",
    "pages.audit.file_of_federation",
    "pages.examples.picture",
    "pages.provider.leaves",
    "pages.provider.returns",
    "pages.releases.content",
    "pages.releases.provenance",
    "pages.runs.picture",
    "pages.runs.stream",
    "pages.tryouts.picture",
    "pages.versions.content",
}
"""Files, streams, and what leads elsewhere."""
WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "locale": "en", "color_scheme": "light"}
WIDE_UK: dict[str, Any] = {**WIDE, "locale": "uk"}
NARROW: dict[str, Any] = {"viewport": {"width": 380, "height": 800}, "locale": "uk", "color_scheme": "dark"}
NARROW_EN: dict[str, Any] = {**NARROW, "locale": "en"}


@dataclass(frozen=True)
class Visited:
    """A server with everything in it, or nothing, at an address; who administers it, and its pages by endpoint.

    `runs` are its runs' pages by their state, `here` is a federation of it, and `once` are pages that a link leads to
    once.
    """

    url: str
    email: str
    here: str
    pages: dict[str, str]
    runs: dict[str, str]
    once: list[str]


@pytest.fixture(scope="module")
def visited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visited]:
    fill_it: Callable[[Store], Account] = request.param
    settings = ServerSettings(folder=tmp_path_factory.mktemp("server"), open_registration=True)
    store = open_store(settings)
    app = create_app(store, settings)
    account = fill_it(store)
    with store.read() as session:
        found = addresses(app, session, account, 1)
        runs = {status: f"/runs/{run}" for status, run in session.execute(select(Run.status, Run.id).order_by(Run.id))}
        person = session.scalars(select(Person.id).where(Person.email == account.email)).one()
    once = [f"/invitation/{invitations.make(store, SERVER, account.federation_id, 'viewer')}"]
    once += [f"/password/{links.make(store, SERVER, person, 'password')}"]
    once += [f"/address/{links.make(store, SERVER, person, 'address', account.email)}"]
    pages = {endpoint: paths[0] for endpoint, paths in found.items() if endpoint.startswith("pages.")}
    with served(app) as url:
        shown = {endpoint: path for endpoint, path in pages.items() if endpoint not in NOT_PAGES}
        yield Visited(url, account.email, account.federation_id, shown, runs, once)
    store.engine.dispose()


def _full(store: Store) -> Account:
    return next(each for each in fill(store, SIZES) if each.role == "server")


def _empty(store: Store) -> Account:
    identity.first_coordinator(store)
    accounts.register(store, "Ada", FIRST, PASSWORD, invitations.first(store), "192.0.2.7")
    return Account(FIRST, "server", federations.first_federation(store))


def _signs_in(page: Page, email: str) -> None:
    page.goto("/sign-in")
    page.locator("[name=email]").fill(email)
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main button.primary").click()
    page.wait_for_url("**/")


@pytest.mark.parametrize(
    ("visited", "screen"),
    [(_full, WIDE), (_full, NARROW), (_empty, NARROW)],
    indirect=["visited"],
    ids=["full, wide", "full, narrow", "empty, narrow"],
)
def test_no_page_has_a_fault_and_each_says_where_one_is(
    visited: Visited, browser: Browser, screen: dict[str, Any]
) -> None:
    context = browser.new_context(base_url=visited.url, **screen)
    page = context.new_page()
    width = screen["viewport"]["width"]
    told = {}
    outside = [path for endpoint, path in visited.pages.items() if endpoint.startswith("pages.entry.")]
    inside = [path for endpoint, path in visited.pages.items() if not endpoint.startswith("pages.entry.")]
    assert len(outside) >= 3
    assert len(inside) >= 22
    for path in outside:
        page.goto(path)
        told[path] = faults(page)
    _signs_in(page, visited.email)
    for path in inside:
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 200, path
        told[path] = faults(page)
        if page.locator(".rail [aria-current]:visible").count() != 1:
            told[path].append("the rail does not mark one place")
        for narrower in (width, 320):
            page.set_viewport_size({"width": narrower, "height": 800})
            if page.evaluate("document.scrollingElement.scrollWidth") > narrower:
                told[path].append(f"wider than {narrower} px")
        page.set_viewport_size({"width": width, "height": 800})
    context.close()
    assert {path: found for path, found in told.items() if found} == {}


@pytest.mark.parametrize(
    ("visited", "screen"),
    [(_full, WIDE_UK), (_full, NARROW_EN)],
    indirect=["visited"],
    ids=["light, Ukrainian", "dark, English"],
)
def test_no_state_of_a_page_has_a_fault(visited: Visited, browser: Browser, screen: dict[str, Any]) -> None:
    """Runs that go, wait, failed and were stopped; open questions; refused forms; pages that a link leads to once."""
    context = browser.new_context(base_url=visited.url, **screen)
    page = context.new_page()
    told = {}
    for path in (*visited.once, "/password/code"):
        page.goto(path)
        told[path] = faults(page)
    page.goto("/sign-in")
    page.locator("[name=email]").fill("nobody@example.org")
    page.locator("[name=password]").fill("nothing of this kind")
    told["sign-in, refused"] = _after(page, "main button.primary", "#wrong")
    _signs_in(page, visited.email)
    for status in ("running", "paused", "failed", "stopped"):
        page.goto(visited.runs[status])
        told[f"a run, {status}"] = faults(page)
    page.goto(visited.runs["running"])
    told["stop, asked"] = _after(page, "[data-opens=stop]", "#stop[open]")
    page.goto(visited.runs["done"])
    told["pictures, compared"] = _after(page, "table.gallery a >> nth=0", "#compare[open]")
    page.goto(f"/federations/{visited.here}/runs/new")
    page.locator("[name=rounds]").fill("0")
    told["new run, refused"] = _after(page, "#plan button.primary", "#wrong")
    page.goto(f"/people/{visited.here}/invite")
    page.locator("#role-participant").check()
    told["invitation, refused"] = _after(page, "main button.primary", "#wrong")
    context.close()
    assert {path: found for path, found in told.items() if found} == {}


def _after(page: Page, press: str, shown: str) -> list[str]:
    """What is wrong once a button has been pressed and something is shown for it."""
    page.wait_for_load_state()
    page.locator(press).click()
    expect(page.locator(shown)).to_be_visible()
    return faults(page)
