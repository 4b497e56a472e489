"""Draw what was asked for. Pictures are kept as soon as they are drawn: who goes on, goes on with the next."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from fedflow.client.database.tables import Drawing, Job
from fedflow.client.services import drawings, jobs, library
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.start_picture import start_of
from fedflow.client.store import Store
from fedflow.client.worker.drawing_preview import Preview
from fedflow.client.worker.drawing_sheet import write_sheet
from fedflow.client.worker.drawing_watch import watched
from fedflow.client.worker.main import Interrupted, end, log
from fedflow.errors import AdapterError, MistakeError, RunError, is_want_of_memory, lacking_memory
from fedflow.federation.workbench import settle_torch
from fedflow.generation import generate, parameters_text, png_bytes
from fedflow.lora import Adapter
from fedflow.models import SAMPLERS, BaseModel, Start, best_device, check_fits, open_model, read_adapter
from fedflow.models.one_model import kept_open

MOST_AT_ONCE = 8
PIXELS_AT_ONCE = {"cpu": 4 * 256**2}
PIXELS_ON_A_GPU = 4 * 512**2
"""What is drawn at once of pictures that differ in their seeds alone: of small ones several take little longer than
one. Their memory grows with their pixels, and a processor that is busy with a large one gains nothing by a second."""

NOTE_S = 0.25
"""How often it is written how far a picture is, and looked whether it is still wanted."""


@dataclass(frozen=True)
class _Bench:
    """What pictures of a job are drawn with; `name` is the model's, `adapters` have their names beside them."""

    store: Store
    job: Job
    model: BaseModel
    name: str
    adapters: dict[str, tuple[str, Adapter]]
    preview: Preview


def do(store: Store, settings: ClientSettings, job: Job) -> None:
    """Draw the pictures that the job still lacks.

    Raises FedFlowError, one line, for what cannot be drawn; Interrupted where the owner wants no more for now.
    """
    settle_torch(settings.threads)
    request = drawings.request_of(job)
    shots, is_grid = drawings.shots(request), request.across is not None
    lacking = _lacking(store, job, shots, is_grid=is_grid)
    by_model = {
        model: [n for n in lacking if shots[n].model == model] for model in dict.fromkeys(shot.model for shot in shots)
    }
    with lacking_memory(no_model):
        for model, numbers in by_model.items():
            if numbers:
                _draw(store, job, request.model_copy(update={"model": model}), shots, numbers)
        if is_grid:
            write_sheet(store, job.id, request)
    jobs.note(store, job.id, job.of)


def no_model() -> RunError:
    """That memory does not suffice to open a model."""
    return RunError(
        "the machine's memory does not suffice for the model; close other programs, then resume, or choose a smaller "
        "model"
    )


def _draw(store: Store, job: Job, request: DrawRequest, shots: Sequence[DrawRequest], numbers: Sequence[int]) -> None:
    """Draw those with these numbers, which are all of the request's model. Raises as `do`."""
    is_grid, place = request.across is not None, library.place(store, request.model)
    model = kept_open(place, lambda: open_model(place).to(best_device()))
    name = library.called(store, request.model) if request.model.startswith(library.PREFIX) else model.name
    preview = Preview(drawings.preview_file(store, job.id), model)
    bench = _Bench(store, job, model, name, _adapters(store, request, model, name), preview)
    with preview, watched(model, partial(jobs.wanted, store, job.id), partial(_give_up, bench)):
        for batch in _batches(model, shots, numbers):
            for drawing in _drawn_as_fits(bench, shots, batch, _steps_before(shots, batch[0]), is_grid):
                drawings.keep(store, drawing)


def _give_up(bench: _Bench, wanted: str) -> None:
    """End the job, and with it this process, which is started anew: a thread that is in an operation heeds nothing."""
    end(bench.store, bench.job.id, jobs.PAUSED if wanted == jobs.PAUSE else jobs.STOPPED)
    bench.preview.path.unlink(missing_ok=True)
    log.warning("job %s was to end and did not: its worker ends", bench.job.id)
    os._exit(1)


def _steps_before(shots: Sequence[DrawRequest], number: int) -> int:
    """Steps of the pictures that are drawn before one: those of the models before its own, and of that one's."""
    order = list(dict.fromkeys(shot.model for shot in shots))
    place = order.index(shots[number].model), number
    return sum(drawings.steps_of(shot) for n, shot in enumerate(shots) if (order.index(shot.model), n) < place)


def _lacking(store: Store, job: Job, shots: Sequence[DrawRequest], *, is_grid: bool) -> list[int]:
    """Numbers of the pictures that are not there yet; one that was deleted meanwhile is drawn again."""
    there = drawings.of_job(store, job.id)
    if is_grid:
        cells = {each.made_from["cell"] for each in there}
        return [number for number in range(len(shots)) if number not in cells]
    seeds = {each.seed for each in there}
    return [number for number, shot in enumerate(shots) if shot.seed not in seeds]


