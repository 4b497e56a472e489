"""The kit in a real Chromium, under its strict policy: live parts, keyboard, themes, narrow screens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import Watched, served
from kit_page import LONG_NAME, create_app
from playwright.sync_api import Browser, expect

Open = Callable[..., Watched]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    app = create_app()
    with served(app) as address:
        yield address
        app.config["CLOSING"].set()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Open]:
    contexts = []

    def visit(path: str = "/kit", width: int = 1280, **options: Any) -> Watched:
        context = browser.new_context(
            base_url=address, viewport={"width": width, "height": 800}, **{"locale": "en", **options}
        )
        contexts.append(context)
        watched = Watched(context)
        watched.page.goto(path)
        return watched

    yield visit
    for context in contexts:
        context.close()


@pytest.mark.parametrize("path", ["/kit", "/kit?flash=1", "/sign-in"])
@pytest.mark.parametrize("language", ["en", "uk"])
def test_pages_load_without_a_word_of_console_or_policy(visit: Open, path: str, language: str) -> None:
    watched = visit(path, locale=language)
    watched.page.wait_for_load_state("load")
    assert watched.page.evaluate("document.documentElement.lang") == language
    assert watched.page.evaluate("document.fonts.ready.then(() => document.fonts.check('15px Inter'))")
    watched.check_quiet()


def test_alpine_htmx_and_event_streams_work_under_the_policy(visit: Open) -> None:
    watched = visit()
    page = watched.page
    page.click("#add")
    page.click("#add")
    expect(page.locator("#counted")).to_have_text("2")
    page.click("#bring")
    expect(page.locator("#part")).to_have_text("Brought by htmx")
    expect(page.locator("#streamed")).to_have_text("told by the server")
    watched.check_quiet()


def test_the_policy_stops_what_the_page_did_not_bring(visit: Open) -> None:
    watched = visit()
    watched.page.evaluate(
        """async () => {
          const told = new Promise((resolve) => {
            document.addEventListener("securitypolicyviolation", () => window.violations.length >= 4 && resolve());
            setTimeout(resolve, 5000);  // a policy that stops less is seen below
          });
          const inline = "<img src='/none' onerror='window.ran = 1'><p style='color:red'>";
          document.body.insertAdjacentHTML("beforeend", inline);
          const script = document.createElement("script");
          script.textContent = "window.ran = 1";
          document.body.append(script);
          const source = document.createElement("script");
          source.src = "https://else.example/x.js";
          document.body.append(source);
          await told;
        }"""
    )
    stopped = {report.split(":")[0] for report in watched.policy_reports()}
    assert stopped == {"script-src-elem", "style-src-attr", "script-src-attr"}
    assert watched.page.evaluate("window.ran") is None


def test_the_api_description_runs_under_the_policy_of_its_own(visit: Open) -> None:
    watched = visit("/openapi/swagger")
    expect(watched.page.locator(".swagger-ui .info h1, .swagger-ui .info h2")).to_contain_text("Kit")
    watched.check_quiet()


def test_a_field_is_checked_as_one_types(visit: Open) -> None:
    watched = visit()
    page = watched.page
    rounds, clients = page.locator("[id='f-rounds']"), page.locator("[id='f-data.clients']")
    rounds.fill("0")
    clients.fill("a\n.b")
    expect(page.locator("[id='f-rounds-error']")).to_have_text("Must be at least 1.")
    expect(rounds).to_have_value("0")
    expect(clients).to_be_focused()
    expect(clients).to_have_value("a\n.b")
    rounds.fill("4")
    rounds.press("Tab")
    expect(page.locator("[id='f-rounds-error']")).to_have_count(0)
    expect(page.locator("[id='f-data.clients-error']")).to_contain_text("'.b' is no name of a folder")
    watched.check_quiet()


def test_a_refused_request_is_told_in_the_live_region(visit: Open) -> None:
    page = visit().page
    page.click("#refuse")
    flash = page.locator("#flashes[role=status] .notice")
    expect(flash).to_have_text("FedFlow could not do this. (409)")
    page.click("#refuse")
    expect(flash).to_have_count(1)
    flash.get_by_role("button", name="Dismiss").click()
    expect(flash).to_have_count(0)


def test_every_stop_of_the_tab_key_is_seen_and_the_last_is_reached(visit: Open) -> None:
    page = visit("/kit?faults=1").page
    assert page.evaluate("document.activeElement.id") == "wrong"
    page.locator(".skip").focus()
    stops = []
    for _ in range(200):
        stop = page.evaluate(
            """() => {
              const at = document.activeElement;
              const style = getComputedStyle(at);
              const words = at.textContent.trim().slice(0, 30);
              return [at.tagName, words, style.outlineStyle, parseFloat(style.outlineWidth)];
            }"""
        )
        if stop[0] == "BODY":
            break
        stops.append(stop)
        page.keyboard.press("Tab")
    assert len(stops) > 60
    assert stops[-1][1] == "Make a release"
    assert [stop for stop in stops if stop[2] == "none" or stop[3] < 2] == []


def test_the_skip_link_leads_past_the_rail(visit: Open) -> None:
    page = visit().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_the_theme_changes_and_stays(visit: Open, scripts: bool) -> None:
    page = visit(color_scheme="light", java_script_enabled=scripts).page

    def ground() -> str:
        colour: str = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        return colour

    if not scripts:
        page.click(".rail button[value=dark]")
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        expect(page.locator("html")).to_have_css("background-color", "rgb(19, 19, 21)")
        return
    assert ground() == "rgb(250, 250, 250)"
    page.click(".rail button[value=dark]")
    assert ground() == "rgb(19, 19, 21)"
    expect(page.locator(".rail button[value=dark]")).to_have_attribute("aria-pressed", "true")
    page.reload()
    assert ground() == "rgb(19, 19, 21)"
    page.click(".rail button[value=system]")
    page.emulate_media(color_scheme="dark")
    assert ground() == "rgb(19, 19, 21)"
    page.emulate_media(color_scheme="light")
    assert ground() == "rgb(250, 250, 250)"


def test_the_language_changes_where_one_stands(visit: Open) -> None:
    page = visit("/kit?flash=1").page
    page.click(".rail button[value=uk]")
    page.wait_for_url("**/kit?flash=1")
    expect(page.locator("html")).to_have_attribute("lang", "uk")
    expect(page.locator(".rail button[value=light]")).to_have_text("Світла")


@pytest.mark.parametrize("path", ["/kit?faults=1&flash=1", "/sign-in", "/broken"])
@pytest.mark.parametrize("width", [320, 380, 640, 1280])  # 1280 at 400 %, a phone, 1280 at 200 %
@pytest.mark.parametrize("language", ["en", "uk"])
def test_nothing_is_wider_than_the_screen(visit: Open, path: str, width: int, language: str) -> None:
    page = visit(path, width=width, locale=language).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.querySelectorAll('.rail')].every((one) => one.scrollWidth <= one.clientWidth)")


def test_a_name_from_right_to_left_leaves_what_stands_behind_it_there(visit: Open) -> None:
    page = visit().page
    name, count = page.locator("#right-to-left").evaluate(
        """(line) => {
          const range = document.createRange();
          range.selectNode(line.firstChild);
          return [range.getBoundingClientRect().right, line.querySelector("span").getBoundingClientRect().left];
        }"""
    )
    assert name <= count + 1


def test_what_stands_behind_a_long_name_in_a_narrow_table_stays_whole(visit: Open) -> None:
    you = visit(width=380).page.locator("#you").bounding_box()
    assert you is not None
    assert you["height"] < 30, "a letter a line"


@pytest.mark.parametrize("width", [380, 1280])
def test_targets_are_24_pixels(visit: Open, width: int) -> None:
    page = visit("/kit?flash=1", width=width).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    small = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
          .filter((one) => one.checkVisibility() && !one.matches(".skip, [type=hidden]"))
          .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
          .filter(([, box]) => box.width > 0 && (box.width < 24 || box.height < 24))
          .map(([html, box]) => `${html} ${box.width}x${box.height}`)"""
    )
    assert small == []


