"""What nobody waits for: draw with a model of a run and measure it, merge residuals into the base weights.

Each may be done twice and leaves the same behind. The base model stays open from one job of a run to the next.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from fedflow.errors import ModelError
from fedflow.federation.jobs import gallery_prompts
from fedflow.federation.scoring import score_drawing
from fedflow.federation.workbench import Workbench, settle_torch
from fedflow.plan import Plan
from fedflow.server.database.tables import Job
from fedflow.server.services import commits, runs, scores
from fedflow.server.services.scores import Measured
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.heldout import heldout_folder


def evaluate(store: Store, settings: ServerSettings, job: Job) -> None:
    """Draw the held-out captions and the gallery with one model of a run, and measure what came of it.

    Raises ModelError where the base model is another than the run was prepared with, DatasetError for held-out
    pictures that cannot be used or are gone.
    """
    asked = scores.to_score(store, job)
    if asked is not None:
        bench = _bench(store, settings, job.run_id, asked.plan)
        out = bench.folder.out
        drawn = bench.draw(asked.drawing)
        real, features = (np.load(out / name, allow_pickle=False) for name in (bench.measured_heldout, drawn.features))
        figures = score_drawing(asked.drawing, real, features, bench.extractor.name)
        measured = Measured(
            fid=figures.fid,
            kid=figures.kid,
            kid_low=figures.kid_low,
            kid_high=figures.kid_high,
            extractor=bench.extractor.name,
            resize=bench.extractor.resize,
            num_heldout=len(real),
            features=store.blobs.put((out / drawn.features).read_bytes()),
            prompts=gallery_prompts(bench.plan, bench.heldout),
            gallery=[store.blobs.put(path.read_bytes()) for path in sorted((out / drawn.gallery).glob("*.png"))],
            seconds=drawn.seconds,
        )
        scores.keep(store, job.run_id, asked, measured)


def merge(store: Store, settings: ServerSettings, job: Job) -> None:
    """Make the base weights with all residuals up to a round in them, for clients that lack many."""
    found = commits.to_merge(store, job.run_id, job.round)
    if found is not None:
        plan, residuals = found
        bench = _bench(store, settings, job.run_id, plan)
        commits.keep_merged(store, job.run_id, job.round, store.blobs.put(bench.merged_weights(residuals)))


TASKS = {"evaluate": evaluate, "merge": merge}


def _bench(store: Store, settings: ServerSettings, run_id: str, plan: Plan) -> Workbench:
    settle_torch(settings.worker_threads)
    bench = _opened(store, run_id, plan, heldout_folder(plan, settings))
    if bench.model.content_hash != runs.base_hash(store, run_id):
        _opened.cache_clear()
        raise ModelError(f"base model '{plan.model}' has changed since run {run_id} was prepared; put it back")
    return bench


@lru_cache(maxsize=1)
def _opened(store: Store, run_id: str, plan: Plan, heldout: Path | None) -> Workbench:
    folders = {} if heldout is None else {plan.data.heldout: heldout}
    return Workbench(plan, store.folder / scores.SCRATCH / run_id, folders, "auto", None, blobs=store.blobs)
