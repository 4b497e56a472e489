"""docs/security.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_security_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:unit|integration)/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 40
    lacking = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / "tests" / file).is_file()
        or (test and f"\ndef {test}(" not in (ROOT / "tests" / file).read_text(encoding="utf-8"))
    ]
    assert lacking == []


def test_every_promise_names_a_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = page.split("## What is promised")[1].split("## Not promised")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 20
    assert [row for row in rows if not re.search(r"`(unit|integration)/", row)] == []
