"""The participant's app as a person has it: its two processes, the starter, and a real browser."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from app_process import CUT, SLOW_MS, app, worker_of
from browser import Watched
from playwright.sync_api import Browser, expect

from fedflow.client.database.tables import Membership
from fedflow.client.services import drawings
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.store import open_store
from fedflow.client.worker.drawing import MOST_AT_ONCE

SHOTS = ".shots li"
PICTURES = 3 * MOST_AT_ONCE
OTHER = "fluent_style, dog, animal"
STEPS = 8
"""So many pictures, of so many steps, that some are there, and kept, while others are still drawn."""


def joins_and_asks_for_another(folder: Path) -> None:
    """While nobody is at work: what the worker begins with are its part in a federation and a drawing, both at once."""
    store = open_store(folder)
    with store.begin() as session:
        row = Membership(id="m", server="http://127.0.0.1:9", federation="f", member="m", policy={}, said="")
        row.always, row.is_paused, row.joined_at = False, False, 1.0
        session.add(row)
    drawings.ask(store, DrawRequest(prompt=OTHER, pictures=1, steps=2))
    store.engine.dispose()


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
    joins_and_asks_for_another(tmp_path / "app")
    with browser.new_context() as context, app(tmp_path / "app") as (address, _):
        watched = Watched(context)
        watched.page.goto(address)
        expect(watched.page.get_by_alt_text(OTHER)).to_be_visible(timeout=SLOW_MS)
        watched.page.goto(f"{address}/gallery")
        expect(watched.page.locator(SHOTS)).to_have_count(PICTURES + 1)
        watched.page.locator(f"{SHOTS} a").first.click()
        expect(watched.page.get_by_text("Sampler: UniPC")).to_be_visible()
        watched.page.get_by_role("link", name="Use again").click()
        expect(watched.page.get_by_label("Prompt", exact=True)).to_have_value(OTHER)
        watched.check_quiet()
