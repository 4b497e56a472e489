"""The participant's app as a person has it: its two processes, the starter, and a real browser."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from app_process import CUT, SLOW_MS, app, worker_of
from browser import Watched
from playwright.sync_api import Browser, expect

from fedflow.client.worker.drawing import MOST_AT_ONCE

SHOTS = ".shots li"
PICTURES = 3 * MOST_AT_ONCE
STEPS = 8
"""So many pictures, of so many steps, that some are there, and kept, while others are still drawn."""


def test_from_an_empty_machine_to_a_picture_that_outlives_everything(tmp_path: Path, browser: Browser) -> None:
    with browser.new_context() as context, app(tmp_path / "app") as (address, process):
        watched = Watched(context)
        page = watched.page
        page.goto(address)
        expect(page.get_by_text("No pictures yet")).to_be_visible()
        page.get_by_label("Prompt", exact=True).fill("fluent_style, cat, animal")
        page.get_by_label("Pictures").fill(str(PICTURES))
        page.locator("summary", has_text=re.compile("^More$")).click()
        page.get_by_label("Steps", exact=True).fill(str(STEPS))
        page.get_by_role("button", name="Generate").click()
        expect(page.locator(SHOTS)).not_to_have_count(0, timeout=SLOW_MS)
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("fluent_style, cat, animal")
        os.kill(worker_of(process.pid), signal.SIGKILL)
        page.goto(f"{address}/activity")
        expect(page.get_by_text("The worker ended while it was at it.")).to_be_visible(timeout=SLOW_MS)
        page.get_by_role("button", name="Resume").click()
        expect(page.get_by_text("The worker ended while it was at it.")).to_have_count(0)  # the form has gone
        page.goto(address)
        expect(page.locator(SHOTS)).to_have_count(PICTURES, timeout=SLOW_MS)
        watched.complaints = [each for each in watched.complaints if each != CUT]
        watched.check_quiet()
    with browser.new_context() as context, app(tmp_path / "app") as (address, _):
        watched = Watched(context)
        watched.page.goto(f"{address}/gallery")
        expect(watched.page.locator(SHOTS)).to_have_count(PICTURES)
        watched.page.locator(f"{SHOTS} a").first.click()
        expect(watched.page.get_by_text("Sampler: UniPC")).to_be_visible()
        watched.page.get_by_role("link", name="Use again").click()
        expect(watched.page.get_by_label("Prompt", exact=True)).to_have_value("fluent_style, cat, animal")
        watched.check_quiet()
