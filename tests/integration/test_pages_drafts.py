"""Nothing that was typed is lost in a real Chromium: by a reload, another language, a session that has ended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Watched
from page_server import PASSWORD, Server, comes_first, heading, submit
from playwright.sync_api import Browser, Page, expect


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "data", tmp_path / "server.log") as server:
        yield server


def to_rules(page: Page) -> None:
    page.locator(".rail").get_by_role("link", name="Federations").click()
    page.get_by_role("rowheader").get_by_role("link", name="federation").click()
    page.locator(".tabs").get_by_role("link", name="Rules").click()
    expect(page.locator("[name='runs.most_rounds']")).to_be_visible()
    page.wait_for_load_state()


def test_what_is_typed_stays_until_the_server_has_it(server: Server, browser: Browser) -> None:
    address = server.told(r"listening on (http://[\d.:]+)")
    link = server.told(r"Set up the first account: \S+(/invitation/\S+)")
    watched = Watched(browser.new_context(base_url=address, locale="en"))
    page = watched.page
    comes_first(page, link)
    to_rules(page)
    rounds = page.locator("[name='runs.most_rounds']")
    method = page.locator("input[type=checkbox][value=fedavg]")
    rounds.fill("7")
    method.set_checked(not method.is_checked())
    ticked = method.is_checked()
    other = page.context.new_page()
    other.goto(page.url)
    other.locator("[name='members.most_devices']").fill("3")
    submit(other, "Save rules")
    expect(other.locator("#flashes .notice.done")).to_be_visible()
    other.close()
    page.reload()
    expect(rounds).to_have_value("7")
    assert method.is_checked() == ticked
    page.get_by_role("button", name="Українська").click()
    expect(page.locator("html")).to_have_attribute("lang", "uk")
    expect(rounds).to_have_value("7")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    kept = page.context.cookies()
    page.context.clear_cookies(name=re.compile("sign_in"))
    submit(page, "Save rules")
    heading(page, "You are signed out")
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("E-mail address").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    submit(page, "Sign in")
    heading(page, "Overview")
    to_rules(page)
    expect(rounds).to_have_value("7")
    submit(page, "Save rules")
    expect(page.locator("#flashes .notice.done")).to_be_visible()
    expect(page.locator("[name='members.most_devices']")).to_have_value("3")
    rounds.fill("8")
    page.evaluate("sessionStorage.clear()")
    page.reload()
    expect(rounds).to_have_value("7")
    assert kept
    both_change_the_methods(page)


def both_change_the_methods(page: Page) -> None:
    """The second to save is told so, and the same again sets theirs."""
    other = page.context.new_page()
    other.goto(page.url)
    other.locator("input[type=checkbox][value=fedit]").click()
    submit(other, "Save rules")
    expect(other.locator("#flashes .notice.done")).to_be_visible()
    other.close()
    method = page.locator("input[type=checkbox][value=fedavg]")
    method.click()
    ticked = method.is_checked()
    submit(page, "Save rules")
    expect(page.locator("#wrong")).to_contain_text("This was changed while you had the page open")
    expect(method).to_have_attribute("aria-invalid", "true")
    page.reload()
    expect(method).to_be_checked(checked=ticked)
    submit(page, "Save rules")
    expect(page.locator("#flashes .notice.done")).to_be_visible()
    assert method.is_checked() == ticked


def test_a_page_that_asks_by_itself_is_left_when_the_session_ends(server: Server, browser: Browser) -> None:
    address = server.told(r"listening on (http://[\d.:]+)")
    link = server.told(r"Set up the first account: \S+(/invitation/\S+)")
    page = Watched(browser.new_context(base_url=address, locale="en")).page
    comes_first(page, link)
    page.goto("/audit")
    expect(page.locator("#chain form")).to_be_visible(timeout=60_000)
    page.context.clear_cookies(name=re.compile("sign_in"))
    page.locator("#chain").get_by_role("button", name="Check again").click()
    expect(page.locator("#flashes")).to_contain_text("FedFlow could not do this. (401)")
    page.evaluate("htmx.ajax('GET', '/audit/chain', '#chain')")
    heading(page, "Sign in")
    assert page.url == f"{address}/sign-in?next=/audit"
    expect(page.locator("h1")).to_have_count(1)
