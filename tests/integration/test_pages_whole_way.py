"""The whole way in a real Chromium: from an empty server to a released adapter that verifies.

The starter, real processes: the server with its worker and evaluator, and three participants. With PAGE_PICTURES=FOLDER
in the environment the run has three rounds, and the main pages are kept as pictures in that folder, as in `docs/`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import warm
from browser import Watched
from network import FEDFLOW, SETTINGS
from page_server import Server, comes_first, heading, submit
from playwright.sync_api import Browser, Page, expect

from fedflow.shipped import demo_folder

MEMBERS = {"Atelier Nord": 3, "Museum Ost": 4, "Clinic West": 5}
FOR_A_ROUND_MS = 150_000
PICTURES = os.environ.get("PAGE_PICTURES")
ROUNDS = 3 if PICTURES else 1
WIDE, NARROW = 1280, 380


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of some demo pictures for each member, and held-out ones."""
    folder = tmp_path / "pictures"
    for number, (name, count) in enumerate({**MEMBERS, "heldout": 4}.items(), start=1):
        source = demo_folder() / ("heldout" if name == "heldout" else f"client-{number}")
        (folder / name).mkdir(parents=True)
        for picture in sorted(source.glob("*.png"))[:count]:
            for path in (picture, picture.with_suffix(".txt")):
                (folder / name / path.name).write_bytes(path.read_bytes())
    return folder


def keep(page: Page, name: str, width: int = WIDE) -> None:
    """The page as a picture, where pictures are wanted."""
    if PICTURES:
        page.set_viewport_size({"width": width, "height": 800 if width == WIDE else 1000})
        page.evaluate(
            "document.activeElement.blur(), scrollTo(0, 0), document.querySelector('#flashes .dismiss')?.click()"
        )
        # A hidden caret would leave a style on each field, which the policy complains of once htmx copies it.
        page.screenshot(path=Path(PICTURES) / f"page-{name}.png", full_page=width == WIDE, caret="initial")


@contextmanager
def beside(page: Page, path: str) -> Iterator[Page]:
    """Another page of the same browser, so that the first one stays where it is."""
    other = page.context.new_page()
    other.goto(path)
    yield other
    other.close()


def keeps_the_overview(page: Page) -> None:
    """With a run under way."""
    if PICTURES:
        expect(page.locator(".state-line .badge")).to_have_text("Running", timeout=FOR_A_ROUND_MS)
        with beside(page, "/") as overview:
            keep(overview, "overview")


def keeps_the_run(page: Page) -> None:
    """Done, with every round measured and drawn; wide, dark and narrow."""
    if PICTURES:
        with beside(page, "/system") as system:
            for _ in range(FOR_A_ROUND_MS // 1000):
                if system.get_by_text("No jobs are waiting or running.").count():
                    break
                system.wait_for_timeout(1000)
                system.reload()
        with beside(page, page.url) as run:
            keep(run, "run")
            run.locator(".rail button[value=uk]").click()
            expect(run.locator("html")).to_have_attribute("lang", "uk")
            keep(run, "run-ukrainian")
            run.locator(".rail button[value=en]").click()
            expect(run.locator("html")).to_have_attribute("lang", "en")
            keep(run, "run-narrow", NARROW)
            run.emulate_media(color_scheme="dark")
            keep(run, "run-dark")


def keeps_a_failed_run(page: Page) -> None:
    """Another run, of which all members but one are removed before they have answered."""
    if not PICTURES:
        return
    page.goto("/runs")
    page.get_by_role("link", name="New run").click()
    heading(page, "New run")
    page.locator("[name=name]").fill("Second season")
    submit(page, "Start run")
    heading(page, "Second season")
    expect(page.locator(".state-line .badge")).to_have_text("Running", timeout=FOR_A_ROUND_MS)
    for member in list(MEMBERS)[1:]:
        with beside(page, "/federations") as other:
            other.get_by_role("rowheader").get_by_role("link").first.click()
            other.get_by_role("link", name=member).click()
            other.get_by_role("button", name="Remove member").click()
            other.locator("#remove").get_by_role("button", name="Remove member").click()
            expect(other.locator("#flashes .notice.done")).to_be_visible()
    expect(page.locator(".state-line .badge")).to_have_text("Failed")
    with beside(page, page.url) as run:
        keep(run, "run-failed")


def lets_in(page: Page, member: str) -> list[str]:
    """A join code for a member; the words of the line that its owner types."""
    page.get_by_label("Member", exact=True).fill(member)
    submit(page, "Make join code")
    expect(page.locator("main .notice.done").filter(has_text=member)).to_be_visible()  # not the code before it
    line = page.locator(".copyable code").inner_text()
    assert line.startswith("fedflow join ")
    return line.split()[1:]


def plans_a_run(page: Page) -> None:
    """From the overview's button to the run's page; what it costs is told before."""
    page.locator(".rail").get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="New run").first.click()
    heading(page, "New run")
    for member in MEMBERS:
        expect(page.get_by_label(member)).to_be_checked()
    page.locator("[name=name]").fill("First season")
    page.locator("[name=rounds]").fill("0")
    page.locator("[name=rounds]").press("Tab")
    expect(page.locator("[id='f-rounds-error']")).to_be_visible()
    page.locator("[name=rounds]").fill(str(ROUNDS))
    page.locator("[name='training.epochs']").fill("1")
    page.locator("[name='training.epochs']").press("Tab")
    expect(page.locator("#cost")).to_be_visible()
    keep(page, "new-run")
    submit(page, "Start run")
    heading(page, "First season")


