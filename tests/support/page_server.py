"""A real server whose pages a browser visits, and the first steps there."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import Self

import warm
from network import SETTINGS, wait_for
from playwright.sync_api import Page, expect

PASSWORD = "violet tram eats seven maps"  # noqa: S105 - a test's
START_S = 60.0


class Server:
    """`fedflow server` as its own processes, and the lines that it prints first."""

    def __init__(self, folder: Path, log: Path, *options: str) -> None:
        self.log = log
        words = ["server", "--folder", str(folder), "--port", "0", *options]
        self.process = warm.start(words, {**os.environ, **SETTINGS}, log)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def told(self, pattern: str) -> str:
        """What the pattern's group finds in the output, once it is there."""
        return wait_for(lambda: re.search(pattern, self.log.read_text(encoding="utf-8")), START_S, pattern)[1]

    def end(self) -> None:
        """SIGTERM, as a service manager sends it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_S)


def submit(page: Page, name: str) -> None:
    page.locator("main").get_by_role("button", name=name, exact=True).click()


def heading(page: Page, words: str) -> None:
    """The page with this heading is there, and its scripts run: what is typed before them is checked by none."""
    expect(page.get_by_role("heading", level=1)).to_have_text(words)
    page.wait_for_load_state()


def comes_first(page: Page, link: str) -> None:
    """The first coordinator sets up the account by the link that the server printed."""
    page.goto(link)
    heading(page, "Set up your account")
    page.get_by_label("Your name").fill("Ada Lovelace")
    page.get_by_label("E-mail address").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    submit(page, "Make account")
    heading(page, "Overview")
    expect(page.locator("#flashes")).to_contain_text("Welcome to FedFlow, Ada Lovelace.")
