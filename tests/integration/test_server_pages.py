"""The pages of a real server in a real Chromium: from the first start's link to the audit log."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Watched
from page_server import PASSWORD, Server, comes_first, heading, submit
from playwright.sync_api import Browser, CDPSession, Page, expect
from tests.unit.server.import_setting import kohya_file

FOR_A_WORKER_MS = 90_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "imports").mkdir()
    with Server(tmp_path / "data", tmp_path / "first.log", "--imports", str(tmp_path / "imports")) as server:
        yield server


def invites(page: Page) -> str:
    """She invites a participant from the overview's first steps, and gets the link."""
    page.locator(".first-steps").get_by_role("link", name="Invite somebody").click()
    page.get_by_role("radio", name="participant").check()
    page.get_by_role("textbox", name="Member").fill("Atelier Nord")
    submit(page, "Make invitation")
    heading(page, "The invitation is ready")
    return page.locator(".copyable code").inner_text()


def takes_it_up(page: Page, invitation: str) -> None:
    """Another person makes an account with it: in Ukrainian, and without scripts."""
    page.goto(invitation)
    expect(page.locator("h1")).to_have_text("Приєднатися до «federation»")
    page.locator("[name=name]").fill("Іван Петренко")
    page.locator("[name=email]").fill("ivan@example.org")
    page.locator("[name=password]").fill(PASSWORD)
    page.locator("main button.primary").click()
    expect(page.locator("h1")).to_have_text("Огляд")
    expect(page.locator(".rail .places")).to_contain_text("Люди")
    expect(page.locator(".rail .places")).not_to_contain_text("Аудит")


def sees_both(page: Page) -> None:
    """The first one finds the other among the people, and what was done in the log."""
    page.get_by_role("link", name="Done").click()
    row = page.get_by_role("row").filter(has_text="Іван Петренко")
    expect(row).to_contain_text("participant")
    expect(row).to_contain_text("Atelier Nord")
    page.locator(".rail").get_by_role("link", name="Audit").click()
    expect(page.locator("#chain")).to_contain_text(re.compile(r"The chain verifies: \d+ entries"))
    entry = page.get_by_role("row").filter(has_text="took up an invitation").first
    expect(entry).to_contain_text("Іван Петренко")
    expect(page.get_by_role("row").filter(has_text="member: Atelier Nord").first).to_be_visible()


def sends_as_fast_as(network: CDPSession, bytes_in_a_second: int) -> None:
    """The browser sends no faster from now on; without a limit where it is -1."""
    limits = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_in_a_second}
    network.send("Network.emulateNetworkConditions", limits)


