"""A real Chromium for tests of pages: Debian's, started by Playwright; and an application that it visits."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

# A machine that runs other tests beside this one may take its time.
expect.set_options(timeout=20_000)

GIVEN_UP = ("htmx:sendAbort, ", "htmx:afterRequest, ")
"""What htmx writes as an error where it gives up a request for a newer one. Of one that failed it writes more."""

WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.effectiveDirective}: ${event.blockedURI} ${event.sample}`);
});
"""


class Quiet(WSGIRequestHandler):
    """Logs no request."""

    def log_request(self, *_: object) -> None:
        pass


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """The application at an address, in threads of this process."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; without one the test is skipped, and fails where CI is set.

    Debian's headless shell goes first: the same engine without the window around it, half the processor time.
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        sentence = "no chromium on the PATH; install it with: apt install chromium-headless-shell"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


NOT_LOADED = "Failed to load resource"
"""How the console tells of an answer that is none, without what was asked for."""


class Watched:
    """A page of its own context, with everything that it complained of."""

    def __init__(self, context: BrowserContext) -> None:
        context.add_init_script(WATCH)
        self.complaints: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type == "error" and not said.text.startswith(GIVEN_UP):
            place = said.location.get("url", "") if said.text.startswith(NOT_LOADED) else ""
            self.complaints.append(f"{said.text} {place}".strip())

    def policy_reports(self) -> list[str]:
        """What the Content-Security-Policy stopped since the page was loaded."""
        reports: list[str] = self.page.evaluate("window.violations")
        return reports

    def check_quiet(self) -> None:
        """Fail with what was said, where the console or the policy said anything."""
        assert self.complaints == []
        assert self.policy_reports() == []
