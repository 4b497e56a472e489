"""A whole run on one machine: the federation, its baselines, and every score, carried by worker processes.

Every job leaves an outcome file; a run that was stopped is played again from its outcomes, which costs nothing
for what is done, and so goes on exactly where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from operator import methodcaller
from pathlib import Path
from typing import Any

import numpy as np

from fedflow.errors import MistakeError
from fedflow.evaluation.scores import Score
from fedflow.evaluation.table import Row
from fedflow.federation import rounds
from fedflow.federation.exports import adapter_facts, as_one_adapter, stored_adapter, write_layouts
from fedflow.federation.jobs import Committed, DrawJob, Drawn, Real, Trained, TrainJob
from fedflow.federation.joining import join_updates
from fedflow.federation.places import RunFolder
from fedflow.federation.rounds import GlobalState, Receipt, Rules
from fedflow.federation.scoring import score_drawing, score_floor
from fedflow.federation.workbench import settle_torch
from fedflow.federation.workers import Machine, Workers, workers
from fedflow.models.adapter_files import LAYOUTS
from fedflow.plan import AGGREGATED, ALONE, BASE, CENTRAL, FLOOR, Plan
from fedflow.storage import read_json, write_json


@dataclass
class Watcher:
    """Who is told what happens: jobs done of jobs in all, trainings, rounds, and table rows as they come."""

    job_done: Callable[[int, int], None]
    trained: Callable[[TrainJob, Trained], None]
    committed: Callable[[int, int, Committed], None]
    scored: Callable[[Row], None]


@dataclass
class Outcome:
    """All that a run made, for tables and reports."""

    rows: list[Row] = field(default_factory=list)
    rounds: dict[tuple[int, int], Committed] = field(default_factory=dict)
    trained: dict[tuple[int, int, str], Trained] = field(default_factory=dict)
    drawn: dict[tuple[int, int, str], Drawn] = field(default_factory=dict)
    real: Real | None = None


def simulate(
    plan: Plan,
    out: Path,
    examples: dict[str, int],
    machine: Machine,
    extractor: str,
    inception: Path | None,
    watcher: Watcher,
) -> Outcome:
    """Run `plan` into `out`, or go on where it was stopped there.

    `examples` is each client's number of pictures. Raises what reading pictures, opening the model, training
    and aggregating raise, and RunError where a worker died.
    """
    settle_torch(machine.threads)  # aggregation's bits depend on the number of threads too
    with workers(machine, plan, out, extractor, inception) as pool:
        try:
            return asyncio.run(_Simulation(plan, out, examples, pool, watcher).run())
        except BaseExceptionGroup as group:
            raise _first(group) from None


class _Simulation:
    def __init__(self, plan: Plan, out: Path, examples: dict[str, int], pool: Workers, watcher: Watcher) -> None:
        self._plan = plan
        self._folder = RunFolder(out)
        self._examples = examples
        self._pool = pool
        self._watcher = watcher
        self._outcome = Outcome()
        settings = plan.training
        self._steps = {client: settings.steps(count) for client, count in examples.items()}
        per_round = plan.clients_per_round or len(plan.data.clients)
        self._rules = Rules(plan.rounds, per_round, quorum=per_round)
        self._done, self._total = 0, count_jobs(plan)

    async def run(self) -> Outcome:
        real = await self._job(methodcaller("real"))
        self._outcome.real = real
        check_base(self._folder, real)
        for seed in self._plan.seeds:
            self._floor(seed, real)
            start = await self._job(methodcaller("initial_adapter", seed)) if self._plan.trains_adapter else None
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._draw(DrawJob(seed, BASE, 0, None, ()), 0, 0))
                tasks.create_task(self._federation(seed, start, tasks))
                if self._plan.baselines.central:
                    tasks.create_task(self._baseline(seed, CENTRAL, self._plan.data.clients, start, tasks))
                if self._plan.baselines.alone:
                    for number, client in enumerate(self._plan.data.clients, start=1):
                        tasks.create_task(self._baseline(seed, f"{ALONE}{number}", (client,), start, tasks))
        return self._outcome

    async def _federation(self, seed: int, start: str | None, tasks: asyncio.TaskGroup) -> None:
        plan = self._plan
        clients, rules = plan.data.clients, self._rules
        state = rounds.start(f"{plan.name} seed {seed}", clients, rules, seed, GlobalState(start))
        steps_of = dict.fromkeys(clients, 0)
        while state.phase is not rounds.Phase.DONE:
            number = state.round
            assignments = [rounds.assignment(state, client) for client in rounds.missing(state)]
            jobs = [
                TrainJob(seed, a.client, a.round, (a.client,), self._steps[a.client], a.adapter, a.residuals)
                for a in assignments
            ]
            for job, trained in zip(jobs, await asyncio.gather(*map(self._train, jobs)), strict=True):
                state = rounds.accept(state, Receipt(job.who, job.round, trained.update, trained.num_examples))
                steps_of[job.who] += trained.steps
                if plan.evaluation.clients:
                    draw = DrawJob(seed, job.who, number, trained.update, job.residuals)
                    tasks.create_task(self._draw(draw, trained.num_examples, steps_of[job.who]))
            state, receipts = rounds.close(state)
            committed = self._aggregate(seed, number, receipts, state.model)
            self._outcome.rounds[seed, number] = committed
            self._watcher.committed(seed, number, committed)
            state = rounds.commit(state, clients, rules, seed, committed.adapter, committed.residual)
            examples = sum(self._examples[client] for client, steps in steps_of.items() if steps)
            draw = DrawJob(seed, AGGREGATED, number, state.model.adapter, state.model.residuals)
            tasks.create_task(self._draw(draw, examples, sum(steps_of.values())))
            self._export(seed, number, receipts, committed, state.model)

    async def _baseline(
        self, seed: int, who: str, clients: tuple[str, ...], start: str | None, tasks: asyncio.TaskGroup
    ) -> None:
        """Training in one place on the pictures of `clients`, in each round as many steps as they take together there.

        In a round that selects none of them nothing is trained.
        """
        state, steps_so_far, examples = start, 0, sum(self._examples[client] for client in clients)
        for number in range(1, self._plan.rounds + 1):
            selected = rounds.select(self._plan.data.clients, self._rules, seed, number)
            steps = sum(self._steps[client] for client in clients if client in selected)
            if steps:
                state = (await self._train(TrainJob(seed, who, number, clients, steps, state, ()))).update
                steps_so_far += steps
            if number == self._plan.rounds or (who == CENTRAL and self._plan.evaluation.central_rounds):
                draw = DrawJob(seed, who, number, state, ())
                tasks.create_task(self._draw(draw, examples, steps_so_far))
        if self._plan.trains_adapter and state is not None:
            paths = {layout: self._folder.adapter(seed, self._plan.rounds, who, layout) for layout in LAYOUTS}
            write_layouts(paths, stored_adapter(self._folder.blobs, state), self._facts(who))

    async def _job(self, job: Callable[[Any], Any]) -> Any:
        """One job's outcome; what comes back from another process is typed by the caller."""
        outcome = await asyncio.wrap_future(self._pool.submit(job))
        self._done += 1
        self._watcher.job_done(self._done, self._total)
        return outcome

    async def _train(self, job: TrainJob) -> Trained:
        trained: Trained = await self._job(methodcaller("train", job))
        self._outcome.trained[job.seed, job.round, job.who] = trained
        self._watcher.trained(job, trained)
        return trained

    async def _draw(self, job: DrawJob, examples: int, steps: int) -> None:
        drawn: Drawn = await self._job(methodcaller("draw", job))
        self._outcome.drawn[job.seed, job.round, job.who] = drawn
        assert self._outcome.real is not None
        heldout = self._features(self._outcome.real.heldout)
        figures = score_drawing(job, heldout, self._features(drawn.features), self._outcome.real.extractor)
        self._row(job.seed, job.round, job.who, examples, steps, figures)

    def _floor(self, seed: int, real: Real) -> None:
        heldout, clients = self._features(real.heldout), self._features(real.clients)
        figures = score_floor(seed, heldout, clients, real.extractor)
        self._row(seed, 0, FLOOR, min(len(heldout), len(clients)), 0, figures)

    def _row(self, seed: int, number: int, who: str, examples: int, steps: int, figures: Score) -> None:
        row = Row(seed, number, who, examples, steps, figures.fid, figures.kid, figures.kid_low, figures.kid_high)
        self._outcome.rows.append(row)
        self._watcher.scored(row)

    def _features(self, name: str) -> np.ndarray:
        features: np.ndarray = np.load(self._folder.out / name, allow_pickle=False)
        return features

    def _aggregate(self, seed: int, number: int, receipts: tuple[Receipt, ...], before: GlobalState) -> Committed:
        """Join the round's updates, or return what was committed already."""
        done = self._folder.aggregate(seed, number)
        if done.is_file():
            return Committed(**read_json(done))
        committed = join_updates(self._folder.blobs, self._plan, receipts, before)
        write_json(done, asdict(committed))
        return committed

    def _export(
        self, seed: int, number: int, receipts: tuple[Receipt, ...], committed: Committed, model: GlobalState
    ) -> None:
        """Write every adapter of the round in both layouts, and after the last round the joint model as one."""
        if not self._plan.trains_adapter:
            return
        blobs = self._folder.blobs
        digests = {receipt.client: receipt.update for receipt in receipts} | {AGGREGATED: committed.adapter}
        if committed.residual is not None:
            digests["residual"] = committed.residual
        for who, digest in digests.items():
            paths = {layout: self._folder.adapter(seed, number, who, layout) for layout in LAYOUTS}
            if not all(path.is_file() for path in paths.values()):
                write_layouts(paths, stored_adapter(blobs, digest), self._facts(f"{who}, round {number}"))
        if number == self._plan.rounds:
            residuals = [stored_adapter(blobs, digest) for digest in model.residuals]
            whole = as_one_adapter(stored_adapter(blobs, committed.adapter), residuals, rank=None)
            paths = {layout: self._folder.joint(seed, layout) for layout in LAYOUTS}
            write_layouts(paths, whole.adapter, self._facts("joint model"))

    def _facts(self, what: str) -> dict[str, str]:
        """What an adapter's file tells of itself; an update of the protocol tells nothing."""
        assert self._outcome.real is not None
        return adapter_facts(self._plan, self._outcome.real.resolution, what)


def check_base(folder: RunFolder, real: Real) -> None:
    """Raise MistakeError where the run was begun with another base model of the same name."""
    path = folder.base
    if not path.is_file():
        write_json(path, {"content_hash": real.base_hash, "resolution": real.resolution})
    elif read_json(path)["content_hash"] != real.base_hash:
        raise MistakeError(
            f"{folder.out}: the base model has changed since this run was begun; put it back, or choose another --out"
        )


def count_jobs(plan: Plan) -> int:
    """How many jobs a run has."""
    clients = len(plan.data.clients)
    per_round = plan.clients_per_round or clients
    federation = plan.rounds * (per_round * (2 if plan.evaluation.clients else 1) + 1)
    central = plan.rounds + (plan.rounds if plan.evaluation.central_rounds else 1) if plan.baselines.central else 0
    # Over all clients, what each trains alone is what the federation trains, and a drawing each.
    alone = plan.rounds * per_round + clients if plan.baselines.alone else 0
    initial = 1 if plan.trains_adapter else 0
    return 1 + len(plan.seeds) * (initial + 1 + federation + central + alone)


def _first(error: BaseException) -> BaseException:
    """The first error of a group of tasks: the others only followed from it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
