"""Forms in a real Chromium: what is wrong is heard and led to, and a form is checked around what one types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
from browser import Watched, served
from full_server import PASSWORD, Sizes, fill
from network import wait_for
from page_server import heading, submit
from playwright.sync_api import Browser, Error, Page, Route, expect
from sqlalchemy import select

from fedflow.server.api.app import create_app
from fedflow.server.database.tables import Federation
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store

SIZES = Sizes(federations=2, members=4, people=6, runs=60, rounds=2, adapters=1, audit=1, imports=1, tryouts=1)
CHECK = "**/runs/new/check"


@dataclass
class Site:
    """A server with two federations and more runs than one page of them shows."""

    address: str
    email: str
    federation_id: str
    federation: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = ServerSettings(folder=tmp_path_factory.mktemp("server"))
    store = open_store(settings)
    accounts = fill(store, SIZES)
    account = next(each for each in accounts if each.role == "server")
    with store.read() as session:
        federation_id, name = session.execute(select(Federation.id, Federation.name).limit(1)).one()
    with served(create_app(store, settings)) as address:
        yield Site(address, account.email, federation_id, name)
    store.engine.dispose()


@pytest.fixture(params=[True, False], ids=["with-scripts", "without-scripts"])
def either(site: Site, browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A browser that is signed in, with and without scripts."""
    context = browser.new_context(base_url=site.address, locale="en", java_script_enabled=request.param)
    yield signed_in(context.new_page(), site)
    context.close()


@pytest.fixture
def watched(site: Site, browser: Browser) -> Iterator[Watched]:
    context = browser.new_context(base_url=site.address, locale="en")
    watched = Watched(context)
    signed_in(watched.page, site)
    yield watched
    context.close()


def signed_in(page: Page, site: Site) -> Page:
    page.goto("/sign-in")
    page.get_by_label("E-mail address").fill(site.email)
    page.get_by_label("Password").fill(PASSWORD)
    submit(page, "Sign in")
    heading(page, "Overview")
    return page


def hold(page: Page, held: list[Route], count: int) -> None:
    """Wait until so many checks are held up."""
    wait_for(lambda: page.title() and len(held) == count, 20.0, "a check of the form")


def test_a_refused_form_begins_at_what_is_wrong_and_leads_there(site: Site, either: Page) -> None:
    either.goto(f"/federations/{site.federation_id}/runs/new")
    either.locator("#f-rounds").fill("0")
    submit(either, "Start run")
    expect(either).to_have_title("Error: New run · FedFlow")
    summary = either.get_by_role("region", name="There is a problem")
    expect(summary).to_be_focused()
    expect(summary.get_by_role("alert")).to_contain_text("Rounds: Must be at least 1.")
    summary.get_by_role("link", name="Rounds: Must be at least 1.").click()
    expect(either.locator("#f-rounds")).to_be_focused()


def test_a_question_is_asked_again_where_its_answer_is_refused(site: Site, either: Page) -> None:
    either.goto("/releases")
    either.locator("main a[href^='/releases/']").first.click()
    expect(either.locator(".file-head .what")).to_contain_text("-v1.kohya.safetensors")
    submit(either, "Withdraw")
    dialog = either.get_by_role("dialog", name="Withdraw “v1”?")
    dialog.get_by_label("Reason").fill("   ")
    dialog.get_by_role("button", name="Withdraw").click()
    expect(either).to_have_title(re.compile("^Error: "))
    expect(dialog).to_be_visible()
    expect(dialog.locator("#f-reason-error")).to_have_text(
        "Give a reason, so that those who have the files know what to do."
    )
    if either.evaluate("document.querySelector('dialog:modal') !== null"):
        expect(dialog.get_by_label("Reason")).to_be_focused()
        either.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        either.get_by_role("link", name="Reason: Give a reason").click()
        expect(dialog.get_by_label("Reason")).to_be_focused()
    dialog.get_by_role("link", name="Cancel").click()
    expect(dialog).to_be_hidden()
    expect(either.get_by_role("region", name="There is a problem")).to_be_hidden()


