"""All that is to be said against a dataset, the gravest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedflow.datasets.duplicates import NEAR_BITS, NearGroup, near_pictures, same_pictures
from fedflow.datasets.index import Index
from fedflow.datasets.personal import REGIONS, Found, Names, personal_data
from fedflow.datasets.records import Problem


@dataclass(frozen=True)
class Findings:
    """What was found; all paths are relative to the folder.

    `problems`: what cannot be used. `personal`: captions that tell who somebody is, and what in them. `same`: groups
    of pictures with the same pixels. `near`: groups that look alike, of each group in `same` its first picture alone.
    `remarks`: pictures that are used and odd.
    """

    problems: tuple[Problem, ...]
    personal: tuple[tuple[Path, tuple[Found, ...]], ...]
    same: tuple[tuple[Path, ...], ...]
    near: tuple[NearGroup[Path], ...]
    remarks: tuple[Problem, ...]


def findings_of(
    index: Index, names: Names | None = None, regions: Sequence[str] = REGIONS, near_bits: int = NEAR_BITS
) -> Findings:
    """Look through `index`; the rest is as for `personal_data` and `near_pictures`. No file is opened."""
    seen = {entry.path: entry.seen for entry in index.entries if entry.seen is not None}
    same = same_pictures({path: each.pixels_sha256 for path, each in seen.items()})
    again = {path for group in same for path in group[1:]}
    # The largest comes first: it is the one to keep.
    once = sorted((path for path in seen if path not in again), key=lambda path: -seen[path].width * seen[path].height)
    personal = ((entry.path, tuple(personal_data(entry.caption, names, regions))) for entry in index.entries)
    return Findings(
        problems=index.problems,
        personal=tuple((path, found) for path, found in personal if found),
        same=tuple(same),
        near=tuple(near_pictures({path: seen[path].look for path in once}, near_bits)),
        remarks=tuple(remark for entry in index.entries for remark in entry.remarks),
    )
