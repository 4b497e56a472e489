"""Generate: the form, what is being drawn, and the newest pictures."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from flask import Blueprint, Response, abort, redirect, request, send_file, url_for
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.pages import current, generate_axes, generate_file, generate_form
from fedflow.client.pages.faults import said
from fedflow.client.pages.generate_form import Wish
from fedflow.client.services import drawings, drawings_start, jobs, library
from fedflow.errors import MistakeError

blueprint = Blueprint("generate", __name__)

NEWEST = 24
IN_SIGHT = ("pictures", "seed")
SIDES = ("width_pixels", "height_pixels")
FOLDED = ("negative_prompt", "steps", "guidance", "sampler")
SHA256 = re.compile(r"[0-9a-f]{64}")


@blueprint.get("/")
def page() -> Response:
    """The form and what came of it. It begins with the settings of the picture `like` or of the job `job`, if named,
    or with the `model` or `adapter` of the library that is, and with the picture `start` to draw over. Where nothing
    is named it begins with what was drawn last; `empty` begins with nothing."""
    store = current.store()
    like = drawings.one(store, request.args.get("like", "")[:40])
    job = jobs.one(store, request.args.get("job", "")[:40])
    wish = Wish()
    if like is not None:
        again = drawings.again(store, like)
        wish = generate_file.of_drawing(store, like) if again is None else generate_form.of_request(store, again)
    elif job is not None and job.kind == drawings.KIND:
        wish = generate_form.of_request(store, drawings.request_of(job))
    elif "adapter" in request.args or "model" in request.args:
        wish = generate_form.of_library(store, request.args.get("model", ""), request.args.get("adapter", ""))
    elif not request.args:
        wish = generate_form.of_last(store)
    if "new" in request.args:
        wish.values.pop("seed", None)
    start = request.args.get("start", "")
    if SHA256.fullmatch(start) and drawings_start.is_there(store, start):
        wish.start, wish.mask = start, ""
    return shown(wish)


@blueprint.post("/")
def asks() -> AnyResponse:
    """Have pictures or a `grid` of them drawn, or say beside each field what is wrong."""
    as_grid = "grid" in request.form
    wish = generate_form.of_form(current.store(), request.form, as_grid=as_grid)
    if wish.request is None:
        return shown(wish)
    job_id = drawings.ask(current.store(), wish.request)
    if as_grid:
        return redirect(url_for("pages.compare.one", job_id=job_id), 303)
    new = "" if wish.request.seed is None else None
    return redirect(url_for("pages.generate.page", job=job_id, new=new) + "#drawn", 303)


@blueprint.get("/drawn")
def drawn() -> Response:
    """What is under way and the newest pictures, as the page asks for them while something is."""
    return web.page("app/drawn.html", **_drawn())


@blueprint.post("/from-file")
def reads() -> Response:
    """The form filled with the settings that a picture's file carries."""
    try:
        wish = generate_file.of_file(current.store(), _sent("settings"))
    except MistakeError as error:
        answer = web.page("app/generate_told.html", reason=said(str(error)))
        answer.headers["HX-Retarget"] = "#told"
        return answer
    return web.page("app/generate_form.html", is_filled=True, **_form(wish))


@blueprint.post("/start")
def takes_start() -> Response:
    """The part of the form about the picture to start from, with the one that was sent."""
    try:
        start, faults = drawings_start.take_in(current.store(), _sent("picture")), []
    except MistakeError as error:
        start, faults = "", [said(str(error))]
    return _start(Wish(start=start, faults={"start": faults}))


@blueprint.get("/start")
def shows_start() -> Response:
    """The same part, with the picture and mask that are named, or none."""
    start, mask = request.args.get("start", ""), request.args.get("mask", "")
    store = current.store()
    is_kept = bool(SHA256.fullmatch(start)) and drawings_start.is_there(store, start)
    return _start(Wish(start=start if is_kept else "", mask=mask if is_kept and SHA256.fullmatch(mask) else ""))


