"""What nobody waits for: draw with a model of a run and measure it.

It may be done twice and leaves the same behind. The base model stays open from one job of a run to the next.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedflow.errors import DatasetError, ModelError
from fedflow.federation.jobs import gallery_prompts
from fedflow.federation.scoring import fid_interval, halved_floor, score_drawing
from fedflow.federation.workbench import Workbench, settle_torch
from fedflow.models.one_model import close, kept_open
from fedflow.plan import Plan
from fedflow.server.database.tables import Job
from fedflow.server.services import scores
from fedflow.server.services.heldout import heldout_folder, told_to_members
from fedflow.server.services.scores import Measured, ToScore
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.base_folders import place_of
from fedflow.server.worker.tasks import check_base


def evaluate(store: Store, settings: ServerSettings, job: Job) -> None:
    """Draw the held-out captions and the gallery with one model of a run, and measure what came of it.

    Raises ModelError where the base model is another than the run was prepared with, DatasetError for held-out
    pictures that cannot be used or are gone.
    """
    asked = scores.to_score(store, job)
    if asked is None:
        return
    name, folder = asked.plan.data.heldout, heldout_folder(asked.plan, settings.pictures)
    if folder is None:
        raise DatasetError(f"the held-out pictures '{name}' are gone; put the folder back, then try again")
    bench = _bench(store, settings, job.run, asked.plan, folder)
    try:
        measured = _measured(store, bench, asked)
    except DatasetError as error:
        raise DatasetError(told_to_members(name, folder, error)) from error
    scores.keep(store, job.run, asked, measured)


TASKS = {"evaluate": evaluate}


def _bench(store: Store, settings: ServerSettings, run_id: str, plan: Plan, heldout: Path) -> Workbench:
    settle_torch(settings.worker_threads)
    bench = kept_open(("run", run_id, plan, heldout), lambda: _opened(store, run_id, plan, heldout))
    try:
        check_base(store, run_id, bench)
    except ModelError:
        close()
        raise
    return bench


def _measured(store: Store, bench: Workbench, asked: ToScore) -> Measured:
    out = bench.folder.out
    drawn = bench.draw(asked.drawing)
    real, features = (np.load(out / name, allow_pickle=False) for name in (bench.measured_heldout, drawn.features))
    figures = score_drawing(asked.drawing, real, features, bench.extractor.name)
    fid_low, fid_high = fid_interval(asked.drawing, real, features)
    floor = halved_floor(bench.plan.seeds[0], real, bench.extractor.name)
    return Measured(
        fid=figures.fid,
        kid=figures.kid,
        fid_low=fid_low,
        fid_high=fid_high,
        kid_low=figures.kid_low,
        kid_high=figures.kid_high,
        kid_floor=None if floor is None else floor.kid,
        kid_floor_low=None if floor is None else floor.kid_low,
        kid_floor_high=None if floor is None else floor.kid_high,
        extractor=bench.extractor.name,
        resize=bench.extractor.resize,
        num_heldout=len(real),
        features=store.blobs.put((out / drawn.features).read_bytes()),
        prompts=gallery_prompts(bench.plan, bench.heldout),
        gallery=[store.blobs.put(path.read_bytes()) for path in sorted((out / drawn.gallery).glob("*.png"))],
        seconds=drawn.seconds,
    )


def _opened(store: Store, run_id: str, plan: Plan, heldout: Path) -> Workbench:
    return Workbench(
        plan,
        store.folder / scores.SCRATCH / run_id,
        {plan.data.heldout: heldout},
        "auto",
        None,
        base=place_of(store, run_id),
        blobs=store.blobs,
    )
