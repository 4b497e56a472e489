"""What a finished or part-finished run has to say: plain data that the report, the chart and the gallery read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fedflow.evaluation.table import Row


@dataclass(frozen=True)
class RoundFacts:
    """What one round of one seed cost, and how exact its aggregation was.

    `bytes_up` and `bytes_down` are those of all clients together. `naive_error` is what averaging A and B
    apart (FedIT) loses of the weighted sum, as a relative Frobenius norm; `exact_error` the largest relative
    error of the committed state against that sum; `discarded_energy` the share that a cut residual left out.
    None where the method has no such figure.
    """

    seed: int
    round: int
    bytes_up: int
    bytes_down: int
    naive_error: float | None
    residual_rank: int | None
    discarded_energy: float | None
    exact_error: float | None
    seconds: float


@dataclass(frozen=True)
class GalleryStrip:
    """One model's pictures, one per prompt, in the order of the run's prompts."""

    seed: int
    round: int
    participant: str
    pictures: tuple[Path, ...]


@dataclass(frozen=True)
class RunSummary:
    """A whole run. Where parts are missing (no central run, rounds not done yet) the report leaves them out.

    `clients` holds (name, examples) in the plan's order, `real` the held-out picture of each prompt where
    there is one, `sampler_text` how pictures were drawn ('DPM++ 2M, 10 steps, guidance 3'), `started` an
    ISO 8601 time, `num_rounds` the rounds planned. `kid_gain` is the 95% interval of how much lower the joint
    model's KID is than the base's after the last round, over captions.
    """

    name: str
    method: str
    weighting: str
    model: str
    num_rounds: int
    plan_text: str
    extractor: str
    resize: str
    num_heldout: int
    sampler_text: str
    clients: tuple[tuple[str, int], ...]
    rows: tuple[Row, ...]
    kid_gain: tuple[float, float] | None
    facts: tuple[RoundFacts, ...]
    prompts: tuple[str, ...]
    gallery: tuple[GalleryStrip, ...]
    real: tuple[Path | None, ...]
    seconds: float
    machine: str
    started: str
