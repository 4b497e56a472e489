"""The participant's app where others in the network reach it: its address, its password, and the way out."""

from __future__ import annotations

from pathlib import Path

import warm
from accessibility import faults
from app_process import CUT, app
from browser import Watched
from playwright.sync_api import Browser, expect

PASSWORD = "seven odd walruses hum"  # noqa: S105

UNENCRYPTED = "The Cross-Origin-Opener-Policy header has been ignored"
"""What a browser says of every page that comes without TLS from another machine's address."""


def test_who_signs_out_in_one_window_is_out_in_all(tmp_path: Path, browser: Browser) -> None:
    further = {"FEDFLOW_CLIENT_PASSWORD": PASSWORD}
    with (
        app(tmp_path / "app", warm.start, ["--host", "0.0.0.0"], further) as (address, _),  # noqa: S104
        browser.new_context(viewport={"width": 380, "height": 800}) as context,
    ):
        watched = Watched(context)
        page = watched.page
        page.goto(address)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Enter").click()
        expect(page.get_by_role("heading", name="Generate")).to_be_visible()
        other = context.new_page()
        other.goto(f"{address}/gallery")
        expect(other.get_by_role("heading", name="Gallery")).to_be_visible()
        page.get_by_role("button", name="More", exact=True).click()
        assert faults(page) == []
        page.get_by_role("button", name="Sign out").click()
        for each in (page, other):
            expect(each.get_by_role("heading", name="Password")).to_be_visible()
        watched.complaints = [each for each in watched.complaints if each != CUT and UNENCRYPTED not in each]
        watched.check_quiet()
    assert "not encrypted" in (tmp_path / "app.log").read_text()
