"""Drawings of a dataset: counts, as `datasets.statistics` gives them, as bars."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Mapping
from itertools import islice

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from fedflow.evaluation.drawing import COLOURS, FONT_SIZE, STYLE, UNITS_PER_INCH, page_svg

WIDTH = 416
ROW = 22
TOP = 34
BOTTOM = 8
LABELS = 150
"""Room for the rows' names, left of the bars."""
GAP = 8
"""Between a name and its bar."""
COUNTS = 52
"""Room for the counts, right of the longest bar."""
BARS = WIDTH - LABELS - COUNTS
MOST_ROWS = 20
MOST_LETTERS = 22
THICKNESS = 0.62


def bars_svg(name: str, title: str, rows: Mapping[str, int]) -> str:
    """The first 20 counts of `rows` as bars, top down, as an `<svg>` element to put into a page.

    `name`, letters alone, tells it apart from the page's other drawings; `title` stands above it, and is read aloud
    with the counts. Colours and type are the page's (`drawing.page_svg`).
    """
    rows = dict(islice(rows.items(), MOST_ROWS))
    inner = ROW * max(len(rows), 1)
    height = TOP + inner + BOTTOM
    spoken = f"{title}: {', '.join(f'{row} {count}' for row, count in rows.items())}"
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
        axes = canvas.add_axes((LABELS / WIDTH, BOTTOM / height, BARS / WIDTH, inner / height))
        axes.set_axis_off()
        axes.set_xlim(0, max((1, *rows.values())))
        axes.set_ylim(inner / ROW, 0)
        across = axes.get_yaxis_transform()  # x in widths of the bars' room, y in rows
        for place, (row, count) in enumerate(rows.items()):
            middle = place + 0.5
            axes.barh(middle, count, height=THICKNESS, color=COLOURS["accent"])
            axes.text(
                -GAP / BARS, middle, _short(row), transform=across, ha="right", va="center_baseline",
                color=COLOURS["ink"],
            )  # fmt: skip
            axes.annotate(
                str(count), (count, middle), (6, 0), textcoords="offset points", va="center_baseline",
                color=COLOURS["muted"],
            )  # fmt: skip
        return page_svg(canvas, name, _printable(spoken))


def _short(text: str) -> str:
    """What of a row's name there is room for; an ellipsis at its end tells that there is more."""
    text = _printable(text)
    for letters in range(min(len(text), MOST_LETTERS), 0, -1):
        short = text if letters == len(text) else f"{text[:letters].rstrip(' .')}…"
        if _width(short) <= LABELS - GAP:
            return short
    return "…"


def _width(text: str) -> float:
    """About as wide as the page sets it: its own font is narrower, but has the letters that take a whole square."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=FONT_SIZE), ismath=False)
    return float(max(width, FONT_SIZE * sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)))


def _printable(text: str) -> str:
    """XML has no place for control characters."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
