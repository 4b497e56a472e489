"""What is known of a picture, as JSON in its row and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fedflow.datasets.caption_writing import caption_target
from fedflow.datasets.captions import CaptionError, caption_of
from fedflow.datasets.duplicates import Look
from fedflow.datasets.index import Entry, Seen, Stamp
from fedflow.datasets.records import Problem


def as_json(entry: Entry) -> dict[str, Any]:
    """All of an entry but its path and caption, which have columns of their own."""
    seen, caption_stamp = entry.seen, entry.caption_stamp
    return {
        "stamp": [entry.stamp.size_bytes, entry.stamp.mtime_ns],
        "seen": None
        if seen is None
        else {
            "width": seen.width,
            "height": seen.height,
            "pixels": seen.pixels_sha256,
            "look": [seen.look.phash, seen.look.dhash, seen.look.colours.hex()],
        },
        "picture_problem": entry.picture_problem and entry.picture_problem.reason,
        "caption_problem": entry.caption_problem and [str(entry.caption_problem.path), entry.caption_problem.reason],
        "caption_file": entry.caption_file and str(entry.caption_file),
        "caption_stamp": caption_stamp and [caption_stamp.size_bytes, caption_stamp.mtime_ns],
    }


def from_json(path: str, caption: str, kept: dict[str, Any]) -> Entry:
    """The entry again."""
    seen, problem = kept["seen"], kept["caption_problem"]
    return Entry(
        path=Path(path),
        stamp=Stamp(*kept["stamp"]),
        seen=None
        if seen is None
        else Seen(
            seen["width"],
            seen["height"],
            seen["pixels"],
            Look(seen["look"][0], seen["look"][1], bytes.fromhex(seen["look"][2])),
        ),
        picture_problem=None if kept["picture_problem"] is None else Problem(Path(path), kept["picture_problem"]),
        caption=caption,
        caption_problem=None if problem is None else Problem(Path(problem[0]), problem[1]),
        caption_file=None if kept["caption_file"] is None else Path(kept["caption_file"]),
        caption_stamp=None if kept["caption_stamp"] is None else Stamp(*kept["caption_stamp"]),
    )


def recaptioned(kept: dict[str, Any], folder: Path, path: str, caption: str) -> tuple[dict[str, Any], str]:
    """What is known of a picture whose caption was written or, where `caption` is empty, removed.

    Gives the entry's JSON, and why the picture cannot be used; empty where it can.
    """
    entry = from_json(path, caption, kept)
    target = caption_target(folder / path)
    problem, stamp = None, None
    if target.is_file():
        status = target.stat()
        stamp = Stamp(status.st_size, status.st_mtime_ns)
    if not caption:
        try:
            caption_of(Path(path), {}, {})
        except CaptionError as error:
            problem = error.problem
    beside = None if stamp is None else target.relative_to(folder)
    entry = replace(entry, caption_problem=problem, caption_file=beside, caption_stamp=stamp)
    return as_json(entry), "; ".join(each.reason for each in entry.problems)
