"""Train: the form with what it will cost, and each training with its loss curve, pictures and result."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, abort, redirect, request, url_for
from flask_babel import gettext, ngettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Dataset
from fedflow.client.pages import current, faults
from fedflow.client.pages.curves import loss_curve
from fedflow.client.services import datasets, drawings, jobs, library, trainings
from fedflow.client.services.trainings import TrainRequest
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.web import amounts
from fedflow.web.forms import FormField, FormGroup, Kind, describe, texts
from fedflow.web.reading import Reading, last_values, read

blueprint = Blueprint("train", __name__)

ON_A_PAGE = 50
FEW_STEPS = 10
"""A training of fewer changes hardly anything that it draws."""
RATE = "0.##########"
"""How a learning rate is written: with all of its digits."""
SHORT = (
    "name",
    "dataset",
    "trains",
    "training.epochs",
    "training.learning_rate",
    "training.batch_size",
    "lora.rank",
    "sample_prompt",
)


@blueprint.get("/train")
def listed() -> Response:
    """All trainings, newest first."""
    store = current.store()
    return web.page(
        "app/trainings.html",
        fragment="live",
        found=trainings.listed(store, ON_A_PAGE),
        has_datasets=bool(datasets.listed(store)),
        now=store.clock(),
    )


@blueprint.get("/train/new")
def form() -> Response:
    """The form; it begins with the settings of the training `like`, or with the dataset `dataset`, if named."""
    store = current.store()
    like = jobs.one(store, request.args.get("like", "")[:40])
    values = {}
    if like is not None and like.kind == trainings.KIND:
        values = texts(trainings.request_of(like))
    else:
        known = [line.dataset.id for line in datasets.listed(store)]
        wanted = request.args.get("dataset", "")
        if wanted not in known:
            wanted = next((each for each in known if trainings.usable(store, each)), next(iter(known), ""))
        sample = trainings.first_caption(store, wanted)
        values = {"dataset": wanted, "name": gettext("My adapter"), "sample_prompt": sample}
    return _page(read(TrainRequest, values))


@blueprint.post("/train/new")
def asks() -> AnyResponse:
    """Have it done, or say beside each field what is wrong."""
    reading = read(TrainRequest, last_values(request.form))
    if reading.settings is None:
        return _page(reading, is_refused=True)
    try:
        job_id = trainings.ask(current.store(), reading.settings)
    except MistakeError as error:
        return _page(faults.refused(reading, error), is_refused=True, of=reading.settings)
    return redirect(url_for("pages.train.one", job_id=job_id), 303)


@blueprint.post("/train/new/check")
def check() -> Response:
    """The form again, with what is wrong and what it would cost."""
    reading = read(TrainRequest, last_values(request.form))
    if reading.settings is None:
        return _page(reading, fragment="train_form")
    try:
        trainings.check(current.store(), reading.settings)
    except MistakeError as error:
        return _page(faults.refused(reading, error), fragment="train_form", of=reading.settings)
    return _page(reading, fragment="train_form")


@blueprint.get("/train/<job_id>")
def one(job_id: str) -> Response:
    """One training: how far it is, its curve, what it draws, what came of it."""
    store = current.store()
    job = jobs.one(store, job_id)
    if job is None or job.kind != trainings.KIND:
        abort(404)
    asked = trainings.request_of(job)
    dataset = datasets.one(store, asked.dataset)
    start = library.one(store, asked.start) if asked.start else None
    return web.page(
        "app/training.html",
        fragment="live",
        job=job,
        asked=asked,
        model=library.called(store, asked.model),
        learning_rate=amounts.decimal(asked.training.learning_rate, RATE),
        dataset=dataset,
        curve=loss_curve(trainings.losses(store, job_id), job.of),
        samples=drawings.of_job(store, job_id),
        result=library.one(store, job_id),
        changes=trainings.changes(job),
        cut=trainings.cut(job),
        start=start,
        rank=(library.rank(store, start) if start else None) if asked.start else asked.lora.rank,
        now=store.clock(),
    )


def _page(
    reading: Reading[TrainRequest],
    fragment: str | None = None,
    *,
    is_refused: bool = False,
    of: TrainRequest | None = None,
) -> Response:
    """`of` is what was asked for where a service refused it: its cost is told all the same."""
    store, asked = current.store(), reading.settings or of
    cost = None if asked is None else trainings.cost(store, asked)
    return web.page(
        "app/train.html",
        status=422 if is_refused else 200,
        fragment=fragment,
        described=_described(),
        values=reading.values,
        faults=reading.faults,
        cost=cost,
        few_steps=FEW_STEPS,
        asked=asked,
        has_pictures=asked is not None and trainings.usable(store, asked.dataset) > 0,
        has_datasets=bool(datasets.listed(store)),
    )


def _counted(store: Store, dataset: Dataset) -> str:
    """A dataset's name with how many of its pictures can be trained on."""
    usable = trainings.usable(store, dataset.id)
    if not usable:
        return str(gettext("%(name)s, no picture that can be used", name=dataset.name))
    return str(ngettext("%(name)s, %(num)s picture", "%(name)s, %(num)s pictures", usable, name=dataset.name))


def _described() -> list[FormGroup]:
    """The form with the datasets, models and adapters that there are."""
    store = current.store()
    sets = tuple((line.dataset.id, _counted(store, line.dataset)) for line in datasets.listed(store))
    models = library.models(store)
    adapters = (
        ("", gettext("a fresh adapter")),
        *((row.id, row.name) for row in library.listed(store, library.ADAPTER)),
    )
    schedules = (("cosine", gettext("falling (cosine)")), ("constant", gettext("the same (constant)")))
    kinds = (("lora", gettext("An adapter (LoRA)")), ("model", gettext("The whole model")))

    def with_choices(field: FormField) -> FormField:
        if field.name == "dataset":
            return replace(field, kind=Kind.CHOICE, choices=sets)
        if field.name == "model":
            return replace(field, kind=Kind.CHOICE, choices=models, label=gettext("Base model"))
        if field.name == "start":
            return replace(field, kind=Kind.CHOICE, choices=adapters, label=gettext("Go on from"))
        if field.name == "trains":
            return replace(field, choices=kinds, label=gettext("What is trained"))
        if field.name == "training.schedule":
            return replace(field, choices=schedules)
        return field

    return [
        replace(group, short=tuple(map(with_choices, group.short)), folded=tuple(map(with_choices, group.folded)))
        for group in describe(TrainRequest, SHORT)
    ]
