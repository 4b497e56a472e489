"""`fedflow simulate` and `fedflow demo`: a whole run on this machine."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fedflow.datasets import Problem, content_hash, read_folder
from fedflow.errors import DatasetError
from fedflow.evaluation.table import Row
from fedflow.federation.jobs import Committed, Trained, TrainJob
from fedflow.federation.places import data_folder
from fedflow.federation.records import FINISHED, RUNNING, STOPPED, alone_in, claim, with_work, write_record
from fedflow.federation.results import write_results
from fedflow.federation.simulation import Watcher, count_jobs
from fedflow.federation.simulation import simulate as carry
from fedflow.federation.workers import Machine
from fedflow.plan import Plan, read_plan

PLANS = Path(__file__).parent.parent / "data" / "plans"


def demo_plan() -> Path:
    """The plan of `fedflow demo`, which comes with FedFlow."""
    return PLANS / "demo.toml"


def simulate(
    plan_file: Path,
    out: Path,
    overrides: tuple[str, ...],
    num_workers: int | None,
    threads: int,
    extractor: str,
    inception: Path | None,
    first: Callable[[Path, Plan, Path], None] | None = None,
) -> None:
    """Run the plan into `out`, or go on with it there, and write table, report and pictures.

    `first` is given plan file, plan and folder before anything is carried on this machine; outcomes that it leaves
    count.

    Raises FedFlowError, one line, for what is wrong in what was asked or fails on the way; KeyboardInterrupt comes
    back with a message that says how to go on.
    """
    plan = read_plan(plan_file, overrides)
    examples, data = read_data(plan)
    num_workers = num_workers or max(1, (os.cpu_count() or 1) // threads)
    with alone_in(out):
        record = claim(out, plan, threads, extractor, data)
        write_record(out, with_work(record, RUNNING, 0.0))
        print(describe(plan, examples))
        began = time.monotonic()
        try:
            if first is not None:
                first(plan_file, plan, out)
            with _progress(plan) as watcher:
                outcome = carry(plan, out, examples, Machine(num_workers, threads), extractor, inception, watcher)
        except BaseException as error:
            write_record(out, with_work(record, STOPPED, time.monotonic() - began))
            if isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt(
                    f"stopped; all that was done is kept in {out}, and the same command goes on from there"
                ) from None
            raise
        again = record.status == FINISHED  # nothing was left to do but to write the results
        record = with_work(record, FINISHED, 0.0 if again else time.monotonic() - began)
        assert outcome.real is not None  # noqa: S101 - a finished run has measured the real pictures
        record = replace(record, measured_with=f"{outcome.real.extractor}, {outcome.real.resize}")
        files = write_results(out, record, outcome, examples)
        write_record(out, record)
    print(f"\nDone in {record.seconds / 60:.1f} minutes.")
    for what, path in files.items():
        print(f"{what + ':':9} {path}")


def read_data(plan: Plan) -> tuple[dict[str, int], str]:
    """Each client's number of pictures, and the content hash of all pictures and captions, held-out ones too.

    All folders are read and every problem is found before anything heavy starts.

    Raises:
        DatasetError: a picture or caption that cannot be used, an empty or missing folder.
    """
    root = data_folder(plan)
    counts: dict[str, int] = {}
    digest = hashlib.sha256()
    problems: list[Problem] = []
    for name in (*plan.data.clients, plan.data.heldout):
        dataset = read_folder(root / name, 1, plan.data.trigger)
        counts[name] = len(dataset.pictures)
        problems += dataset.problems
        digest.update(f"{name} {content_hash(dataset)}\n".encode())
    for problem in problems[:-1]:
        print(f"fedflow: {problem}", file=sys.stderr)
    if problems:
        raise DatasetError(str(problems[-1]))
    return {client: counts[client] for client in plan.data.clients}, digest.hexdigest()


def describe(plan: Plan, examples: dict[str, int]) -> str:
    """The run in a few lines, before it starts."""
    pictures = " / ".join(str(count) for count in examples.values())
    what = f"LoRA adapters of rank {plan.lora.rank}" if plan.trains_adapter else "the whole UNet"
    compared = [name for name, asked in (("central", plan.baselines.central), ("alone", plan.baselines.alone)) if asked]
    lines = [
        f"{plan.name}: {len(examples)} clients with {pictures} pictures train {what} on '{plan.model}'.",
        f"{plan.rounds} rounds, joined by {plan.method}, clients weighed by {plan.weighting}; "
        f"{len(plan.seeds)} seed{'s' if len(plan.seeds) > 1 else ''}; "
        f"compared with base, floor{''.join(f', {name}' for name in compared)}.",
    ]
    return "\n".join(lines)


class _progress:  # noqa: N801 - a context manager used like a function
    """A live bar over all jobs, with one line for each round and score above it."""

    def __init__(self, plan: Plan) -> None:
        self._console = Console(highlight=False)
        columns = (
            TextColumn("working"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("jobs,"),
            TimeElapsedColumn(),
            TextColumn("gone,"),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        self._bars = Progress(*columns, console=self._console)
        self._task = self._bars.add_task("run", total=count_jobs(plan))
        self._several = len(plan.seeds) > 1

    def __enter__(self) -> Watcher:
        self._bars.start()
        return Watcher(self._job_done, self._trained, self._committed, self._scored)

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def _job_done(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total)

    def _trained(self, job: TrainJob, trained: Trained) -> None:
        self._say(
            job.seed,
            f"round {job.round}: {job.who} trained {trained.steps} steps on {trained.num_examples} pictures, "
            f"loss {trained.first_loss:.3f} -> {trained.last_loss:.3f}",
        )

    def _committed(self, seed: int, number: int, committed: Committed) -> None:
        naive = committed.report.get("naive_error")
        loss = f"; averaging A and B apart would have lost {naive:.1%}" if isinstance(naive, float) else ""
        self._say(seed, f"round {number}: {committed.report['clients']} updates joined{loss}")

    def _scored(self, row: Row) -> None:
        where = f"round {row.round}: " if row.round else ""
        self._say(
            row.seed,
            f"{where}{row.participant}: FID {row.fid:.1f}, KID {row.kid:.3f} ({row.kid_low:.3f} to {row.kid_high:.3f})",
        )

    def _say(self, seed: int, line: str) -> None:
        self._console.print(f"seed {seed}, {line}" if self._several else line, markup=False)
