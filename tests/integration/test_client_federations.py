"""A participant's federation in a real browser: the server, two members on their machines, and a third with the app."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_process import CUT, SLOW_MS
from playwright.sync_api import Page, expect
from stage import Stage, staged

ROUNDS = 2
LINES = "#log tbody tr"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All three take part, and the app has its pictures."""
    with staged(tmp_path_factory.mktemp("federations")) as stage:
        stage.network.start_server()
        for member in ("client-2", "client-3"):
            stage.network.join(member, stage.pictures / member, once=False)
        page = visit(stage, "/datasets")
        page.get_by_label("Folder", exact=True).fill(str(stage.pictures / "client-1"))
        page.get_by_role("button", name="Add folder").first.click()
        expect(page.locator("#grid .cell")).to_have_count(4, timeout=SLOW_MS)
        visit(stage, "/federations/join")
        page.get_by_label("Server").fill(stage.network.url)
        page.get_by_label("Code").fill(stage.network.asked("server", "code", "client-1").split()[-1])
        page.get_by_role("button", name="Join", exact=True).click()
        expect(page.get_by_text("Taking part")).to_be_visible(timeout=SLOW_MS)
        stage.network.wait_members("client-1", "client-2", "client-3")
        yield stage
        stage.watched.complaints = [each for each in stage.watched.complaints if each != CUT]
        stage.watched.check_quiet()


def visit(stage: Stage, path: str) -> Page:
    stage.watched.page.goto(stage.address + path)
    return stage.watched.page


def asks(stage: Stage, run: str) -> Page:
    """The page of a run that asks for consent."""
    page = visit(stage, "/federations")
    notice = page.locator("[id^=asks-]", has_text=run)
    expect(notice).to_be_visible(timeout=SLOW_MS)
    notice.get_by_role("link", name="Read what it would do").click()
    return page


