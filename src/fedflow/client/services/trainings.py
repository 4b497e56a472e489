"""Trainings on this machine: what one asks for, what it will cost, and how its loss goes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert

from fedflow.client.database.tables import Job, Loss, Picture
from fedflow.client.memory import gpu_free_bytes
from fedflow.client.services import datasets, jobs, library, library_shapes
from fedflow.client.store import Store
from fedflow.client.training_cost import Cost, cost_of
from fedflow.errors import MistakeError
from fedflow.plan import STARTER, Lora, Settings, Training

KIND = "train"
CHANGES, CUT = "changes", "captions_cut"
"""What a job's `asked` calls them."""
LONGEST_PROMPT = 2000


class LocalTraining(Training):
    """How long and how hard it learns."""

    epochs: int = Field(10, ge=1, le=100_000, description="Passes over the pictures.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1e-3,
        strict=False,
        description="How far a step moves what is learnt (peak, AdamW); training diverges where it is too high.",
    )
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Learning rate over the steps: the same throughout, or down to zero along a cosine."
    )
    checkpoint_every: int = Field(
        25,
        ge=1,
        description="Steps between checkpoints; what dies goes on from the last one, and a pause loses nothing.",
    )


class TrainRequest(Settings):
    """A training on one dataset of this machine."""

    name: str = Field(min_length=1, max_length=80, description="What the result is called in the library.")
    dataset: str = Field(min_length=1, description="The pictures that are trained on; they stay where they are.")
    trains: Literal["lora", "model"] = Field(
        "lora", description="An adapter (LoRA) is small and goes with its base model; a whole model stands alone."
    )
    model: str = Field(STARTER, min_length=1, description="The base model that learns.")
    start: str = Field("", description="An adapter to go on from; its own rank and strength are kept.")
    size_pixels: int | None = Field(
        None, ge=16, le=2048, description="Side of the training pictures; the model's own if empty."
    )
    seed: int = Field(0, ge=0, le=2**32 - 1, description="Every random number of the training follows from it.")
    sample_prompt: str = Field(
        "",
        max_length=LONGEST_PROMPT,
        description="What is drawn on the way and at the end to see how it goes; nothing if empty.",
    )
    sample_every: int = Field(100, ge=1, description="Steps between two such pictures.")
    lora: Lora = Lora()
    training: LocalTraining = LocalTraining()

    @property
    def trains_adapter(self) -> bool:
        """Whether an adapter is trained rather than the whole UNet."""
        return self.trains == "lora"


@dataclass(frozen=True)
class Change:
    """Other pictures or captions from `step` on: `before` pictures up to it, `since` after it."""

    step: int
    before: int
    since: int


def check(store: Store, request: TrainRequest) -> None:
    """Raise MistakeError, which names the field, for what cannot be trained."""
    dataset = datasets.one(store, request.dataset)
    if dataset is None:
        raise MistakeError("dataset: it is no longer here; choose another")
    if not datasets.is_there(dataset):
        raise MistakeError("dataset: its folder is not where it was; its page says how to go on")
    if not usable(store, dataset.id):
        raise MistakeError("dataset: none of its pictures can be used; its page says why")
    if request.start and not request.trains_adapter:
        raise MistakeError("start: a whole model goes on from no adapter; choose none")
    if request.start and library.one(store, request.start) is None:
        raise MistakeError("start: it is no longer in the library; choose another")
    library.place(store, request.model)
    if request.start and not library_shapes.fits(store, request.start, request.model):
        raise MistakeError("start: it does not fit the base model; choose another, or none")


def ask(store: Store, request: TrainRequest) -> str:
    """Have a training done; gives the job's identifier. Raises MistakeError as `check`, and for want of disk."""
    check(store, request)
    found = cost(store, request)
    if found is not None and found.lacks_disk:
        raise MistakeError("the disk has not enough free for it; free some space, or take a smaller model")
    with store.begin() as session:
        steps = request.training.steps(usable(store, request.dataset))
        return jobs.add(session, KIND, request.name, request.model_dump(mode="json"), steps, store.clock()).id


def request_of(job: Job) -> TrainRequest:
    """What was asked for."""
    return TrainRequest.model_validate({name: value for name, value in job.asked.items() if name not in (CHANGES, CUT)})


def note_change(store: Store, job_id: str, change: Change) -> None:
    """Note that a training goes on with other pictures or captions; one that was killed since notes it once."""
    with store.begin() as session:
        job = session.get_one(Job, job_id)
        kept = [each for each in changes(job) if each.step < change.step]
        job.asked = {**job.asked, CHANGES: [asdict(each) for each in (*kept, change)]}
        job.changed_at = store.clock()


def changes(job: Job) -> list[Change]:
    """Where a training went on with other pictures or captions than before, by step."""
    return [Change(**each) for each in job.asked.get(CHANGES, ())]


