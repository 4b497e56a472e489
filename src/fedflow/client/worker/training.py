"""Train on a dataset: an adapter, or the whole model. The result goes into the library."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path

import torch

from fedflow.client.database.tables import Dataset, Drawing, Job
from fedflow.client.services import datasets, drawings, drawings_size, jobs, library, library_shapes, trainings
from fedflow.client.services.trainings import Change, TrainRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.worker.drawing import no_model
from fedflow.client.worker.main import Interrupted
from fedflow.datasets import Dataset as Pictures
from fedflow.datasets import read_folder
from fedflow.errors import MistakeError, PlanError, RunError, lacking_memory
from fedflow.federation.estimates import USUAL_PIXELS, USUAL_SIDE
from fedflow.federation.workbench import settle_torch
from fedflow.generation.sample import GUIDANCE, SAMPLER, STEPS, Learner, sample
from fedflow.models import (
    BaseModel,
    adapter_bytes,
    add_lora,
    best_device,
    one_model,
    open_model,
    read_adapter,
    save_model,
    set_adapter,
)
from fedflow.models.adapter_files import LAYOUTS
from fedflow.training import (
    TrainResult,
    begun_in,
    cache_captions,
    cache_latents,
    data_of,
    recipe_of,
    smaller_batches,
    train_lora,
    train_unet,
)

NOTE_S = 0.5
WARM_UP_STEPS, FEWEST_STEPS = 2, 5
"""A training's first steps are slow; its pace is told by so many of the others at least."""


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Train what the job asks for, from its checkpoint where there is one.

    Where pictures or captions are others by then it goes on with those that there are, and that is noted.
    Raises FedFlowError, one line, for what cannot be trained; Interrupted where the owner wants no more for now.
    """
    settle_torch(settings.threads)
    request = trainings.request_of(job)
    dataset = datasets.one(store, request.dataset)
    if dataset is None:
        raise MistakeError("the dataset was taken out meanwhile; start a new training")
    if not datasets.is_there(dataset):
        raise MistakeError("its dataset's folder is not where it was; say on its page where it is, then resume")
    one_model.close()  # what draws would stand in memory beside it
    try:
        with lacking_memory(lambda: _too_large(store, request)):
            _train(store, job, request, dataset)
    except PlanError as error:
        raise MistakeError(
            "the model or adapter that it learns from is not the one that it began with; start a new training"
        ) from error
    finally:
        one_model.close()


def _too_large(store: Store, request: TrainRequest) -> RunError:
    """Smaller batches that learn the same would fit better, and where they cannot be smaller, smaller pictures."""
    chosen = request.training
    smaller = smaller_batches(chosen.batch_size, chosen.gradient_accumulation)
    if smaller is None:
        return _pictures_too_large(store, request)
    return RunError(
        f"the machine's memory does not suffice for {chosen.batch_size} pictures per step; start one with "
        f"{smaller[0]} per step and {smaller[1]} gradient accumulation, which learns the same, or close other programs "
        "and resume"
    )


def _pictures_too_large(store: Store, request: TrainRequest) -> RunError:
    """Smaller pictures would fit better, or an adapter rather than a whole model."""
    shapes = library_shapes.shapes_here(store, request.model)
    cell, side = (USUAL_PIXELS, USUAL_SIDE) if shapes is None else (shapes.pixels_per_latent, shapes.side)
    half = drawings_size.nearest((request.size_pixels or side * cell) // 2, cell)
    if request.trains_adapter:
        return RunError(
            f"the machine's memory does not suffice for pictures of this size; start one with a size of {half}, or "
            "close other programs and resume"
        )
    return RunError(
        "the machine's memory does not suffice for pictures of this size; start one of an adapter, or with a size of "
        f"{half}, or close other programs and resume"
    )


def _train(store: Store, job: Job, request: TrainRequest, dataset: Dataset) -> None:
    with lacking_memory(no_model):
        model = open_model(library.place(store, request.model)).to(best_device())
    model.name = library.called(store, request.model)
    side = request.size_pixels or model.resolution
    model.latent_size(side)
    pictures = read_folder(Path(dataset.folder), side, dataset.trigger or None)
    place = trainings.folder(store, job.id)
    place.mkdir(parents=True, exist_ok=True)
    begun = begun_in(place)
    steps = request.training.steps(len(pictures.pictures)) if begun is None else begun.steps
    recipe = recipe_of(request.training, steps, request.seed)
    if request.trains_adapter:
        _add_adapter(store, request, model)
    watch = _Watch(store, job, request, model, recipe.steps)
    with lacking_memory(lambda: _pictures_too_large(store, request)):
        latents = cache_latents(model, pictures, request.training.flip, lambda *_: watch.look())
    trainings.note_cut(store, job.id, len(model.too_long([each.caption for each in pictures.pictures])))
    captions = cache_captions(model, pictures)
    if begun is not None and begun.data != data_of(latents, captions):
        trainings.note_change(store, job.id, Change(begun.step, begun.num_examples, len(latents)))
    watch.begin()
    train = train_lora if request.trains_adapter else train_unet
    result = train(model, latents, captions, recipe, place, progress=watch.step, of_other_data=True)
    trainings.note_losses(store, job.id, dict(enumerate(result.losses, start=1)))
    _keep(store, job, request, model, pictures, result, watch.step_s())
    jobs.note(store, job.id, recipe.steps, recipe.steps)
    shutil.rmtree(place, ignore_errors=True)


def _add_adapter(store: Store, request: TrainRequest, model: BaseModel) -> None:
    if not request.start:
        lora, generator = request.lora, torch.Generator().manual_seed(request.seed)
        add_lora(model, lora.rank, lora.alpha, lora.text_encoder, generator)
        return
    row = library.one(store, request.start)
    if row is None:
        raise MistakeError("the adapter to go on from is no longer in the library; start a new training")
    set_adapter(model, read_adapter(library.adapter_file(store, row.id))[0])


class _Watch:
    """What is looked after between two steps: how far it is, what the owner wants, a picture now and then."""

    def __init__(self, store: Store, job: Job, request: TrainRequest, model: BaseModel, steps: int) -> None:
        self._store = store
        self._job = job
        self._request = request
        self._model = model
        self._steps = steps
        self._noted_at = 0.0
        self._losses: dict[int, float] = {}
        self._last_at = 0.0
        self._took: list[float] = []

    def begin(self) -> None:
        """The first step begins now."""
        self._last_at = time.monotonic()

    def step_s(self) -> float | None:
        """How long a usual step took; None after too few."""
        took = self._took[WARM_UP_STEPS:]
        return statistics.median(took) if len(took) >= FEWEST_STEPS else None

    def look(self, done: int = 0) -> None:
        """Write how far it is, and end where the owner wants it."""
        if time.monotonic() - self._noted_at < NOTE_S and done < self._steps:
            return
        self._noted_at = time.monotonic()
        trainings.note_losses(self._store, self._job.id, self._losses)
        self._losses = {}
        wanted = jobs.note(self._store, self._job.id, done, self._steps)
        if wanted is not None:
            raise Interrupted(wanted)

    def step(self, done: int, _steps: int, loss: float) -> None:
        """After each step; the loss is that of the step before, as a graphics card tells it late."""
        self._took.append(time.monotonic() - self._last_at)
        self._losses[max(done - 1, 1)] = loss
        self.look(done)
        if self._request.sample_prompt and (done % self._request.sample_every == 0 or done == self._steps):
            self._sample(done)
        self._last_at = time.monotonic()

    def _sample(self, done: int) -> None:
        request, model = self._request, self._model
        side = request.size_pixels or model.resolution
        learner = Learner(request.name, is_whole=not request.trains_adapter)
        name, content_hash, adapters = learner.drawn_with(model, done)
        with lacking_memory(lambda: _pictures_too_large(self._store, request)):
            png = sample(model, request.sample_prompt, request.seed, side, learner, done, lambda _: self.look(done))
        drawings.keep(
            self._store,
            Drawing(
                id=jobs.new_id(),
                job_id=self._job.id,
                sha256=self._store.blobs.put(png),
                prompt=request.sample_prompt,
                negative="",
                model=name,
                model_hash=content_hash,
                adapters=[list(each) for each in adapters],
                seed=request.seed,
                steps=STEPS,
                guidance=GUIDANCE,
                sampler=SAMPLER,
                width=side,
                height=side,
                drawn_at=self._store.clock(),
                made_from={"training": self._job.id, "step": done, "of": self._steps},
            ),
        )


def _keep(
    store: Store,
    job: Job,
    request: TrainRequest,
    model: BaseModel,
    pictures: Pictures,
    result: TrainResult,
    step_s: float | None,
) -> None:
    """Put the result into the library under the job's identifier: done twice, it is there once."""
    dataset = datasets.one(store, request.dataset)
    trigger = dataset.trigger if dataset is not None else ""
    last = result.losses[-min(20, len(result.losses)) :]
    origin: dict[str, object] = {
        "how": "trained",
        "job": job.id,
        "dataset": dataset.name if dataset is not None else "",
        "pictures": len(pictures.pictures),
        "steps": result.steps,
        "loss": sum(last) / len(last),
    }
    if changes := trainings.changes(jobs.one(store, job.id) or job):
        origin["changed_at"] = [each.step for each in changes]
    parent = library.one(store, request.start) if request.start else None
    if parent is not None:
        told: dict[str, object] = {name: parent.origin[name] for name in ("federation", "run") if name in parent.origin}
        origin["start"] = {"id": parent.id, "name": parent.name, **told}
    if result.adapter is not None:
        origin["rank"] = max(factors.rank for factors in result.adapter.values())
    shapes = library_shapes.shapes_here(store, request.model)
    if shapes is not None and step_s is not None:
        asked = trainings.as_trained(store, request)
        origin["flops_s"] = shapes.at(request.size_pixels).step_flops(asked) / step_s
    if result.adapter is not None:
        facts = {"modelspec.title": request.name, "modelspec.resolution": f"{pictures.size}x{pictures.size}"}
        if trigger:
            facts["modelspec.trigger_phrase"] = trigger
        diffusers, kohya = (adapter_bytes(result.adapter, layout, facts) for layout in LAYOUTS)
        library.write_adapter(store, job.id, diffusers=diffusers, kohya=kohya)
        new = library.New(library.ADAPTER, request.name, model.name, model.content_hash, trigger, origin)
    else:
        place = library.folder(store, job.id)
        place.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, place)
        origin["base_hash"] = model.content_hash
        made = open_model(str(place)).content_hash
        new = library.New(library.MODEL, request.name, model.name, made, trigger, origin)
    library.keep(store, job.id, new)
