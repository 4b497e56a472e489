"""Figures of a dataset: tags, sizes, aspects, lengths of captions, problems."""

from __future__ import annotations

import itertools
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fedflow.datasets.buckets import Bucket, Share, shares
from fedflow.datasets.captions import caption_tags
from fedflow.datasets.index import Index
from fedflow.datasets.tags import tag_counts

SIDES = (64, 128, 256, 512, 768, 1024, 1536, 2048)
"""Where the classes of the shorter side begin, in pixels; below the first and above the last are classes too."""
MOST_LENGTHS = 12


@dataclass(frozen=True)
class Span:
    """The smallest, the middle and the largest of some values; all 0 where there are none."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Statistics:
    """A dataset in figures; all but the first three and `problems` are over the usable pictures.

    `tags`: in how many captions each is, the most frequent first. `shorter_sides`: pictures per class of the shorter
    side, in pixels, small to large. `tags_per_caption`: pictures per number of tags. `width`, `height` in pixels,
    `aspect` width by height, `caption_letters`: their spans. `problems`: files per reason, the most frequent first.
    """

    num_pictures: int
    num_usable: int
    total_bytes: int
    tags: dict[str, int]
    shorter_sides: dict[str, int]
    tags_per_caption: dict[str, int]
    width: Span
    height: Span
    aspect: Span
    caption_letters: Span
    buckets: tuple[Share, ...]
    problems: dict[str, int]


def statistics_of(index: Index, buckets: Sequence[Bucket]) -> Statistics:
    """The figures of `index`, its pictures put into `buckets`."""
    usable = [(entry, entry.seen) for entry in index.usable if entry.seen is not None]
    sizes = [(seen.width, seen.height) for _, seen in usable]
    captions = [entry.caption for entry, _ in usable]
    reasons = Counter(_kind(problem.reason) for problem in index.problems)
    return Statistics(
        num_pictures=len(index.entries),
        num_usable=len(usable),
        total_bytes=sum(max(0, entry.stamp.size_bytes) for entry in index.entries),
        tags=tag_counts(captions),
        shorter_sides=_classes([min(size) for size in sizes]),
        tags_per_caption=_lengths([len(caption_tags(caption)) for caption in captions]),
        width=_span([width for width, _ in sizes]),
        height=_span([height for _, height in sizes]),
        aspect=_span([width / height for width, height in sizes]),
        caption_letters=_span([len(caption) for caption in captions]),
        buckets=tuple(shares(sizes, buckets)),
        problems=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )


def _span(values: Sequence[float]) -> Span:
    return Span(min(values), statistics.median(values), max(values)) if values else Span(0, 0, 0)


def _classes(sides: Sequence[int]) -> dict[str, int]:
    """Pictures per class of the shorter side, from the first class that has any to the last."""
    limits = (0, *SIDES)
    counts = [0] * len(limits)
    for side in sides:
        counts[sum(side >= limit for limit in SIDES)] += 1
    filled = [place for place, count in enumerate(counts) if count]
    if not filled:
        return {}
    names = [f"< {SIDES[0]}", *(f"{low}-{high - 1}" for low, high in itertools.pairwise(SIDES))]
    names.append(f"\N{GREATER-THAN OR EQUAL TO} {SIDES[-1]}")
    return {names[place]: counts[place] for place in range(filled[0], filled[-1] + 1)}


def _lengths(lengths: Sequence[int]) -> dict[str, int]:
    """Pictures per number of tags, in steps so large that there are at most MOST_LENGTHS classes."""
    if not lengths:
        return {}
    low, high = min(lengths), max(lengths)
    step = -(-(high - low + 1) // MOST_LENGTHS)
    counts = Counter((length - low) // step for length in lengths)
    starts = [low + step * place for place in range((high - low) // step + 1)]
    return {
        f"{start}" if step == 1 else f"{start}-{start + step - 1}": counts[place] for place, start in enumerate(starts)
    }


def _kind(reason: str) -> str:
    """A problem without its figures and the way out, so that alike ones count together."""
    return re.split(r" \(|;", reason, maxsplit=1)[0].strip()
