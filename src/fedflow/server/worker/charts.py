"""Draw a run's charts anew from the figures that there are."""

from __future__ import annotations

from collections.abc import Sequence

from fedflow.evaluation.charts import chart_svg
from fedflow.evaluation.curves import Curves, Line, Measure
from fedflow.evaluation.drawing import without_styles
from fedflow.plan import AGGREGATED, BASE, FLOOR
from fedflow.server.database.tables import Job, Score
from fedflow.server.services import run_charts
from fedflow.server.services.run_charts import Figures
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


def chart(store: Store, settings: ServerSettings, job: Job) -> None:  # noqa: ARG001 - as all tasks
    """Draw what there is of loss, FID and KID of a run. Done twice, it leaves the same behind."""
    figures = run_charts.figures(store, job.run)
    if figures is None:
        return
    curves = [_loss(figures), *(_scored(figures, measure) for measure in ("fid", "kid"))]
    drawings: dict[str, str] = {
        each.measure: store.blobs.put(without_styles(chart_svg(each)).encode()) for each in curves if not each.is_empty
    }
    run_charts.keep(store, job.run, drawings)


TASKS = {"chart": chart}


def _loss(figures: Figures) -> Curves:
    """Each member's line, and the mean by pictures of those that answered."""
    told = [each for each in figures.losses if run_charts.is_told(each.loss)]
    by_member = {name: [(each.round, each.loss) for each in told if each.member == name] for name in figures.members}
    rounds = sorted({each.round for each in told})
    means = [(number, run_charts.mean([each for each in told if each.round == number])) for number in rounds]
    return Curves(
        "loss",
        tuple(_line(name, points) for name, points in by_member.items() if points),
        _line("mean", means) if means else None,
        joint_name="mean",
    )


def _scored(figures: Figures, measure: Measure) -> Curves:
    lines = {who: _score_line(figures.scores, who, measure) for who in (*figures.members, AGGREGATED, BASE)}
    return Curves(
        measure,
        tuple(line for name in figures.members if (line := lines[name])),
        lines[AGGREGATED],
        lines[BASE],
        _floor(figures.scores) if measure == "kid" else None,
    )


def _floor(scores: Sequence[Score]) -> Line | None:
    """The KID of real pictures. FID has none: that of half as many pictures would stand too high."""
    for score in scores:
        if (kid := score.kid_floor) is not None and (low := score.kid_floor_low) is not None:
            return Line(FLOOR, (0,), (kid,), (low,), (score.kid_floor_high or kid,))
    return None


def _score_line(scores: Sequence[Score], who: str, measure: Measure) -> Line | None:
    own = sorted((score for score in scores if score.who == who), key=lambda score: score.round)
    if not own:
        return None
    line = _line(who, [(score.round, getattr(score, measure)) for score in own])
    if measure == "fid":
        lows = tuple(score.fid if score.fid_low is None else score.fid_low for score in own)
        highs = tuple(score.fid if score.fid_high is None else score.fid_high for score in own)
    else:
        lows, highs = tuple(score.kid_low for score in own), tuple(score.kid_high for score in own)
    return Line(who, line.rounds, line.values, lows, highs)


def _line(who: str, points: Sequence[tuple[int, float]]) -> Line:
    values = tuple(value for _, value in points)
    return Line(who, tuple(number for number, _ in points), values, values, values)
