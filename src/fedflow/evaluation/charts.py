"""The charts of a run: FID, KID or loss per round, every line labelled at its end."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from fedflow.evaluation.curves import Curves, Line, Measure, curves_of
from fedflow.evaluation.drawing import COLOURS, FONT_SIZE, STYLE, UNITS_PER_INCH, page_svg
from fedflow.evaluation.summary import RunSummary
from fedflow.storage import write_atomic

TITLES = {"fid": "FID, lower is better", "kid": "KID, lower is better", "loss": "Training loss"}
SPOKEN = {"fid": "FID per round", "kid": "KID per round", "loss": "Training loss per round"}

PANEL = (440, 300)
"""Size of one panel; 1 unit is 1 pixel of an SVG shown at its own size."""
MARGINS = {"left": 46, "right": 180, "top": 34, "bottom": 42}
EDGE = 16
"""Room at both sides of the PNG; in a page the panel begins where its column does."""
CAPTION = 30
"""Room below the PNG's panels for the line that says what the figures were made with."""
TITLE_LEFT = -MARGINS["left"] / (PANEL[0] - MARGINS["left"] - MARGINS["right"])
LABEL_GAP = 15
LABEL_LETTERS = 18
MOST_CLIENT_LABELS = 10
MOST_MARKED_ROUNDS = 12

CLIENT_COLOURS = ("client-1", "client-2", "client-3", "client-4", "client-5")
"""24 and more apart in CIELAB, also to protan, deutan and tritan eyes (Machado et al., 2009); so are a dark page's."""
CLIENT_MARKS = ("o", "s", "^", "v", "P", "X")
"""One more than the colours, so that thirty clients differ in one or the other."""
BACKGROUND = "#ffffff"


@dataclass(frozen=True)
class Label:
    """A text at the right edge for something that ends at (`round`, `value`)."""

    text: str
    round: float
    value: float
    colour: str
    bold: bool = False
    mark: tuple[str, str] | None = None
    """(marker, colour) of the line, put before the text."""


def chart_png(path: Path, summary: RunSummary) -> None:
    """Write both panels side by side over a caption, light, at twice the size of the page's. Raises StorageError."""
    width, height = PANEL
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        sheet = (2 * width + 2 * EDGE, height + CAPTION)
        canvas = Canvas(figsize=(sheet[0] / UNITS_PER_INCH, sheet[1] / UNITS_PER_INCH), facecolor=BACKGROUND)
        _panel(canvas, EDGE, sheet, curves_of(summary, "fid"))
        _panel(canvas, EDGE + width, sheet, curves_of(summary, "kid"))
        canvas.text(EDGE / sheet[0], 14 / sheet[1], chart_caption(summary), color=COLOURS["muted"], va="baseline")
        canvas.savefig(buffer, format="png", dpi=2 * UNITS_PER_INCH, metadata={"Software": None})
    write_atomic(path, buffer.getvalue())


def chart_caption(summary: RunSummary) -> str:
    """What the figures were made with, and what the bands are, in one line."""
    seeds = len({row.seed for row in summary.rows})
    mean = f", mean of {seeds} seeds" if seeds > 1 else ""
    return (
        f"{summary.extractor}, pictures resized to {summary.resize}, N = {summary.num_heldout}{mean}; "
        "bands of KID: 95% intervals"
    )


def chart_svg(curves: Curves) -> str:
    """One panel as an `<svg>` element to put into a page, the same bytes for the same curves.

    It scales to its container, sets text in the page's own font, and takes its colours from the CSS
    variables `--chart-ink`, `-muted`, `-grid`, `-accent`, `-client-1` to `-client-5` where the page sets them:
    one drawing for light and dark.
    """
    width, height = PANEL
    with mpl.rc_context(STYLE):
        canvas = Canvas(figsize=(width / UNITS_PER_INCH, height / UNITS_PER_INCH))
        canvas.patch.set_visible(False)
        _panel(canvas, 0, PANEL, curves)
        return page_svg(canvas, curves.measure, SPOKEN[curves.measure])