def brings_an_adapter_in(page: Page, folder: Path, adapter: bytes) -> None:
    """By an upload in two pieces: how far the first one is stands there meanwhile, and the second is cut once."""
    file = folder / "foxes.safetensors"
    file.write_bytes(adapter)
    assert len(adapter) > 2 * 64_000, "each piece is larger than a form may be"
    page.locator(".rail").get_by_role("link", name="Federations").click()
    page.get_by_role("rowheader").get_by_role("link", name="federation").click()
    page.locator(".tabs").get_by_role("link", name="Imports").click()
    page.get_by_role("link", name="Import").last.click()
    heading(page, "Import into federation")
    expect(page.locator("#f-place")).to_be_hidden()
    page.get_by_label("From").select_option("folder")
    expect(page.locator("#f-place")).to_be_visible()
    expect(page.locator("#f-file")).to_be_hidden()
    page.get_by_label("From").select_option("upload")
    page.locator("#f-name").fill("Foxes")
    page.locator("#f-file").set_input_files(file)
    page.locator("#import").evaluate(f"form => form.dataset.piece = '{len(adapter) // 2 + 1}'")
    page.route(re.compile(r"offset=[1-9]"), lambda route: route.abort(), times=1)
    network = page.context.new_cdp_session(page)
    sends_as_fast_as(network, len(adapter) // 40)
    submit(page, "Import")
    expect(page.locator("#import .progress")).to_contain_text(re.compile(r"\d of 0\.\d MB · \d\d sec left"))
    sends_as_fast_as(network, -1)
    heading(page, "federation")
    expect(page.get_by_role("row").filter(has_text="Foxes")).to_contain_text("Here", timeout=FOR_A_WORKER_MS)


def brings_a_model_in_from_the_servers_folder(first: Watched, model: Path, folder: Path) -> None:
    """First with nothing filled in, which is told beside the fields; then by its name in the folder of imports."""
    shutil.copytree(model, folder / "imports" / "tiny")
    page = first.page
    page.goto(f"{page.url.split('/imports')[0]}/imports/new")
    submit(page, "Import")
    expect(page.locator("#f-name-error")).to_be_visible()
    expect(page.locator("form .error").filter(has_text="Choose a file.")).to_be_visible()
    page.locator("#f-name").fill("Tiny")
    page.get_by_label("Kind").select_option("model")
    page.get_by_label("From").select_option("folder")
    page.locator("#f-place").fill("tiny")
    submit(page, "Import")
    expect(page.get_by_role("row").filter(has_text="Tiny")).to_contain_text("Here", timeout=FOR_A_WORKER_MS)
    first.complaints = [each for each in first.complaints if "422" not in each]  # the form with nothing filled in
    first.check_quiet()


def makes_a_join_code(page: Page) -> str:
    """She lets the first machine in: the line to type, shown once."""
    page.locator(".rail").get_by_role("link", name="Federations").click()
    page.get_by_role("rowheader").get_by_role("link", name="federation").click()
    page.get_by_role("link", name="Make join code").click()
    page.get_by_label("Member", exact=True).fill("Atelier Nord")
    submit(page, "Make join code")
    expect(page.get_by_role("row").filter(has_text="Atelier Nord")).to_contain_text("Withdraw")
    return page.locator(".copyable code").inner_text()


def test_from_the_first_link_to_a_second_person(
    server: Server, browser: Browser, tmp_path: Path, tiny_model_folder: Path
) -> None:
    address = server.told(r"listening on (http://[\d.:]+)")
    link = server.told(r"Set up the first account: \S+(/invitation/\S+)")
    first = Watched(browser.new_context(base_url=address, locale="en"))
    second = Watched(browser.new_context(base_url=address, locale="uk", java_script_enabled=False))
    page = first.page
    comes_first(page, link)
    first.check_quiet()
    invitation = invites(page)
    assert invitation.startswith(f"{address}/invitation/")
    takes_it_up(second.page, invitation)
    sees_both(page)
    first.check_quiet()
    brings_an_adapter_in(page, tmp_path, kohya_file(tiny_model_folder, rank=40))
    first.complaints = [each for each in first.complaints if "ERR_FAILED" not in each]  # the piece that was cut
    first.check_quiet()
    brings_a_model_in_from_the_servers_folder(first, tiny_model_folder, tmp_path)
    code = makes_a_join_code(page)
    assert re.search(rf"fedflow join {address} --code [\w-]+ --data FOLDER", code)
    first.check_quiet()
    here = page.url.removeprefix(address).removesuffix("/codes")
    federation = (here, f"{here}/codes", f"{here}/devices", f"{here}/rules", f"{here}/runs/new", f"{here}/imports/new")
    own = ("/account", "/account/sign-in", "/account/tokens", "/account/pictures", "/account/data")
    for path in ("/", "/federations", "/runs", "/people", "/audit", "/system", *federation, *own):
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(path)
        first.check_quiet()
        page.set_viewport_size({"width": 320, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path
    page.goto("/account/sign-in")
    page.locator("form[action$=second-factor]").get_by_label("Your password").fill(PASSWORD)
    submit(page, "Set it up")
    expect(page.locator(".qr svg path").first).to_be_visible()
    first.check_quiet()
    page.goto("/account")
    submit(page, "Sign out")
    heading(page, "Sign in")
    page.goto("/audit")
    page.get_by_label("E-mail address").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    submit(page, "Sign in")
    heading(page, "Audit")
    first.check_quiet()
    server.end()
    with Server(tmp_path / "data", tmp_path / "again.log") as again:
        again.told(r"(More codes): ")  # the last line before its processes start
        assert "/invitation/" not in again.log.read_text(encoding="utf-8")
