"""Drawings of a dataset: the figures of `datasets.statistics` as bars."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import islice

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from fedflow.datasets.statistics import Statistics
from fedflow.evaluation.drawing import COLOURS, FONT_SIZE, STYLE, UNITS_PER_INCH, page_svg

WIDTH = 416
ROW = 22
TOP = 34
BOTTOM = 8
LABELS = 150
"""Room for the rows' names, left of the bars."""
COUNTS = 52
"""Room for the counts, right of the longest bar."""
MOST_TAGS = 20
MOST_LETTERS = 22
BAR = 0.62
LEAST_ROOM = 3


def tags_svg(statistics: Statistics) -> str:
    """The most frequent tags, as an `<svg>` element to put into a page (`drawing.page_svg`)."""
    shown = dict(islice(statistics.tags.items(), MOST_TAGS))
    more = len(statistics.tags) - len(shown)
    return _bars("tags", f"Most frequent tags ({more} more)" if more else "Tags", shown)


def sizes_svg(statistics: Statistics) -> str:
    """Pictures per class of the shorter side."""
    return _bars("sizes", "Shorter side in pixels", statistics.shorter_sides)


def captions_svg(statistics: Statistics) -> str:
    """Pictures per number of tags in the caption."""
    return _bars("captions", "Tags per caption", statistics.tags_per_caption)


def buckets_svg(statistics: Statistics) -> str:
    """Pictures per aspect-ratio bucket."""
    rows = {str(share.bucket): share.num_pictures for share in statistics.buckets}
    return _bars("buckets", "Aspect-ratio buckets", rows)


def _bars(name: str, title: str, rows: Mapping[str, int]) -> str:
    height = TOP + BOTTOM + ROW * max(len(rows), LEAST_ROOM)
    spoken = f"{title}: " + (", ".join(f"{row} {count}" for row, count in rows.items()) or "no pictures yet")
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # Widths are measured with a font that lacks many scripts; the page sets the text in its own.
        warnings.filterwarnings("ignore", message=r"(?s)Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        canvas = Canvas(figsize=(WIDTH / UNITS_PER_INCH, height / UNITS_PER_INCH))
        canvas.patch.set_visible(False)
        canvas.text(
            0, 1 - (TOP - 18) / height, title, va="center", fontsize=FONT_SIZE + 1, fontweight="bold",
            color=COLOURS["ink"],
        )  # fmt: skip
        inner = height - TOP - BOTTOM
        axes = canvas.add_axes((LABELS / WIDTH, BOTTOM / height, (WIDTH - LABELS - COUNTS) / WIDTH, inner / height))
        axes.set_axis_off()
        axes.set_xlim(0, max(rows.values(), default=1))
        axes.set_ylim(inner / ROW, 0)
        if not rows:
            axes.text(0.5, 0.5, "no pictures yet", transform=axes.transAxes, ha="center", color=COLOURS["muted"])
        across = axes.get_yaxis_transform()  # x in widths of the bars' room, y in rows
        unit = 1 / (WIDTH - LABELS - COUNTS)
        for place, (row, count) in enumerate(rows.items()):
            middle = place + 0.5
            axes.barh(middle, count, height=BAR, color=COLOURS["accent"])
            axes.text(
                -8 * unit, middle, _short(row), transform=across, ha="right", va="center_baseline",
                color=COLOURS["ink"],
            )  # fmt: skip
            axes.annotate(
                str(count), (count, middle), (6, 0), textcoords="offset points", va="center_baseline",
                color=COLOURS["muted"],
            )  # fmt: skip
        return page_svg(canvas, name, spoken)


def _short(text: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"
