"""Draw what was asked for. Each picture is kept as soon as it is drawn: who goes on, goes on with the next."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fedflow.client.database.tables import Drawing, Job
from fedflow.client.services import drawings, jobs, library
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.training import is_want_of_memory
from fedflow.client.worker.main import Interrupted
from fedflow.errors import AdapterError, FedFlowError, MistakeError, RunError
from fedflow.federation.workbench import settle_torch
from fedflow.generation import generate, parameters_text, png_bytes
from fedflow.lora import Adapter
from fedflow.models import SAMPLERS, BaseModel, best_device, check_fits, open_model, read_adapter
from fedflow.models.one_model import kept_open

NOTE_S = 0.25
"""How often it is written how far a picture is, and looked whether it is still wanted."""


@dataclass(frozen=True)
class Weighted:
    """An adapter that acts while pictures are drawn, and how much."""

    name: str
    adapter: Adapter
    weight: float


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Draw the pictures that the job still lacks.

    Raises FedFlowError, one line, for what cannot be drawn; Interrupted where the owner wants no more for now.
    """
    settle_torch(settings.threads)
    request = drawings.request_of(job)
    try:
        model = kept_open(request.model, lambda: _opened(store, request.model))
        adapters = _adapters(store, request, model)
        for number in range(len(drawings.of_job(store, job.id)), request.pictures):
            drawings.keep(store, _drawn(store, job, request, model, adapters, number))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, FedFlowError) or not is_want_of_memory(error):
            raise
        raise RunError(
            "the machine's memory does not suffice; ask for smaller pictures, or close other programs, then resume"
        ) from error
    jobs.note(store, job.id, job.of)


def _opened(store: Store, name: str) -> BaseModel:
    model = open_model(library.place(store, name)).to(best_device())
    model.name = library.called(store, name)
    return model


def _adapters(store: Store, request: DrawRequest, model: BaseModel) -> list[Weighted]:
    """The adapters that act, read and known to fit. Raises MistakeError, AdapterError."""
    found = []
    for asset_id, weight in map(drawings.weighted, request.adapters):
        row = library.one(store, asset_id)
        if row is None:
            raise MistakeError("an adapter is no longer in the library; choose again")
        adapter, _ = read_adapter(library.adapter_file(store, asset_id))
        try:
            check_fits(model, adapter)
        except AdapterError as error:
            raise AdapterError(f"adapter '{row.name}' does not fit the model '{model.name}' ({error})") from error
        found.append(Weighted(row.name, adapter, weight))
    return found


def _drawn(
    store: Store, job: Job, request: DrawRequest, model: BaseModel, adapters: list[Weighted], number: int
) -> Drawing:
    noted_at = 0.0

    def step(done: int) -> None:
        nonlocal noted_at
        if time.monotonic() - noted_at >= NOTE_S:
            noted_at = time.monotonic()
            wanted = jobs.note(store, job.id, request.steps * number + done)
            if wanted is not None:
                raise Interrupted(wanted)

    step(0)
    seed, size = (request.seed or 0) + number, request.size_pixels or model.resolution
    [pixels] = generate(
        model,
        [request.prompt],
        [seed],
        steps=request.steps,
        guidance=request.guidance,
        negative=request.negative_prompt,
        size=size,
        sampler=request.sampler,
        adapters=[(each.adapter, each.weight) for each in adapters],
        step=step,
    )
    text = parameters_text(
        request.prompt,
        negative=request.negative_prompt,
        steps=request.steps,
        sampler=SAMPLERS[request.sampler][1],
        guidance=request.guidance,
        seed=seed,
        size=size,
        model_name=model.name,
        model_hash=model.content_hash,
        adapters=[(each.name, each.weight) for each in adapters],
    )
    return Drawing(
        id=jobs.new_id(),
        job_id=job.id,
        sha256=store.blobs.put(png_bytes(pixels, text)),
        prompt=request.prompt,
        negative=request.negative_prompt,
        model=model.name,
        model_hash=model.content_hash,
        adapters=[[each.name, each.weight] for each in adapters],
        seed=seed,
        steps=request.steps,
        guidance=request.guidance,
        sampler=request.sampler,
        width=size,
        height=size,
        drawn_at=store.clock(),
    )
