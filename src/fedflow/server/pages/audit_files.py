"""Entries of the audit log as a file: a table for a spreadsheet, or a line of JSON each for a program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from fedflow.server.database.people import AuditEntry
from fedflow.server.services import moments
from fedflow.web import line_files

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


def as_csv(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """A table with a head; facts are JSON."""
    return line_files.as_csv(COLUMNS, map(_flat, entries))


def as_json_lines(entries: Iterable[AuditEntry]) -> Iterator[str]:
    """An object a line."""
    return line_files.as_json_lines(map(_told, entries))


WRITERS: dict[str, Callable[[Iterable[AuditEntry]], Iterator[str]]] = {"csv": as_csv, "jsonl": as_json_lines}
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson; charset=utf-8"}


def _told(entry: AuditEntry) -> dict[str, object]:
    told = {name: getattr(entry, name) for name in COLUMNS}
    return told | {"at": moments.iso(entry.at)}


def _flat(entry: AuditEntry) -> dict[str, object]:
    told = _told(entry)
    return told | {"facts": json.dumps(told["facts"], ensure_ascii=False, sort_keys=True)}