def dodge(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels: as near to `wanted` as can be (least squares), `gap` apart, within `low` and `high`.

    The order is kept. Where they do not fit, they stand closer, evenly.
    """
    if len(wanted) > 1:
        gap = min(gap, (high - low) / (len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    # With i * gap taken off, 'gap apart' becomes 'not falling': isotonic regression, by pooling neighbours.
    pools: list[tuple[float, int]] = []
    for position, index in enumerate(order):
        mean, count = wanted[index] - position * gap, 1
        while pools and pools[-1][0] > mean:
            left_mean, left_count = pools.pop()
            mean = (left_mean * left_count + mean * count) / (left_count + count)
            count += left_count
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    top = high - (len(wanted) - 1) * gap
    places = [0.0] * len(wanted)
    for position, index in enumerate(order):
        places[index] = min(max(flat[position], low), top) + position * gap
    return places


def _panel(canvas: Canvas, start: int, sheet: tuple[int, int], curves: Curves) -> None:
    """Draw one measure into the panel at the top of a sheet (width, height), `start` units from its left."""
    width, height = PANEL
    inner_width, inner_height = width - MARGINS["left"] - MARGINS["right"], height - MARGINS["top"] - MARGINS["bottom"]
    left, bottom = start + MARGINS["left"], sheet[1] - height + MARGINS["bottom"]
    axes = canvas.add_axes((left / sheet[0], bottom / sheet[1], inner_width / sheet[0], inner_height / sheet[1]))
    _frame(axes, curves)
    if curves.is_empty:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no figures yet", transform=axes.transAxes, ha="center", color=COLOURS["muted"])
        return
    labels = [
        *_clients(axes, curves),
        *_alone(axes, curves.alone),
        *_levels(axes, curves),
        *_central(axes, curves),
        *_aggregated(axes, curves),
    ]
    axes.margins(y=0.05)
    axes.autoscale_view()
    _put_labels(axes, labels, inner_height)


def _frame(axes: Any, curves: Curves) -> None:
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(COLOURS["muted"])
        spine.set_linewidth(0.8)
    axes.set_title(
        TITLES[curves.measure], loc="left", x=TITLE_LEFT, pad=12,
        fontsize=FONT_SIZE + 1, fontweight="bold", color=COLOURS["ink"],
    )  # fmt: skip
    axes.set_xlabel("round", color=COLOURS["muted"], labelpad=5)
    axes.set_xlim(0, max(curves.last_round, 1))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axes.tick_params(length=0, pad=6, labelcolor=COLOURS["muted"], labelsize=FONT_SIZE)
    axes.grid(axis="y", color=COLOURS["grid"], linewidth=0.8)
    axes.set_axisbelow(True)


def _clients(axes: Any, curves: Curves) -> list[Label]:
    lines = curves.clients
    marks = [
        (CLIENT_MARKS[position % len(CLIENT_MARKS)], COLOURS[CLIENT_COLOURS[position % len(CLIENT_COLOURS)]])
        for position in range(len(lines))
    ]
    for line, (mark, colour) in zip(lines, marks, strict=True):
        style = _marks(curves.last_round, 5.0) | {"marker": mark}
        axes.plot(line.rounds, line.values, color=colour, linewidth=1.1, zorder=3, **style)
    ends = [(line.rounds[-1], line.values[-1]) for line in lines]
    if len(lines) > MOST_CLIENT_LABELS:
        middle = sorted(ends, key=lambda end: end[1])[len(ends) // 2]
        return [Label(f"{len(lines)} clients", *middle, COLOURS["muted"])]
    return [
        Label(line.participant, *end, COLOURS["muted"], mark=mark)
        for line, end, mark in zip(lines, ends, marks, strict=True)
    ]


def _alone(axes: Any, lines: Sequence[Line]) -> list[Label]:
    if not lines:
        return []
    rounds, values = [line.rounds[-1] for line in lines], [line.values[-1] for line in lines]
    axes.plot(
        rounds, values, linestyle="none", marker="o", markersize=5, markerfacecolor="none",
        markeredgecolor=COLOURS["muted"], markeredgewidth=1.0, zorder=4, clip_on=False,
    )  # fmt: skip
    text = "alone, each" if len(lines) > 1 else "alone"
    return [Label(text, rounds[-1], sorted(values)[len(values) // 2], COLOURS["muted"])]


def _levels(axes: Any, curves: Curves) -> list[Label]:
    """Base and floor: dashed lines over the whole width, the interval's band behind the floor."""
    labels = []
    for text, line in (("base", curves.base), ("floor", curves.floor)):
        if line is None:
            continue
        value, colour = line.values[-1], COLOURS["muted"]
        axes.axhline(value, color=colour, linewidth=1.0, linestyle=(0, (4, 3)), zorder=2)
        if curves.measure == "kid" and text == "floor":
            axes.axhspan(line.lows[-1], line.highs[-1], color=colour, alpha=0.10, linewidth=0, zorder=1)
        labels.append(Label(f"{text} {_number(value, curves.measure)}", max(curves.last_round, 1), value, colour))
    return labels


def _central(axes: Any, curves: Curves) -> list[Label]:
    line = curves.central
    if line is None:
        return []
    colour, value = COLOURS["ink"], line.values[-1]
    axes.plot(
        line.rounds, line.values, color=colour, linewidth=1.1, marker="D", markersize=5.5, zorder=6, clip_on=False
    )
    axes.vlines(line.rounds, line.lows, line.highs, color=colour, linewidth=1.0, zorder=5, clip_on=False)
    return [Label(f"central {_number(value, curves.measure)}", line.rounds[-1], value, colour, mark=("D", colour))]


def _aggregated(axes: Any, curves: Curves) -> list[Label]:
    """The joint model; before the first round it is the base, so its line begins there."""
    line, base = curves.aggregated, curves.base
    if line is None:
        return []
    rounds, values, lows, highs = (list(part) for part in (line.rounds, line.values, line.lows, line.highs))
    if base is not None and rounds[0] > 0:
        rounds.insert(0, 0)
        for part, start in ((values, base.values), (lows, base.lows), (highs, base.highs)):
            part.insert(0, start[-1])
    colour = COLOURS["accent"]
    axes.fill_between(rounds, lows, highs, color=colour, alpha=0.16, linewidth=0, zorder=2)
    axes.plot(
        rounds, values, color=colour, linewidth=2.6, solid_capstyle="round", zorder=7, **_marks(curves.last_round, 5.5)
    )
    text = f"{curves.joint_name} {_number(values[-1], curves.measure)}"
    return [Label(text, rounds[-1], values[-1], colour, True, ("o", colour))]


def _put_labels(axes: Any, labels: Sequence[Label], height: float) -> None:
    """Texts beyond the right edge, each tied to its line's end by a thin leader."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    places = dodge([label.value for label in labels], LABEL_GAP * (high - low) / height, low, high)
    axes.set_ylim(low, high)
    across = axes.get_yaxis_transform()  # x in widths of the panel, y in figures
    for label, place in zip(labels, places, strict=True):
        end = (label.round - left) / (right - left)
        mark, colour = label.mark or (None, label.colour)
        axes.plot(
            [end, 1.0, 1.055], [label.value, label.value, place], transform=across,
            color=colour, linewidth=0.6, alpha=0.55, clip_on=False, zorder=2,
        )  # fmt: skip
        axes.plot(
            [1.085], [place], transform=across, color=colour, marker=mark, markersize=5.0, markeredgewidth=0,
            linestyle="none", clip_on=False,
        )  # fmt: skip
        axes.text(
            1.12, place, _short(label.text), transform=across, va="center_baseline", color=label.colour,
            fontweight="bold" if label.bold else "normal",
        )  # fmt: skip


def _marks(last_round: int, size: float) -> dict[str, Any]:
    """A mark at every round, at the last alone where they would run together."""
    every = 1 if last_round <= MOST_MARKED_ROUNDS else [-1]
    return {"marker": "o", "markersize": size, "markeredgewidth": 0, "markevery": every, "clip_on": False}


def _number(value: float, measure: Measure) -> str:
    """With the minus sign of the axes, and none before a nought."""
    digits = 1 if measure == "fid" else 3
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _short(text: str) -> str:
    return text if len(text) <= LABEL_LETTERS else text[: LABEL_LETTERS - 1] + "…"
