"""The figures of a run, one row per scored model: `table.csv`, and the shape of the reference paper's Table 1."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from fedflow.plan import AGGREGATED, ALONE, CENTRAL, RESERVED_NAMES
from fedflow.storage import write_atomic


@dataclass(frozen=True)
class Row:
    """One scored model. KID is unscaled; `kid_low` and `kid_high` are its 95% interval.

    `participant` is a client's name (its model after local training, before aggregation), 'aggregated',
    'central', 'alone-1' (the plan's first client, never federated) and so on, 'base' (the untuned model,
    round 0) or 'floor' (real pictures against real ones, round 0). `examples` and `steps` are the training
    pictures and the optimiser steps so far behind that model.
    """

    seed: int
    round: int
    participant: str
    examples: int
    steps: int
    fid: float
    kid: float
    kid_low: float
    kid_high: float


COLUMNS = tuple(field.name for field in fields(Row))


@dataclass(frozen=True)
class Figure:
    """A mean over seeds; `spread` is their standard deviation (n - 1), None for a single seed."""

    mean: float
    spread: float | None = None


@dataclass(frozen=True)
class PaperTable:
    """FID as the reference paper's Table 1 has it: one line per round, one column per client, then aggregated.

    `lines` holds (round, figures in the order of `clients`, aggregated); None stands for what was not scored.
    """

    clients: tuple[str, ...]
    lines: tuple[tuple[int, tuple[Figure | None, ...], Figure | None], ...]
    central: Figure | None


def write_table(path: Path, rows: Iterable[Row]) -> None:
    """Write `rows` as CSV with exactly COLUMNS, by seed, then round, else in the order given.

    Raises StorageError as `write_atomic` does.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda row: (row.seed, row.round)):
        scores = (f"{value:.6f}" for value in (row.fid, row.kid, row.kid_low, row.kid_high))
        writer.writerow([row.seed, row.round, row.participant, row.examples, row.steps, *scores])
    write_atomic(path, text.getvalue().encode())


def over_seeds(values: Sequence[float]) -> Figure:
    """Mean and spread of one or more seeds' values."""
    return Figure(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def is_client(participant: str) -> bool:
    """Whether the participant is one of the federation's clients."""
    return participant not in RESERVED_NAMES and not participant.startswith(ALONE)


def paper_table(rows: Sequence[Row]) -> PaperTable:
    """FID of `rows` in the shape of the paper's Table 1, clients in the order in which they first stand there."""
    clients = tuple(dict.fromkeys(row.participant for row in rows if is_client(row.participant)))

    def figure(participant: str, number: int) -> Figure | None:
        values = [row.fid for row in rows if row.participant == participant and row.round == number]
        return over_seeds(values) if values else None

    rounds = sorted({row.round for row in rows if row.participant in (*clients, AGGREGATED)})
    lines = tuple(
        (number, tuple(figure(client, number) for client in clients), figure(AGGREGATED, number)) for number in rounds
    )
    last_central = max((row.round for row in rows if row.participant == CENTRAL), default=0)
    return PaperTable(clients, lines, figure(CENTRAL, last_central))


PUBLISHED = (
    (178.39, 165.66, 147.22, 166.21, 175.23, 150.51),
    (168.57, 155.09, 140.83, 150.42, 162.77, 138.04),
    (160.48, 150.50, 135.77, 152.39, 157.26, 133.85),
)

REFERENCE_TABLE = PaperTable(
    clients=tuple(f"client {number}" for number in range(1, 6)),
    lines=tuple(
        (number, tuple(Figure(fid) for fid in clients), Figure(aggregated))
        for number, (*clients, aggregated) in enumerate(PUBLISHED, start=1)
    ),
    central=Figure(124.34),
)
"""Table 1 of Ostrovska and Borysiuk, 2026: Stable Diffusion 1.5 with LoRA, five clients with 200 pictures in all."""