def _batches(model: BaseModel, shots: Sequence[DrawRequest], numbers: Sequence[int]) -> Iterator[list[int]]:
    """The numbers in their order, those together that are drawn at once."""
    batch: list[int] = []
    for number in numbers:
        shot = shots[number]
        width, height = model.picture_size(shot.width_pixels, shot.height_pixels)
        pixels = PIXELS_AT_ONCE.get(model.device.type, PIXELS_ON_A_GPU)
        at_once = max(1, min(MOST_AT_ONCE, pixels // (width * height)))
        if batch and (len(batch) >= at_once or _but_seed(shots[batch[0]]) != _but_seed(shot)):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _but_seed(shot: DrawRequest) -> DrawRequest:
    return shot.model_copy(update={"seed": 0})


def _adapters(store: Store, request: DrawRequest, model: BaseModel, called: str) -> dict[str, tuple[str, Adapter]]:
    """Those of the request, read and found to fit. Raises MistakeError for one that is gone or does not fit."""
    found: dict[str, tuple[str, Adapter]] = {}
    for asset_id, _ in request.adapters:
        row = library.one(store, asset_id)
        if row is None or row.kind != library.ADAPTER:
            raise MistakeError("an adapter is no longer in the library; take it out of the form and try again")
        adapter, _ = read_adapter(library.adapter_file(store, asset_id))
        try:
            check_fits(model, adapter)
        except AdapterError as error:
            raise AdapterError(
                f"adapter '{row.name}' does not fit model '{called}' ({error}); switch it off, or choose its model"
            ) from None
        found[asset_id] = (row.name, adapter)
    return found


def _drawn_as_fits(
    bench: _Bench, shots: Sequence[DrawRequest], batch: Sequence[int], steps_before: int, is_grid: bool
) -> Iterator[Drawing]:
    """As `_drawn`, and one by one where memory does not suffice for all at once.

    Raises RunError where it does not suffice for one, with a size that needs a quarter.
    """
    with lacking_memory(lambda: _too_large(bench.model, shots[batch[0]])):
        try:
            drawn = _drawn(bench, shots, batch, steps_before, is_grid)
        except (MemoryError, RuntimeError) as error:
            if len(batch) == 1 or not is_want_of_memory(error):
                raise
        else:
            yield from drawn
            return
        steps = drawings.steps_of(shots[batch[0]])
        for place, number in enumerate(batch):
            yield from _drawn(bench, shots, [number], steps_before + place * steps, is_grid)


def _too_large(model: BaseModel, shot: DrawRequest) -> RunError:
    width, height = model.picture_size(shot.width_pixels, shot.height_pixels)
    less_wide, less_high = model.halved((width, height))
    return RunError(
        f"the machine's memory does not suffice for {width} by {height} pixels; ask for {less_wide} by {less_high}, or "
        "close other programs, then resume"
    )


def _drawn(
    bench: _Bench, shots: Sequence[DrawRequest], batch: Sequence[int], steps_before: int, is_grid: bool
) -> list[Drawing]:
    """The pictures of one batch, whose files are kept."""
    shot, noted_at = shots[batch[0]], 0.0

    def step(done: int) -> None:
        nonlocal noted_at
        if time.monotonic() - noted_at >= NOTE_S:
            noted_at = time.monotonic()
            wanted = jobs.note(bench.store, bench.job.id, steps_before + done * len(batch))
            if wanted is not None:
                raise Interrupted(wanted)

    step(0)
    size = bench.model.picture_size(shot.width_pixels, shot.height_pixels)
    bench.preview.begin()
    pictures = generate(
        bench.model,
        [shot.prompt] * len(batch),
        [shots[number].seed or 0 for number in batch],
        steps=shot.steps,
        guidance=shot.guidance,
        negative=shot.negative_prompt,
        size=size,
        sampler=shot.sampler,
        batch_size=len(batch),
        adapters=[(bench.adapters[asset_id][1], weight) for asset_id, weight in shot.adapters],
        step=step,
        start=_start(bench.store, shot, size, len(batch)),
        look=bench.preview.look,
    )
    return [
        _kept(bench, shots[number], pixels, {"cell": number} if is_grid else {})
        for number, pixels in zip(batch, pictures, strict=True)
    ]


def _kept(bench: _Bench, shot: DrawRequest, pixels: npt.NDArray[np.uint8], cell: dict[str, int]) -> Drawing:
    """A picture of the gallery, whose file is written."""
    model, seed = bench.model, shot.seed or 0
    height, width, _ = pixels.shape
    named = [(bench.adapters[asset_id][0], weight) for asset_id, weight in shot.adapters]
    text = parameters_text(
        shot.prompt,
        negative=shot.negative_prompt,
        steps=shot.steps,
        sampler=SAMPLERS[shot.sampler][1],
        guidance=shot.guidance,
        seed=seed,
        size=(width, height),
        model_name=bench.name,
        model_hash=model.content_hash,
        adapters=named,
        strength=shot.strength if shot.start else None,
    )
    over = {"start": shot.start, "mask": shot.mask, "strength": shot.strength} if shot.start else {}
    return Drawing(
        id=jobs.new_id(),
        job_id=bench.job.id,
        sha256=bench.store.blobs.put(png_bytes(pixels, text)),
        prompt=shot.prompt,
        negative=shot.negative_prompt,
        model=bench.name,
        model_hash=model.content_hash,
        adapters=[list(each) for each in named],
        seed=seed,
        steps=shot.steps,
        guidance=shot.guidance,
        sampler=shot.sampler,
        width=width,
        height=height,
        drawn_at=bench.store.clock(),
        made_from={**over, **cell},
    )


def _start(store: Store, shot: DrawRequest, size: tuple[int, int], count: int) -> Start | None:
    """The start of `count` such pictures. Raises StorageError where a file is gone, MistakeError as `start_of`."""
    if not shot.start:
        return None
    with Image.open(store.blobs.get(shot.start)) as picture:
        if not shot.mask:
            return start_of(picture, None, shot.strength, size, count)
        with Image.open(store.blobs.get(shot.mask)) as mask:
            return start_of(picture, mask, shot.strength, size, count)
