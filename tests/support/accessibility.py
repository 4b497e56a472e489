"""What axe-core finds wrong with a page that a browser shows, and where one is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
LOOK = """
axe.run({resultTypes: ["violations"], rules: {"target-size": {enabled: true}}})
  .then((found) => found.violations.flatMap((rule) => rule.nodes.map((node) => [rule.impact, rule.id, node.html])))
"""


def faults(page: Page) -> list[str]:
    """What is wrong with everything that the page can show: its folded parts are opened for it."""
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found: list[list[Any]] = page.evaluate(LOOK)
    return [f"{impact}, {rule}: {html[:160]}" for impact, rule, html in found]
