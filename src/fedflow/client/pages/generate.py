"""Generate: the form, what is being drawn, and the newest pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, redirect, request, url_for
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Drawing
from fedflow.client.pages import current
from fedflow.client.services import drawings, jobs
from fedflow.client.services.drawings import DrawRequest
from fedflow.web.forms import FormField, Kind, describe, texts
from fedflow.web.reading import Reading, last_values, read

blueprint = Blueprint("generate", __name__)

NEWEST = 24
SAMPLERS = (("unipc", "UniPC"), ("dpm++", "DPM++ 2M"), ("ddim", "DDIM"), ("euler", "Euler"), ("euler-a", "Euler a"))
"""As `fedflow.models.SAMPLERS`, which would bring torch along."""

IN_SIGHT = ("pictures", "size_pixels", "seed")
FOLDED = ("model", "negative_prompt", "steps", "guidance", "sampler")


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
    if "new" in request.args:
        values.pop("seed", None)
    return _page(Reading(None, values))


@blueprint.post("/")
def asks() -> AnyResponse:
    """Have pictures drawn, or say beside each field what is wrong."""
    reading: Reading[DrawRequest] = read(DrawRequest, last_values(request.form))
    if reading.settings is None:
        return _page(reading)
    job_id = drawings.ask(current.store(), reading.settings)
    new = "" if reading.settings.seed is None else None
    return redirect(url_for("pages.generate.page", job=job_id, new=new) + "#drawn", 303)


@blueprint.get("/drawn")
def drawn() -> Response:
    """What is under way and the newest pictures, as the page asks for them while something is."""
    return web.page("app/drawn.html", **_drawn())


def _page(reading: Reading[DrawRequest]) -> Response:
    return web.page(
        "app/generate.html",
        status=422 if reading.faults else 200,
        fields=_fields(),
        values=reading.values,
        faults=reading.faults,
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
    return found


def _values(drawing: Drawing) -> dict[str, str]:
    return {
        "model": drawing.model,
        "prompt": drawing.prompt,
        "negative_prompt": drawing.negative,
        "steps": str(drawing.steps),
        "guidance": f"{drawing.guidance:g}",
        "sampler": drawing.sampler,
        "size_pixels": str(drawing.width),
        "seed": str(drawing.seed),
        "pictures": "1",
    }
