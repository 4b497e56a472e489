"""Entries of the audit log as a file: a table for a spreadsheet, or a line of JSON each for a program."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator

from fedflow.server.database.people import AuditEntry
from fedflow.server.services import moments

COLUMNS = (
    "number",
    "at",
    "actor_kind",
    "actor_id",
    "actor",
    "via",
    "address",
    "action",
    "federation_id",
    "object_kind",
    "object_id",
    "facts",
    "hash",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""


def as_csv(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """A table with a head; facts are JSON. What a spreadsheet would reckon with begins with an apostrophe."""
    yield _row(COLUMNS)
    for entry in entries:
        told = _told(entry)
        facts = json.dumps(told["facts"], ensure_ascii=False, sort_keys=True)
        yield _row("" if value is None else _harmless(str(value)) for value in (told | {"facts": facts}).values())


def as_json_lines(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """An object a line."""
    for entry in entries:
        yield json.dumps(_told(entry), ensure_ascii=False) + "\n"


WRITERS: dict[str, Callable[[Iterable[AuditEntry]], Iterator[str]]] = {"csv": as_csv, "jsonl": as_json_lines}
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}


def _told(entry: AuditEntry) -> dict[str, object]:
    told = {name: getattr(entry, name) for name in COLUMNS}
    return told | {"at": moments.iso(entry.at)}


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _row(values: Iterable[str]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(values)
    return written.getvalue()
