"""Lines of a log as a file, written while they are sent: a table for a spreadsheet, or a line of JSON each."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""


def as_csv(columns: Sequence[str], lines: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """A table with a head; a text that a spreadsheet would reckon with begins with an apostrophe."""
    yield _row(columns)
    for line in lines:
        yield _row([_cell(line[name]) for name in columns])


def as_json_lines(lines: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """An object a line."""
    for line in lines:
        yield json.dumps(line, ensure_ascii=False) + "\n"


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _row(values: Sequence[object]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(values)
    return written.getvalue()