def test_a_question_takes_the_focus_and_gives_it_back(visit: Open) -> None:
    page = visit().page
    page.click("[data-opens=stop]")
    expect(page.get_by_role("dialog", name="Stop this run for good?")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("[data-opens=stop]")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_a_question_is_asked_without_scripts_too(visit: Open) -> None:
    page = visit(java_script_enabled=False).page
    page.click("[data-opens=stop]")
    dialog = page.get_by_role("dialog", name="Stop this run for good?")
    expect(dialog).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()


def test_a_narrow_screen_folds_the_places_that_do_not_fit(visit: Open) -> None:
    page = visit(width=380).page
    expect(page.locator(".rail [aria-current]:visible")).to_have_text("Runs")
    expect(page.locator(".rail .place:visible")).to_have_text(["Overview", "Federations3", "Runs", "Models", "More2"])
    bar = page.locator(".rail").bounding_box()
    assert bar is not None
    assert bar["y"] + bar["height"] == 800
    page.locator(".rail .more button").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#more-places .place")).to_have_text(["People", "Audit", "System2", f"Olena {LONG_NAME}"])
    page.keyboard.press("Escape")
    expect(page.locator("#more-places")).to_be_hidden()
    expect(page.locator(".rail .more button")).to_be_focused()


def test_the_present_round_is_in_sight(visit: Open) -> None:
    page = visit(width=320).page
    assert page.evaluate(
        """() => {
          const line = document.querySelector(".rounds").getBoundingClientRect();
          const now = document.querySelector(".rounds [aria-current]").getBoundingClientRect();
          return now.left >= line.left && now.right <= line.right;
        }"""
    )


def test_a_command_is_copied(visit: Open) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"]).page
    button = page.locator(".copyable button")
    button.click()
    expect(button).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("fedflow join https://fedflow.example --code")


def test_who_wants_no_motion_sees_none(visit: Open) -> None:
    moving = "getComputedStyle(document.querySelector('progress:indeterminate')).animationName"
    assert visit().page.evaluate(moving) == "breathe"
    assert visit(reduced_motion="reduce").page.evaluate(moving) == "none"
