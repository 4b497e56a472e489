"""Small curves: where their points, intervals and levels lie."""

from __future__ import annotations

from fedflow.client.pages.curves import Point, over_rounds, score_curve


def test_scores_lie_within_their_intervals_beside_the_base() -> None:
    assert score_curve([Point(0, 1.0, 1.0, 1.0)]) is None
    curve = score_curve([Point(0, 60.0, 60.0, 60.0), Point(2, 40.0, 20.0, 60.0)], level=60.0)
    assert curve is not None
    assert curve.path == "M8.0,8.0 L632.0,100.0"
    assert curve.dots == "M8.0,8.0 h0 M632.0,100.0 h0"
    assert curve.band == "M8.0,8.0 L632.0,8.0 L632.0,192.0 L8.0,8.0 Z"
    assert curve.level == "M0,8.0 h640"
    assert (curve.first, curve.now, curve.low, curve.high, curve.last) == (60.0, 40.0, 20.0, 60.0, 2)


def test_figures_that_are_all_the_same_are_a_line() -> None:
    curve = score_curve([Point(1, 0.5, 0.5, 0.5), Point(2, 0.5, 0.5, 0.5)])
    assert curve is not None
    assert (curve.path, curve.band, curve.level) == ("M8.0,192.0 L632.0,192.0", "", "")


def test_losses_of_rounds_follow_one_another() -> None:
    assert over_rounds({}, {}) is None
    curve = over_rounds({1: [(1, 1.0)], 3: [(1, 1.0)]}, {1: 2, 3: 2})
    assert curve is not None
    assert curve.last == 4
    assert curve.ticks == "M320.0,0 v200"
