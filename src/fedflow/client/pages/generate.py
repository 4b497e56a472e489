"""Generate: the form, what is being drawn, and the newest pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Drawing
from fedflow.client.pages import current
from fedflow.client.services import drawings, jobs, library
from fedflow.client.services.drawings import DrawRequest
from fedflow.plan import STARTER
from fedflow.web.forms import FormField, Kind, describe, texts
from fedflow.web.reading import Reading, last_values, read

blueprint = Blueprint("generate", __name__)

NEWEST = 24
SAMPLERS = (("unipc", "UniPC"), ("dpm++", "DPM++ 2M"), ("ddim", "DDIM"), ("euler", "Euler"), ("euler-a", "Euler a"))
"""As `fedflow.models.SAMPLERS`, which would bring torch along."""

IN_SIGHT = ("model", "pictures", "size_pixels", "seed")
FOLDED = ("negative_prompt", "steps", "guidance", "sampler")
ADD, WEIGHT, ON = "add-adapter", "weight-", "on-"
"""Names in the form: the adapter that is added, and by adapter its weight and whether it acts."""

OTHER = "other-model"
"""The field for a model that is not in the library: a path, or a name on the hub."""


@dataclass(frozen=True)
class AdapterRow:
    """An adapter in the form. `fits` says whether it was trained on the chosen model, as far as that is known."""

    id: str
    name: str
    trigger: str
    weight: str
    is_on: bool
    fits: bool


@blueprint.get("/")
def page() -> Response:
    """The form and what came of it. It begins with the settings of the picture `like` or of the job `job`, if named."""
    like = drawings.one(current.store(), request.args.get("like", "")[:40])
    job = jobs.one(current.store(), request.args.get("job", "")[:40])
    values: dict[str, str] = {}
    if like is not None:
        values = _values(like)
    elif job is not None and job.kind == drawings.KIND:
        values = texts(drawings.request_of(job))
    elif "adapter" in request.args:
        values = _with_adapter(request.args["adapter"][:80])
    elif "model" in request.args:
        values = {"model": request.args["model"][:400]}
    if "new" in request.args:
        values.pop("seed", None)
    rows = {adapter: (weight, True) for adapter, weight in _pairs(values.get("adapters", ""))}
    return _page(Reading(None, values), rows)


@blueprint.post("/")
def asks() -> AnyResponse:
    """Have pictures drawn, or say beside each field what is wrong."""
    form = last_values(request.form)
    rows = {
        name.removeprefix(WEIGHT): (weight, ON + name.removeprefix(WEIGHT) in form)
        for name, weight in form.items()
        if name.startswith(WEIGHT)
    }
    form["adapters"] = "\n".join(f"{adapter}:{weight}" for adapter, (weight, is_on) in rows.items() if is_on)
    form["model"] = form.get(OTHER, "").strip() or form.get("model", STARTER)
    reading: Reading[DrawRequest] = read(DrawRequest, form)
    if form.get(ADD):
        rows.setdefault(form[ADD], ("1", True))
        return _page(Reading(None, reading.values), rows)
    if reading.settings is None:
        return _page(reading, rows)
    job_id = drawings.ask(current.store(), reading.settings)
    new = "" if reading.settings.seed is None else None
    return redirect(url_for("pages.generate.page", job=job_id, new=new) + "#drawn", 303)


@blueprint.get("/drawn")
def drawn() -> Response:
    """What is under way and the newest pictures, as the page asks for them while something is."""
    return web.page("app/drawn.html", **_drawn())


def _page(reading: Reading[DrawRequest], rows: dict[str, tuple[str, bool]]) -> Response:
    store = current.store()
    known = {row.id: row for row in library.listed(store, library.ADAPTER)}
    chosen = _hash_of(reading.values.get("model", STARTER))
    return web.page(
        "app/generate.html",
        status=422 if reading.faults else 200,
        fields=_fields(),
        values=reading.values,
        faults=reading.faults,
        adapters=[
            AdapterRow(
                row.id, row.name, row.trigger, weight, is_on, not (row.base_hash and chosen) or row.base_hash == chosen
            )
            for row, (weight, is_on) in ((known[each], rows[each]) for each in rows if each in known)
        ],
        addable=[(row.id, row.name) for row in known.values() if row.id not in rows],
        is_other=_is_other(reading.values.get("model", STARTER)),
        in_sight=IN_SIGHT,
        folded=FOLDED,
        **_drawn(),
    )


def _drawn() -> dict[str, Any]:
    store = current.store()
    return {
        "under_way": jobs.under_way(store, (drawings.KIND,)),
        "pictures": drawings.listed(store, "", NEWEST),
        "failed": [job for job in jobs.listed(store, 1) if job.status in (jobs.FAILED, jobs.DIED)],
        "now": store.clock(),
    }


def _fields() -> dict[str, FormField]:
    [group] = describe(DrawRequest)
    found = {each.name: each for each in group.fields}
    found["sampler"] = replace(found["sampler"], kind=Kind.CHOICE, choices=SAMPLERS)
    models = [(STARTER, STARTER)]
    models += [(library.PREFIX + row.id, row.name) for row in library.listed(current.store(), library.MODEL)]
    found["model"] = replace(found["model"], kind=Kind.CHOICE, choices=tuple(models))
    return found


def _is_other(model: str) -> bool:
    """Whether a model is neither the starter nor one of the library."""
    return model != STARTER and not model.startswith(library.PREFIX)


def _hash_of(model: str) -> str:
    """The content of a model of the library; empty where only opening it tells."""
    row = library.one(current.store(), model.removeprefix(library.PREFIX)) if model.startswith(library.PREFIX) else None
    return "" if row is None else row.base_hash


def _with_adapter(asset_id: str) -> dict[str, str]:
    """The form's values for an adapter of the library: with the model that it was trained on, where that is here."""
    row = library.one(current.store(), asset_id)
    if row is None:
        return {}
    models = library.listed(current.store(), library.MODEL)
    base = next((library.PREFIX + each.id for each in models if each.base_hash == row.base_hash), STARTER)
    return {"adapters": f"{asset_id}:1", "model": base, "prompt": row.trigger}


def _pairs(text: str) -> list[tuple[str, str]]:
    """Adapters and weights of a form's lines."""
    found = (line.rpartition(":") for line in text.split("\n") if line.strip())
    return [(adapter, weight) for adapter, _, weight in found]


def _values(drawing: Drawing) -> dict[str, str]:
    store = current.store()
    models = {row.name: library.PREFIX + row.id for row in library.listed(store, library.MODEL)}
    adapters = {row.name: row.id for row in library.listed(store, library.ADAPTER)}
    return {
        "model": models.get(drawing.model, drawing.model),
        "adapters": "\n".join(f"{adapters[name]}:{weight:g}" for name, weight in drawing.adapters if name in adapters),
        "prompt": drawing.prompt,
        "negative_prompt": drawing.negative,
        "steps": str(drawing.steps),
        "guidance": f"{drawing.guidance:g}",
        "sampler": drawing.sampler,
        "size_pixels": str(drawing.width),
        "seed": str(drawing.seed),
        "pictures": "1",
    }