def watches_it_end(page: Page) -> None:
    """Nothing is reloaded: the page is told by the server what has changed."""
    page.evaluate("window.stayed = true")
    keeps_the_overview(page)
    expect(page.locator(".who li")).to_have_count(len(MEMBERS))
    expect(page.locator(".state-line .badge.done")).to_be_visible(timeout=FOR_A_ROUND_MS)
    expect(page.get_by_role("button", name="Stop run")).to_have_count(0)
    expect(page.locator("table.gallery tbody tr").first).to_be_visible(timeout=FOR_A_ROUND_MS)
    expect(page.locator("#live svg").first).to_be_visible()
    expect(page.locator("table.gallery thead th")).to_have_count(2 + ROUNDS, timeout=FOR_A_ROUND_MS)
    keeps_the_run(page)
    compares(page)
    assert page.evaluate("window.stayed")


def compares(page: Page) -> None:
    """Two pictures of a prompt over each other, and back to the page."""
    page.locator("table.gallery tbody a").first.click()
    dialog = page.locator("#compare")
    expect(dialog).to_be_visible()
    over = dialog.locator("img.over")
    expect(over).to_have_css("clip-path", "inset(0px 0px 0px 50%)")
    expect(over).to_have_js_property("naturalWidth", 64)
    assert dialog.evaluate("it => it.scrollHeight <= it.clientHeight"), "it fits the window"
    expect(dialog.locator(".of")).to_contain_text(", seed ")
    dialog.get_by_role("slider").fill("20")
    expect(over).to_have_css("clip-path", "inset(0px 0px 0px 20%)")
    before = over.get_attribute("src")
    dialog.locator("select").last.select_option(index=0)
    assert over.get_attribute("src") != before
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def releases_it(page: Page) -> None:
    page.locator(".rail").get_by_role("link", name="Models").click()
    page.get_by_role("link", name="First season").click()
    page.get_by_role("link", name="Newest version").click()
    expect(page.locator("svg.lineage rect")).to_have_count(1 + ROUNDS)
    row = page.locator("#files").get_by_role("row").filter(has_text="Adapter for ComfyUI")
    if row.get_by_role("button", name="Prepare download").count():
        row.get_by_role("button", name="Prepare download").click()
    expect(row.get_by_role("link", name="Download")).to_be_visible(timeout=FOR_A_ROUND_MS)
    keep(page, "version")
    page.get_by_role("link", name="Release", exact=True).click()
    page.get_by_label("Tag").fill("v1.0")
    submit(page, "Release")
    heading(page, "First season v1.0")
    keep(page, "release")


def verified(page: Page, folder: Path) -> str:
    """What `fedflow verify` says, by the line of the page, of the files that the page gives."""
    words = page.locator(".copyable code").filter(has_text="fedflow verify").inner_text().split()
    with page.expect_download() as file:
        page.locator(".released li").first.get_by_role("link", name="Download").click()
    file.value.save_as(folder / file.value.suggested_filename)
    with page.expect_download() as provenance:
        page.get_by_role("link", name="Download provenance").click()
    provenance.value.save_as(folder / provenance.value.suggested_filename)
    done = subprocess.run([*FEDFLOW, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_from_an_empty_server_to_a_release(browser: Browser, pictures: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "data", tmp_path / "server.log", "--pictures", str(pictures))
    clients = []
    try:
        address = server.told(r"listening on (http://[\d.:]+)")
        link = server.told(r"Set up the first account: \S+(/invitation/\S+)")
        ada = Watched(browser.new_context(base_url=address, locale="en"))
        page = ada.page
        comes_first(page, link)
        keep(page, "empty")
        page.get_by_role("link", name="Make join code").first.click()
        for member in MEMBERS:
            words = lets_in(page, member)
            words[words.index("FOLDER")] = str(pictures / member)
            options = ["--home", str(tmp_path / member), "--accept", "--once"]
            log = tmp_path / f"{member}.log"
            clients.append(warm.start([*words, *options], {**os.environ, **SETTINGS}, log))
        page.locator(".tabs").get_by_role("link", name="Members").click()
        for member in MEMBERS:
            row = page.get_by_role("row").filter(has_text=member)
            for _ in range(120):
                if row.count():
                    break
                page.wait_for_timeout(500)
                page.reload()
            expect(row).to_be_visible()
        keep(page, "federation")
        plans_a_run(page)
        watches_it_end(page)
        ada.check_quiet()
        releases_it(page)
        assert "Trained by 3 members\n" in verified(
            page, tmp_path
        )  # none agreed to show its count beyond the federation
        page.get_by_role("link", name="Try it out").click()
        expect(page.locator("[name=prompt]")).to_be_visible()
        ada.check_quiet()
        page.goto("/audit")
        expect(page.get_by_role("row").filter(has_text="gave out a version").first).to_be_visible()
        ada.check_quiet()
        for client in clients:
            assert client.wait(60) == 0
        keeps_a_failed_run(page)
    finally:
        for client in clients:
            if client.poll() is None:
                client.send_signal(signal.SIGTERM)
                client.wait(60)
        server.end()