def test_a_run_that_is_stopped_before_anybody_answered_asks_no_more(stage: Stage) -> None:
    run_id = stage.start_run("spring", "fedex-lora")
    page = asks(stage, "spring")
    federations = page.get_by_role("link", name=re.compile("^Federations")).first
    expect(federations.locator(".count")).to_have_text("1")
    expect(page.get_by_role("button", name="Agree to this run")).to_be_visible()
    stage.network.asked("run", "stop", run_id)
    expect(page.locator(".badge-line .badge")).to_have_text("Ended without this machine", timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Agree to this run")).to_have_count(0)
    expect(page.get_by_text("The run ended before you answered")).to_be_visible()
    visit(stage, "/federations")
    expect(federations.locator(".count")).to_have_count(0)
    expect(page.locator("[id^=asks-]")).to_have_count(0)
    page.locator(".job a").first.click()
    expect(page.locator("main table .badge")).to_have_text("Ended without this machine")


def test_a_runs_page_draws_its_losses_and_scores_and_walks_its_gallery(stage: Stage) -> None:
    stage.start_run("winter", "fedex-lora", rounds=ROUNDS)
    page = asks(stage, "winter")
    page.get_by_role("button", name="Agree to this run").click()
    expect(page.get_by_text("what came of it is in your library")).to_be_visible(timeout=SLOW_MS)
    here = page.locator("section", has=page.get_by_role("heading", name="Here", exact=True))
    expect(here.locator(".curve svg .ticks")).to_have_count(1)
    expect(here.get_by_text(re.compile(r"^loss \d\.\d{4} at first, \d\.\d{4} at the end$"))).to_have_count(ROUNDS)
    measured = page.locator("#elsewhere .curves section")
    for name, dots in (("Mean loss of all", ROUNDS), ("FID", ROUNDS + 1), ("KID", ROUNDS + 1)):
        chart = measured.filter(has=page.get_by_role("heading", name=name, exact=True))
        expect(chart.locator("path.dots")).to_have_attribute("d", re.compile(f"^(M[^M]*){{{dots}}}$"), timeout=SLOW_MS)
    expect(measured.locator("path.band")).to_have_count(2)
    shown = page.locator("#elsewhere .shots a")
    expect(shown).to_have_count(ROUNDS + 1)
    shown.first.click()
    left, right = page.get_by_label("Left", exact=True), page.get_by_label("Right", exact=True)
    expect(right).to_have_value("2")
    page.get_by_role("button", name="Previous", exact=True).click()
    expect(left.locator("option:checked")).to_have_text("base model")
    expect(right.locator("option:checked")).to_have_text("Round 1")
    expect(page.get_by_role("button", name="Previous", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Next", exact=True).click()
    expect(left.locator("option:checked")).to_have_text("Round 1")
    expect(page.locator("#compare img.over")).to_have_js_property("naturalWidth", 64)
    page.get_by_role("dialog").get_by_role("button", name="Close").click()


def test_the_log_tells_what_a_run_has_taken_away_and_is_handed_on(stage: Stage, tmp_path: Path) -> None:
    page = visit(stage, "/federations")
    page.get_by_role("link", name="What left this machine").click()
    expect(page.locator("#log .facts").first).to_contain_text("Proofs of who this machine is")
    page.get_by_label("Run", exact=True).select_option(label="winter")
    page.get_by_label("What", exact=True).select_option(label="Trained weights")
    expect(page.locator(LINES)).to_have_count(ROUNDS)
    expect(page).to_have_url(re.compile(r"[?&]what=update"))
    for number in range(1, ROUNDS + 1):
        expect(page.get_by_role("row").filter(has_text=f"winter, round {number}")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV", exact=True).click()
    file = tmp_path / "sent.csv"
    download.value.save_as(file)
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["run"], row["round"], row["kind"]) for row in rows] == [
        ("winter", str(number), "update") for number in range(1, ROUNDS + 1)
    ]
    size_bytes = sum(int(row["bytes"]) for row in rows)
    expect(page.locator("#log .facts").first).to_contain_text(f"{size_bytes:,} bytes in")
    page.get_by_role("link", name="winter").first.click()
    expect(page.get_by_role("heading", name="winter", level=1)).to_be_visible()


def test_the_log_is_filtered_without_scripts(stage: Stage) -> None:
    browser = stage.watched.page.context.browser
    assert browser is not None
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{stage.address}/federations/sent")
        page.get_by_label("What", exact=True).select_option(label="Answers to runs")
        page.get_by_role("button", name="Filter").click()
        expect(page.locator(LINES)).to_have_count(1)
        expect(page.locator(LINES)).to_contain_text("winter")
        page.get_by_role("link", name="Show all").click()
        expect(page.get_by_text("Export the whole log:")).to_be_visible()


def test_a_machine_that_was_removed_joins_again_and_leaves_and_its_log_stays(stage: Stage) -> None:
    stage.network.asked("server", "remove", "client-1")
    page = visit(stage, "/federations")
    expect(page.locator(".job .badge")).to_have_text("Removed", timeout=SLOW_MS)
    visit(stage, "/federations/join")
    page.get_by_label("Server").fill(stage.network.url)
    page.get_by_label("Code").fill(stage.network.asked("server", "code", "client-1").split()[-1])
    page.get_by_role("button", name="Join", exact=True).click()
    expect(page.get_by_text("Taking part")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator(".job:visible")).to_have_count(1)
    page.get_by_text("1 that was removed and joined again").click()
    folded = page.locator("details .job")
    expect(folded).to_contain_text("Removed")
    folded.get_by_role("link").click()
    expect(page.get_by_role("link", name="See where it takes part now")).to_be_visible()
    page.get_by_role("button", name="Forget this entry").click()
    page.get_by_role("button", name="Forget it", exact=True).click()
    expect(page.get_by_text("This machine takes part on")).to_be_visible()
    expect(page.locator("details .job")).to_have_count(0)
    page.get_by_role("link", name="What left this machine").click()
    run = page.get_by_label("Run", exact=True)
    run.select_option(run.locator("option", has_text="winter").get_attribute("value"))
    page.get_by_label("What", exact=True).select_option(label="Trained weights")
    expect(page.locator(LINES)).to_have_count(ROUNDS)
    expect(page.locator(LINES).first).to_contain_text("left")
    page.get_by_role("button", name="Delete its log").click()
    page.get_by_role("button", name="Delete log").click()
    expect(page.get_by_text("That part of the log is deleted.")).to_be_visible()
    expect(page.get_by_text("winter")).to_have_count(0)
