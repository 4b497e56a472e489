"""`fedflow run report`: table, chart, gallery and report of a run on a FedFlowServer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fedflow.cli.run import Coordinator
from fedflow.errors import MistakeError
from fedflow.evaluation.charts import chart_png
from fedflow.evaluation.gallery import gallery_png
from fedflow.evaluation.report import write_report as write_html
from fedflow.evaluation.summary import GalleryStrip, RoundFacts, RunSummary
from fedflow.evaluation.table import Row, write_table
from fedflow.plan import Plan

FIGURES = ("round", "steps", "fid", "kid", "kid_low", "kid_high")


def write_report(coordinator: Coordinator, run_id: str, out: Path) -> None:
    """Write table, chart, gallery and report of a run into `out`, as `fedflow simulate` does for one on this machine.

    Raises MistakeError where nothing is scored yet.
    """
    facts = coordinator.get(f"/runs/{run_id}")
    answer = coordinator.get(f"/runs/{run_id}/scores")
    scores = answer["items"]
    if not scores:
        raise MistakeError("nothing of the run is scored; 'fedflow run scores' says why")
    plan = Plan.model_validate(facts["plan"])
    seed = plan.seeds[0]
    rounds = list(coordinator.pages(f"/runs/{run_id}/rounds"))
    strips = []
    for score in scores:
        folder = out / "gallery" / f"round-{score['round']}" / score["who"]
        folder.mkdir(parents=True, exist_ok=True)
        pictures = [folder / f"{place:02d}.png" for place in range(len(score["gallery"]))]
        for path, digest in zip(pictures, score["gallery"], strict=True):
            coordinator.fetch(digest, path)
        strips.append(GalleryStrip(seed, score["round"], score["who"], tuple(pictures)))
    prompts = tuple(scores[0]["prompts"])
    drawing = plan.evaluation
    summary = RunSummary(
        name=plan.name,
        method=plan.method,
        weighting=plan.weighting,
        model=plan.model,
        num_rounds=plan.rounds,
        plan_text=json.dumps(facts["plan"], indent=2),
        extractor=scores[0]["extractor"],
        resize=scores[0]["resize"],
        num_heldout=scores[0]["num_heldout"],
        sampler_text=f"{drawing.sampler}, {drawing.sampler_steps} steps, guidance {drawing.guidance:g}",
        clients=tuple(_examples(rounds).items()),
        rows=tuple(
            Row(
                seed=seed, participant=each["who"], examples=each["num_examples"], **{key: each[key] for key in FIGURES}
            )
            for each in scores
        ),
        kid_gain=None,
        facts=tuple(_round_facts(seed, line) for line in rounds if line["report"] is not None),
        prompts=prompts,
        gallery=tuple(strips),
        real=(None,) * len(prompts),
        seconds=facts["seconds"],
        machine="a federation over the network",
        started=(datetime.now(UTC) - timedelta(seconds=facts["age_s"])).isoformat(timespec="seconds"),
    )
    write_table(out / "table.csv", summary.rows)
    chart_png(out / "chart.png", summary)
    gallery_png(out / "gallery.png", summary)
    write_html(out / "report.html", summary)
    for name in ("table.csv", "chart.png", "gallery.png", "report.html"):
        print(f"Written: {out / name}")
    if answer["to_come"]:
        print(f"{answer['to_come']} more scores are to come; write the report again then.")


def _examples(rounds: list[dict[str, Any]]) -> dict[str, int]:
    """Each member's example count, as it said last; none where the federation does not show them to its viewers."""
    found: dict[str, int] = {}
    for line in rounds:
        found |= {member: count for member, count in line["accepted"].items() if count is not None}
    return found


def _round_facts(seed: int, line: dict[str, Any]) -> RoundFacts:
    report = line["report"]
    return RoundFacts(
        seed=seed,
        round=line["number"],
        seconds=line["seconds"],
        bytes_up=report["bytes_up"],
        bytes_down=report["bytes_down"],
        exact_error=report["exact_error"],
        **{name: report.get(name) for name in ("naive_error", "residual_rank", "discarded_energy")},
    )