@blueprint.get("/start/<sha256>.png")
def start_picture(sha256: str) -> Response:
    """A picture to start from, or a mask."""
    store = current.store()
    if not SHA256.fullmatch(sha256) or not drawings_start.is_there(store, sha256):
        abort(404)
    return send_file(store.blobs.local(sha256), "image/png", etag=sha256, max_age=31_536_000)


@blueprint.post("/gallery/<drawing_id>/start")
def starts(drawing_id: str) -> AnyResponse:
    """The form with a picture of the gallery to draw over."""
    drawing = drawings.one(current.store(), drawing_id) or abort(404)
    sha256 = drawings_start.take_in_drawing(current.store(), drawing)
    return redirect(url_for("pages.generate.page", like=drawing_id, new="", start=sha256), 303)


@blueprint.get("/previews/<job_id>.png")
def preview(job_id: str) -> Response:
    """What a running job draws, small; nothing where it was drawn meanwhile."""
    job = jobs.one(current.store(), job_id) or abort(404)
    path = drawings.preview_file(current.store(), job.id)
    try:
        response = Response(path.read_bytes(), mimetype="image/png")
    except OSError:
        response = Response(status=204)
    response.headers["Cache-Control"] = "no-store"
    return response


def shown(wish: Wish) -> Response:
    """The page with this form."""
    return web.page("app/generate.html", status=422 if wish.faults else 200, **_form(wish), **_drawn())


def _form(wish: Wish) -> dict[str, Any]:
    store = current.store()
    fields = generate_form.fields()
    return {
        "fields": fields,
        "values": wish.values,
        "faults": wish.faults,
        "wish": wish,
        "in_sight": IN_SIGHT,
        "sides": [replace(fields[name], help="", unit="", optional=False) for name in SIDES],
        "canvas": _canvas(wish),
        "folded": FOLDED,
        "models": generate_form.models(store),
        "models_to_compare": library.models(store),
        "axis_kinds": list(generate_axes.KINDS.items()),
        "axis_help": generate_axes.HELP,
        "adapters": library.listed(store, library.ADAPTER),
    }


def _start(wish: Wish) -> Response:
    return web.page(
        "app/generate_start.html",
        wish=wish,
        fields=generate_form.fields(),
        values={},
        faults=wish.faults,
        canvas=_canvas(wish),
    )


def _canvas(wish: Wish) -> tuple[int, int] | None:
    """Width and height of the canvas over the picture to start from; None where there is none."""
    if not wish.start:
        return None
    return drawings_start.canvas_of(drawings_start.size_of(current.store(), wish.start))


def _sent(name: str) -> bytes:
    """The file that was sent. Raises MistakeError where there is none, or it is too large."""
    if (request.content_length or 0) > drawings_start.MOST_BYTES:
        raise MistakeError(f"the file has more than {drawings_start.MOST_BYTES // 1_000_000} MB; choose a smaller one")
    file = request.files.get(name)
    if file is None:
        raise MistakeError("no file was sent; choose one")
    return file.stream.read(drawings_start.MOST_BYTES + 1)


def _drawn() -> dict[str, Any]:
    store = current.store()
    under_way, newest = jobs.under_way(store, (drawings.KIND,)), jobs.newest(store, drawings.KIND)
    return {
        "under_way": under_way,
        "previews": {job.id: _preview_mark(job.id) for job in under_way},
        "pictures": drawings.listed(store, "", NEWEST),
        "failed": [newest] if newest is not None and newest.status in jobs.WENT_WRONG else [],
        "now": store.clock(),
    }


def _preview_mark(job_id: str) -> str:
    """When the preview was made, so that a browser asks for a newer one; empty where there is none."""
    try:
        return str(drawings.preview_file(current.store(), job_id).stat().st_mtime_ns)
    except OSError:
        return ""