def note_cut(store: Store, job_id: str, captions: int) -> None:
    """Note how many captions the model reads the beginning of only."""
    with store.begin() as session:
        job = session.get_one(Job, job_id)
        job.asked = {**job.asked, CUT: captions}
        job.changed_at = store.clock()


def cut(job: Job) -> int:
    """How many captions the model reads the beginning of only; 0 before it has been looked."""
    found: int = job.asked.get(CUT, 0)
    return found


def usable(store: Store, dataset_id: str) -> int:
    """How many pictures of a dataset can be trained on."""
    query = select(func.count()).where(Picture.dataset_id == dataset_id, Picture.problem == "")
    with store.read() as session:
        return session.scalar(query) or 0


def first_caption(store: Store, dataset_id: str) -> str:
    """The caption of the first usable picture that has one, to be drawn on the way; empty where none has."""
    query = select(Picture.caption).where(
        Picture.dataset_id == dataset_id, Picture.problem == "", Picture.caption != ""
    )
    with store.read() as session:
        return (session.scalar(query.order_by(Picture.path).limit(1)) or "")[:LONGEST_PROMPT]


def cost(store: Store, request: TrainRequest) -> Cost | None:
    """What it will take; None where the model's size is not known here, or no picture can be used."""
    pictures, shapes = usable(store, request.dataset), library_shapes.shapes_here(store, request.model)
    if not pictures or shapes is None:
        return None
    return cost_of(
        as_trained(store, request),
        shapes.at(request.size_pixels),
        pictures,
        store.folder,
        gpu_free=gpu_free_bytes(store.folder),
        pace=measured_pace(store, request),
    )


def as_trained(store: Store, request: TrainRequest) -> TrainRequest:
    """The request with what is really trained: the rank of the adapter to go on from, on the parts that it adapts."""
    start = library.one(store, request.start) if request.start else None
    if start is None:
        return request
    kept = {
        "rank": library.rank(store, start) or request.lora.rank,
        "text_encoder": library_shapes.adapts_text_encoder(store, start.id),
    }
    return request.model_copy(update={"lora": request.lora.model_copy(update=kept)})


def measured_pace(store: Store, request: TrainRequest) -> float | None:
    """Floating-point operations a second of the last training on this machine; None where there was none.

    Of one that trained as much of the same model, where there was such a one: a small model's steps are mostly
    overhead, and would make a large one's look slow.
    """
    base, kind = library.called(store, request.model), library.ADAPTER if request.trains_adapter else library.MODEL
    known = [
        (row.base == base, row.kind == kind, pace)
        for row in library.listed(store)
        if row.origin.get("how") == "trained" and isinstance(pace := row.origin.get("flops_s"), float) and pace > 0
    ]
    return max(known, key=lambda each: each[:2])[2] if known else None


def note_losses(store: Store, job_id: str, found: dict[int, float]) -> None:
    """Keep the losses of steps, counted from 1; a step that is done again replaces what it was."""
    if not found:
        return
    rows = [{"job_id": job_id, "step": step, "loss": loss} for step, loss in found.items()]
    fresh = insert(Loss)
    with store.begin() as session:
        session.execute(
            fresh.on_conflict_do_update(index_elements=["job_id", "step"], set_={"loss": fresh.excluded.loss}), rows
        )


def losses(store: Store, job_id: str) -> list[tuple[int, float]]:
    """Steps and their losses, in order."""
    query = select(Loss.step, Loss.loss).where(Loss.job_id == job_id).order_by(Loss.step)
    with store.read() as session:
        return [(step, loss) for step, loss in session.execute(query)]


def round_losses(store: Store, membership_id: str, run_id: str) -> dict[int, list[tuple[int, float]]]:
    """Steps and their losses of this machine's trainings for a run, by round; one that began anew counts from there."""
    asked, found = Job.asked, dict[int, dict[int, float]]()
    query = (
        select(asked["round"].as_integer(), Loss.step, Loss.loss)
        .join(Loss, Loss.job_id == Job.id)
        .where(Job.kind == jobs.ROUND, asked["membership"].as_string() == membership_id)
        .where(asked["run"].as_string() == run_id)
        .order_by(Job.id, Loss.step)
    )
    with store.read() as session:
        for number, step, loss in session.execute(query):
            if step == 1 or number not in found:
                found[number] = {}
            found[number][step] = loss
    return {number: sorted(steps.items()) for number, steps in sorted(found.items())}


def listed(store: Store, limit: int) -> list[Job]:
    """The newest trainings, newest first."""
    query = select(Job).where(Job.kind == KIND).order_by(Job.id.desc()).limit(limit)
    with store.read() as session:
        return list(session.scalars(query))


def folder(store: Store, job_id: str) -> Path:
    """Where a training keeps its checkpoint."""
    return store.folder / "trainings" / job_id
