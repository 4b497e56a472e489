"""What a chart of a run draws: one line per participant, whichever measure it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fedflow.evaluation.summary import RunSummary
from fedflow.evaluation.table import Row, over_seeds
from fedflow.plan import AGGREGATED, ALONE, BASE, CENTRAL, FLOOR

Measure = Literal["fid", "kid", "loss"]


@dataclass(frozen=True)
class Line:
    """One participant's figures by round, the mean over seeds, with the interval around each."""

    participant: str
    rounds: tuple[int, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


@dataclass(frozen=True)
class Curves:
    """All lines of one measure: the participants' in the plan's order, and those that the run has beside them.

    `joint_name` is what the line of all together is called.
    """

    measure: Measure
    clients: tuple[Line, ...] = ()
    aggregated: Line | None = None
    base: Line | None = None
    floor: Line | None = None
    central: Line | None = None
    alone: tuple[Line, ...] = ()
    joint_name: str = AGGREGATED

    @property
    def last_round(self) -> int:
        """The last round of any line; 0 where there is none."""
        return max((line.rounds[-1] for line in self._all), default=0)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._all

    @property
    def _all(self) -> list[Line]:
        one = (self.aggregated, self.base, self.floor, self.central)
        return [*self.clients, *self.alone, *(line for line in one if line is not None)]


def curves_of(summary: RunSummary, measure: Literal["fid", "kid"]) -> Curves:
    """The lines of a run's scores."""
    rows = summary.rows
    alone = dict.fromkeys(row.participant for row in rows if row.participant.startswith(ALONE))
    return Curves(
        measure,
        _lines(rows, [name for name, _ in summary.clients], measure),
        _line(rows, AGGREGATED, measure),
        _line(rows, BASE, measure),
        _line(rows, FLOOR, measure),
        _line(rows, CENTRAL, measure),
        _lines(rows, list(alone), measure),
    )


def _lines(rows: Sequence[Row], names: Sequence[str], measure: Measure) -> tuple[Line, ...]:
    return tuple(line for name in names if (line := _line(rows, name, measure)))


def _line(rows: Sequence[Row], participant: str, measure: Measure) -> Line | None:
    """KID's interval is the bootstrap's, averaged over seeds; FID's is the seeds' smallest and largest value."""
    own = [row for row in rows if row.participant == participant]
    if not own:
        return None
    rounds = tuple(sorted({row.round for row in own}))
    by_round = [[row for row in own if row.round == number] for number in rounds]

    def means(column: str) -> tuple[float, ...]:
        return tuple(over_seeds([getattr(row, column) for row in group]).mean for group in by_round)

    if measure == "kid":
        return Line(participant, rounds, means("kid"), means("kid_low"), means("kid_high"))
    lows = tuple(min(row.fid for row in group) for group in by_round)
    highs = tuple(max(row.fid for row in group) for group in by_round)
    return Line(participant, rounds, means("fid"), lows, highs)
