"""Draw a try-out: pictures that a person asked for, with the base model and what the release gave out.

Each picture is kept as soon as it is drawn, so that a killed worker's successor goes on with the next. Between two
pictures everything else that evaluators do goes first.
"""

from __future__ import annotations

import time

from fedflow.errors import FedFlowError, MistakeError, StorageError
from fedflow.federation.exports import stored_adapter
from fedflow.federation.workbench import settle_torch
from fedflow.generation import generate, parameters_text, png_bytes
from fedflow.lora import Adapter
from fedflow.models import SAMPLERS, BaseModel, best_device, open_model, set_weights
from fedflow.models.one_model import kept_open
from fedflow.server.database.tables import Job
from fedflow.server.services import jobs, tryout_work
from fedflow.server.services.tryout_source import Source
from fedflow.server.services.tryout_work import ToDraw
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.base_folders import folder_of
from fedflow.tensors import load_tensors

NOTE_S = 1.0
"""How often it is written how far a picture is, and looked whether it is still wanted."""


class Unwanted(Exception):  # noqa: N818 - nothing went wrong
    """The try-out was cancelled, or is another worker's by now."""


def draw(store: Store, settings: ServerSettings, job: Job) -> None:
    """Draw what an attempt at a try-out still lacks. Done twice, it leaves the same behind.

    Raises MistakeError for what would fail again, StorageError, and GivesWay where something else waits.
    """
    _let_others_go_first(store)
    try:
        asked = tryout_work.begin(store, job.subject)
        if asked is not None:
            settle_torch(settings.worker_threads)
            _draw(store, job.subject, asked)
    except Unwanted:
        return
    except StorageError:
        raise
    except FedFlowError as error:
        raise MistakeError(str(error).replace(f"{store.folder}/", "")) from error


TASKS = {"tryout": draw}


def _draw(store: Store, about: str, asked: ToDraw) -> None:
    row, source = asked.tryout, asked.source
    model = kept_open(("release", source), lambda: _opened(store, source))
    adapter = None if source.adapter is None else stored_adapter(store.blobs, source.adapter)
    for number in range(len(row.pictures), row.count):
        if number > len(row.pictures):
            _let_others_go_first(store, about)
        picture = _picture(store, about, asked, model, adapter, number)
        if not tryout_work.keep(store, about, number, store.blobs.put(picture)):
            return


def _picture(store: Store, about: str, asked: ToDraw, model: BaseModel, adapter: Adapter | None, number: int) -> bytes:
    """One picture with its settings, as a PNG's bytes. Raises Unwanted where nobody wants it any more."""
    row, source = asked.tryout, asked.source
    told_at = time.monotonic()

    def step(done: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= NOTE_S:
            told_at = time.monotonic()
            if not tryout_work.note(store, about, row.steps * number + done):
                raise Unwanted

    if not tryout_work.note(store, about, row.steps * number):
        raise Unwanted
    size = row.size_pixels or model.resolution
    [pixels] = generate(
        model,
        [row.prompt],
        [row.seed + number],
        steps=row.steps,
        guidance=row.guidance,
        negative=row.negative,
        size=size,
        sampler=source.sampler,
        adapters=[] if adapter is None else [(adapter, row.strength)],
        step=step,
    )
    text = parameters_text(
        row.prompt,
        negative=row.negative,
        steps=row.steps,
        sampler=SAMPLERS[source.sampler][1],
        guidance=row.guidance,
        seed=row.seed + number,
        size=size,
        model_name=source.base_name,
        model_hash=source.base_hash,
        adapters=[] if adapter is None else [(asked.name, row.strength)],
    )
    return png_bytes(pixels, text)


def _opened(store: Store, source: Source) -> BaseModel:
    model = open_model(str(folder_of(store, source.base))).to(best_device())
    model.name = source.base_name  # what people know it by, and not its folder
    if source.weights is not None:
        released = load_tensors(store.blobs.get(source.weights))
        set_weights(model, {f"unet.{name}": tensor for name, tensor in released.items()})
    return model


def _let_others_go_first(store: Store, about: str | None = None) -> None:
    """Raise GivesWay where a round waits to be measured, or somebody for a chart, a download or an import."""
    if jobs.waiting(store, set(jobs.EVALUATION) - {tryout_work.KIND}):
        if about is not None:
            tryout_work.put_back(store, about)
        raise jobs.GivesWay
