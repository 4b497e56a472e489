"""What a finished run leaves for people: table, report, chart and gallery."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fedflow.datasets import read_folder
from fedflow.evaluation.charts import chart_png
from fedflow.evaluation.distances import paired_interval
from fedflow.evaluation.gallery import gallery_png
from fedflow.evaluation.report import write_report
from fedflow.evaluation.summary import GalleryStrip, RoundFacts, RunSummary
from fedflow.evaluation.table import Row, write_table
from fedflow.federation.jobs import derived_seed, gallery_prompts
from fedflow.federation.places import data_folder
from fedflow.federation.records import Record
from fedflow.federation.simulation import Outcome
from fedflow.plan import AGGREGATED, ALONE, BASE, CENTRAL, FLOOR, Plan


def write_results(out: Path, record: Record, outcome: Outcome, examples: dict[str, int]) -> dict[str, Path]:
    """Write all result files into `out`; returns what each is for people, and its path."""
    summary = summarise(out, record, outcome, examples)
    files = {
        "Table": out / "table.csv",
        "Chart": out / "chart.png",
        "Gallery": out / "gallery.png",
        "Report": out / "report.html",
    }
    write_table(files["Table"], summary.rows)
    chart_png(files["Chart"], summary)
    gallery_png(files["Gallery"], summary)
    write_report(files["Report"], summary)
    return files


def summarise(out: Path, record: Record, outcome: Outcome, examples: dict[str, int]) -> RunSummary:
    """The run as the report reads it."""
    plan = record.plan
    heldout = read_folder(data_folder(plan) / plan.data.heldout, 1, plan.data.trigger)
    drawing = plan.evaluation
    prompts = tuple(gallery_prompts(plan, heldout))
    real_of = {picture.caption: picture.path for picture in heldout.pictures}
    assert outcome.real is not None
    return RunSummary(
        name=plan.name,
        method=plan.method,
        weighting=plan.weighting,
        model=plan.model,
        num_rounds=plan.rounds,
        plan_text=plan.model_dump_json(indent=2),
        extractor=outcome.real.extractor,
        resize=outcome.real.resize,
        num_heldout=len(heldout.pictures),
        sampler_text=f"{drawing.sampler}, {drawing.sampler_steps} steps, guidance {drawing.guidance:g}",
        clients=tuple(examples.items()),
        rows=tuple(sorted(outcome.rows, key=lambda row: _order(plan, row))),
        kid_gain=_kid_gain(out, plan, outcome),
        facts=tuple(_facts(plan, outcome)),
        prompts=prompts,
        gallery=tuple(
            GalleryStrip(seed, number, who, tuple(sorted((out / drawn.gallery).glob("*.png"))))
            for (seed, number, who), drawn in sorted(outcome.drawn.items())
        ),
        real=tuple(real_of.get(prompt) for prompt in prompts),
        seconds=record.seconds,
        machine=record.machine,
        started=record.started,
    )


def _order(plan: Plan, row: Row) -> tuple[int, int, int, str]:
    """Table order: by seed and round; base, floor, clients as in the plan, aggregated, central, alone."""
    first = [BASE, FLOOR, *plan.data.clients, AGGREGATED, CENTRAL]
    place = first.index(row.participant) if row.participant in first else len(first)
    number = int(row.participant.removeprefix(ALONE)) if place == len(first) else 0
    return row.seed, row.round, place + number, row.participant


def _kid_gain(out: Path, plan: Plan, outcome: Outcome) -> tuple[float, float]:
    """95% interval of KID(base) - KID(joint model after the last round): both drew every held-out caption."""
    assert outcome.real is not None

    def features(name: str) -> np.ndarray:
        found: np.ndarray = np.load(out / name, allow_pickle=False)
        return found

    return paired_interval(
        features(outcome.real.heldout),
        [features(outcome.drawn[seed, 0, BASE].features) for seed in plan.seeds],
        [features(outcome.drawn[seed, plan.rounds, AGGREGATED].features) for seed in plan.seeds],
        torch.Generator().manual_seed(derived_seed(plan.seeds[0], "interval of the gain over base")),
    )


def _facts(plan: Plan, outcome: Outcome) -> list[RoundFacts]:
    facts = []
    for (seed, number), committed in sorted(outcome.rounds.items()):
        report = committed.report
        seconds = sum(
            trained.seconds
            for (its_seed, its_round, who), trained in outcome.trained.items()
            if (its_seed, its_round) == (seed, number) and who in plan.data.clients
        )
        facts.append(
            RoundFacts(
                seed=seed,
                round=number,
                bytes_up=committed.bytes_up,
                bytes_down=committed.bytes_down,
                naive_error=_number(report.get("naive_error")),
                residual_rank=int(report["residual_rank"]) if "residual_rank" in report else None,
                discarded_energy=_number(report.get("discarded_energy")),
                exact_error=committed.exact_error,
                seconds=seconds,
            )
        )
    return facts


def _number(value: float | int | str | None) -> float | None:
    return float(value) if isinstance(value, float | int) else None