def test_a_plan_is_checked_while_one_types_around_what_is_typed(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(f"/federations/{site.federation_id}/runs/new")
    page.wait_for_load_state()
    rounds, name = page.locator("#f-rounds"), page.locator("#f-name")
    fault = page.locator("#f-rounds-error")
    rounds.press("ControlOrMeta+a")
    rounds.press("0")
    expect(fault).to_have_text("Must be at least 1.")
    expect(rounds).to_be_focused()
    expect(page.locator("#cost")).to_contain_text("Shown once every field is valid.")

    held: list[Route] = []
    page.route(CHECK, lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    page.evaluate("document.addEventListener('htmx:afterSwap', () => { document.body.dataset.swapped = ''; })")
    name.press("ControlOrMeta+a")
    name.press_sequentially("autumn")
    hold(page, held, 1)
    name.press("Home")
    name.press("x")
    hold(page, held, 2)  # for what was typed while the first was under way
    name.press("y")
    held[-1].continue_()
    expect(page.locator("body[data-swapped]")).to_have_count(1)
    expect(name).to_have_value("xyautumn")
    expect(name).to_be_focused()
    assert name.evaluate("field => field.selectionStart") == 2
    page.unroute(CHECK)
    watched.check_quiet()


def test_no_older_answer_comes_after_a_newer_one(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(f"/federations/{site.federation_id}/runs/new")
    page.wait_for_load_state()
    rounds, fault = page.locator("#f-rounds"), page.locator("#f-rounds-error")
    held: list[Route] = []
    page.route(CHECK, lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks what it is given
    for count, text in enumerate(("0", "4"), start=1):
        rounds.fill(text)
        hold(page, held, count)
    older, newer = held
    with page.expect_response(CHECK):
        newer.continue_()
    with suppress(Error):  # it was given up
        older.continue_()
    page.unroute(CHECK)
    page.locator("#f-name").fill("autumn")
    with page.expect_response(CHECK):
        page.locator("#f-name").blur()
    expect(fault).to_have_count(0)
    expect(rounds).to_have_value("4")


def test_the_quorum_is_judged_anew_as_members_are_ticked(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(f"/federations/{site.federation_id}/runs/new")
    page.wait_for_load_state()
    page.locator("[id='f-network.quorum']").fill(str(SIZES.members))
    fault = page.locator("[id='f-network.quorum-error']")
    expect(fault).to_have_count(0)
    member = page.locator("[name=member]").first
    member.uncheck()
    expect(fault).to_contain_text("members of a round, 3.")
    expect(page.locator("#members-fault")).to_contain_text("4 is more than the number of members of a round, 3.")
    expect(member).to_be_focused()
    member.check()
    expect(fault).to_have_count(0)
    expect(page.locator("#members-fault")).to_have_text("")
    watched.check_quiet()


def test_runs_are_found_as_one_types_and_the_address_tells_how(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto("/runs")
    page.wait_for_load_state()
    rows = page.locator("#found tbody tr")
    expect(rows).to_have_count(50)
    page.get_by_label("State").select_option("failed")
    page.wait_for_url("**/runs?state=failed")
    for state in rows.locator("[data-label=State]").all():
        expect(state).to_contain_text("Failed")
    page.get_by_label("Federation").select_option(site.federation)
    page.wait_for_url(f"**/runs?state=failed&federation={site.federation_id}")
    search = page.get_by_label("Name")
    search.press_sequentially("no such run")
    expect(page.locator("#found")).to_contain_text("No run matches these filters.")
    expect(search).to_be_focused()
    expect(page.locator("#count-found")).to_have_text("0 runs are shown.")
    page.reload()
    expect(search).to_have_value("no such run")
    page.locator("#found").get_by_role("link", name="Show all").click()
    page.wait_for_url("**/runs")
    expect(rows).to_have_count(50)
    page.get_by_role("link", name="Older runs").click()
    expect(rows).to_have_count(10)
    watched.check_quiet()


def test_who_comes_back_to_a_refused_form_finds_what_was_typed(site: Site, watched: Watched) -> None:
    """The browser keeps no answer to a form: without more it would show an error of its own."""
    page = watched.page
    page.goto(f"/people/{site.federation_id}/invite")
    page.get_by_label("participant").check()
    page.get_by_label("E-mail address").fill("nobody@example.org")
    submit(page, "Make invitation")
    expect(page.locator("#wrong")).to_be_focused()
    page.locator(".rail").get_by_role("link", name="Runs").click()
    heading(page, "Runs")
    page.go_back()
    heading(page, "Invite somebody")
    expect(page.get_by_label("E-mail address")).to_have_value("nobody@example.org")
    expect(page.get_by_label("participant")).to_be_checked()
    assert watched.policy_reports() == []


def test_the_member_of_an_invitation_comes_with_its_role(site: Site, either: Page) -> None:
    """An untouched form is right as it is."""
    member = either.locator("[name=member]")
    either.goto(f"/people/{site.federation_id}/invite")
    expect(member).to_be_hidden()
    either.get_by_label("participant").check()
    expect(member).to_be_visible()
    assert either.locator("#f-member-known option").count() == SIZES.members
    either.get_by_label("viewer").check()
    expect(member).to_be_hidden()
    submit(either, "Make invitation")
    heading(either, "The invitation is ready")


def test_a_join_code_leaves_an_empty_form_behind(site: Site, watched: Watched) -> None:
    page = watched.page
    page.goto(f"/federations/{site.federation_id}/codes")
    page.get_by_label("Member", exact=True).fill("Atelier Nord")
    submit(page, "Make join code")
    expect(page.locator(".copyable code")).to_be_visible()
    page.wait_for_load_state()
    expect(page.get_by_label("Member", exact=True)).to_have_value("")
    submit(page, "Make join code")
    expect(page.locator("tbody tr").filter(has_text="Atelier Nord")).to_have_count(1)
    watched.check_quiet()
