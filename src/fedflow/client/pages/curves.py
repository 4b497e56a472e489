"""Small curves as an SVG draws them: losses by step, and scores by round with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 200
MARGIN = 8
MOST_POINTS = 320
SMOOTHING = 0.15


@dataclass(frozen=True)
class Point:
    """A figure at a step or round, and the interval that it lies in."""

    at: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A curve's paths, and its ends in words.

    `path` is its line, `dots` its single figures, `band` their intervals, `ticks` upright lines where something ends
    and `level` one across, each empty where there is none. `low` and `high` are the ends of what is shown, `last` those
    of the steps or rounds.
    """

    path: str
    dots: str
    band: str
    ticks: str
    level: str
    first: float
    now: float
    low: float
    high: float
    last: int


def loss_curve(losses: list[tuple[int, float]], steps: int, ends: Sequence[int] = ()) -> Curve | None:
    """The means of as many pieces of the losses as can be told apart, by step; None before the second step.

    `steps` are all that there will be; after those in `ends` a round ends.
    """
    if len(losses) < 2:
        return None
    size = -(-len(losses) // MOST_POINTS)
    pieces = [losses[start : start + size] for start in range(0, len(losses), size)]
    means = [(piece[-1][0], sum(loss for _, loss in piece) / len(piece)) for piece in pieces]
    smooth, mean = [], means[0][1]
    for step, loss in means:
        mean += SMOOTHING * (loss - mean)  # single steps jump by their noise levels
        smooth.append(Point(step, mean, mean, mean))
    return _drawn(smooth, 0, max(steps, smooth[-1].at), ends)


def score_curve(points: Sequence[Point], level: float | None = None) -> Curve | None:
    """Scores by round with their intervals, and a level across to compare them with; None before the second one."""
    return _drawn(points, points[0].at, points[-1].at, level=level, has_dots=True) if len(points) > 1 else None


def over_rounds(losses: Mapping[int, Sequence[tuple[int, float]]], steps: Mapping[int, int]) -> Curve | None:
    """The losses of rounds one after another, each of so many `steps`; None before the second one."""
    found: list[tuple[int, float]] = []
    ends = [0]
    for number, told in losses.items():
        found += [(ends[-1] + step, loss) for step, loss in told]
        ends.append(ends[-1] + steps[number])
    return loss_curve(found, ends[-1], ends[1:-1])


def _drawn(
    points: Sequence[Point],
    begin: int,
    last: int,
    ends: Sequence[int] = (),
    level: float | None = None,
    *,
    has_dots: bool = False,
) -> Curve:
    shown = [*(each.low for each in points), *(each.high for each in points), *(() if level is None else (level,))]
    low, high = min(shown), max(shown)

    def place(at: float, value: float) -> str:
        across = (WIDTH - 2 * MARGIN) * (at - begin) / ((last - begin) or 1) + MARGIN
        return f"{across:.1f},{HEIGHT - (HEIGHT - 2 * MARGIN) * (value - low) / ((high - low) or 1.0) - MARGIN:.1f}"

    upper = [place(each.at, each.high) for each in points]
    lower = [place(each.at, each.low) for each in reversed(points)]
    places = [place(each.at, each.value) for each in points]
    return Curve(
        path="M" + " L".join(places),
        dots=" ".join(f"M{each} h0" for each in places) if has_dots else "",
        band="M" + " L".join(upper + lower) + " Z" if any(each.low < each.high for each in points) else "",
        ticks=" ".join(f"M{place(end, low).partition(',')[0]},0 v{HEIGHT}" for end in ends),
        level="" if level is None else f"M0,{place(begin, level).partition(',')[2]} h{WIDTH}",
        first=points[0].value,
        now=points[-1].value,
        low=low,
        high=high,
        last=last,
    )
