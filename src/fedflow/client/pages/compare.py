"""Compare: a prompt over its words, seeds, steps, guidance, samplers, models, adapters or their weights, as a grid."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, request, send_file, url_for
from flask_babel import gettext, ngettext

from fedflow import web
from fedflow.client.database.tables import Job
from fedflow.client.pages import current, generate_axes
from fedflow.client.services import drawings, jobs, library
from fedflow.client.services.drawings import AxisKind, DrawRequest
from fedflow.web import amounts

blueprint = Blueprint("compare", __name__)

ON_A_PAGE = 50


@blueprint.get("/compare")
def listed() -> Response:
    """All grids, newest first."""
    before = request.args.get("before", "")[:40]
    found = drawings.grids(current.store(), ON_A_PAGE + 1, before)
    older = url_for("pages.compare.listed", before=found[ON_A_PAGE - 1].id) if found[ON_A_PAGE:] else None
    lines = [_line(job) for job in found[:ON_A_PAGE]]
    return web.page("app/grids.html", lines=lines, older=older, is_first=not before)


@blueprint.get("/compare/<job_id>")
def one(job_id: str) -> Response:
    """The grid, as far as it is drawn."""
    job, wish = _grid(job_id)
    store = current.store()
    across, down = wish.across, wish.down
    assert across is not None  # noqa: S101 - `_grid` has seen to it
    shown = {each.made_from.get("cell"): each for each in drawings.of_job(store, job_id)}
    columns = [_heading(across.kind, value) for value in across.values]
    rows = [_heading(down.kind, value) for value in down.values] if down else [gettext("Picture")]
    cells = [[shown.get(row * len(columns) + column) for column in range(len(columns))] for row in range(len(rows))]
    first = next(iter(shown.values()), None)
    return web.page(
        "app/compare.html",
        fragment="live",
        shape=(first.width, first.height) if first else (wish.width_pixels or 1, wish.height_pixels or 1),
        job=job,
        wish=wish,
        columns=columns,
        rows=list(zip(rows, cells, strict=True)),
        has_sheet=drawings.sheet_file(store, job_id).is_file(),
        shared=_shared(wish),
        now=store.clock(),
    )


@blueprint.get("/compare/<job_id>.png")
def sheet(job_id: str) -> Response:
    """The whole grid as one picture."""
    _grid(job_id)
    path = drawings.sheet_file(current.store(), job_id)
    if not path.is_file():
        abort(404)
    return send_file(path, "image/png", as_attachment=True, download_name=f"grid-{job_id[:8]}.png")


def _grid(job_id: str) -> tuple[Job, DrawRequest]:
    job = jobs.one(current.store(), job_id)
    if job is None or job.kind != drawings.KIND:
        abort(404)
    wish = drawings.request_of(job)
    if wish.across is None:
        abort(404)
    return job, wish


def _line(job: Job) -> dict[str, Any]:
    wish = drawings.request_of(job)
    axes = [str(generate_axes.KINDS[axis.kind]) for axis in (wish.across, wish.down) if axis is not None]
    return {"job": job, "axes": ", ".join(axes), "pictures": len(drawings.shots(wish))}


def _shared(wish: DrawRequest) -> list[str]:
    """What the pictures of a grid have in common, in words."""
    differing = {axis.kind for axis in (wish.across, wish.down) if axis is not None}
    given: dict[AxisKind, object] = {
        "model": wish.model,
        "seed": wish.seed,
        "steps": wish.steps,
        "guidance": wish.guidance,
        "sampler": wish.sampler,
    }
    words = [_heading(kind, str(value)) for kind, value in given.items() if kind not in differing]
    if "adapter" not in differing:
        words += [
            _called("adapter", asset_id)
            if "weight" in differing
            else f"{_called('adapter', asset_id)} {amounts.setting(weight)}"
            for asset_id, weight in wish.adapters
        ]
    return [*words, *_shared_besides(wish)]


def _shared_besides(wish: DrawRequest) -> list[str]:
    """Of it what no side of a grid differs in, as far as it was chosen."""
    words = []
    if wish.width_pixels is not None:
        words.append(gettext("Width %(num)s pixels", num=wish.width_pixels))
    if wish.height_pixels is not None:
        words.append(gettext("Height %(num)s pixels", num=wish.height_pixels))
    if wish.start:
        words.append(gettext("Over a picture, where it is painted") if wish.mask else gettext("Over a whole picture"))
        words.append(gettext("Strength %(value)s", value=amounts.setting(wish.strength)))
    if wish.negative_prompt:
        words.append(gettext("Not to be shown: %(words)s", words=wish.negative_prompt))
    return words


def _heading(kind: AxisKind, value: str) -> str:
    if kind in ("adapter", "model"):
        return _called(kind, value)
    if kind == "prompt":
        return value
    if kind == "sampler":
        return dict(drawings.SAMPLERS)[value]
    if kind == "steps":
        return str(ngettext("%(num)s step", "%(num)s steps", int(value)))
    words = {
        "seed": gettext("Seed %(value)s", value=value),
        "guidance": gettext("Guidance %(value)s", value=amounts.setting(float(value))),
        "weight": gettext("Weight %(value)s", value=amounts.setting(float(value))),
    }
    return str(words[kind])


def _called(kind: AxisKind, value: str) -> str:
    """What the library calls a model or adapter."""
    row = library.one(current.store(), value.removeprefix(library.PREFIX))
    if row is not None:
        return row.name
    if kind == "model":
        return str(gettext("A model that is gone")) if value.startswith(library.PREFIX) else value
    return str(gettext("An adapter that is gone") if value else gettext("No adapter"))
