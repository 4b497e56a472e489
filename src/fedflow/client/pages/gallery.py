"""The gallery: all pictures that were drawn here, searched by words; one picture with its settings."""

from __future__ import annotations

from flask import Blueprint, Response, abort, flash, redirect, request, send_file, url_for
from flask_babel import gettext
from PIL import Image
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Drawing
from fedflow.client.pages import current
from fedflow.client.services import drawings
from fedflow.web import amounts
from fedflow.web.states import State

blueprint = Blueprint("gallery", __name__)

ON_A_PAGE = 60
YEAR_S = 31_536_000


@blueprint.get("/gallery")
def page() -> Response:
    """The newest pictures that hold the words looked for and were drawn with the model and adapter chosen."""
    text, before = request.args.get("text", "").strip()[:200], request.args.get("before", "")[:40]
    model, adapter = request.args.get("model", "")[:500], request.args.get("adapter", "")[:200]
    store = current.store()
    found = drawings.listed(store, text, ON_A_PAGE + 1, before, model=model, adapter=adapter)
    kept = {"text": text or None, "model": model or None, "adapter": adapter or None}
    older = url_for("pages.gallery.page", **kept, before=found[ON_A_PAGE - 1].id) if found[ON_A_PAGE:] else None  # type: ignore[arg-type]
    models, adapters = drawings.used(store)
    return web.page(
        "app/gallery.html",
        pictures=found[:ON_A_PAGE],
        text=text,
        model=model,
        adapter=adapter,
        models=[(name, name) for name in models],
        adapters=[(name, name) for name in adapters],
        older=older,
        is_first=not before,
    )


@blueprint.get("/gallery/<drawing_id>")
def one(drawing_id: str) -> Response:
    """One picture, its settings as text to copy."""
    drawing = _drawing(drawing_id)
    with Image.open(current.store().blobs.local(drawing.sha256)) as image:
        settings = str(image.info.get("parameters", ""))
    sampler = dict(drawings.SAMPLERS).get(drawing.sampler, drawing.sampler)
    adapters = "; ".join(f"{name} {amounts.setting(weight)}" for name, weight in drawing.adapters)
    return web.page("app/picture.html", drawing=drawing, settings=settings, adapters=adapters, sampler=sampler)


@blueprint.get("/pictures/<drawing_id>.png")
def picture(drawing_id: str) -> Response:
    """The file."""
    drawing = _drawing(drawing_id)
    path = current.store().blobs.local(drawing.sha256)
    return send_file(path, "image/png", download_name=f"{drawing.seed}.png", etag=drawing.sha256, max_age=YEAR_S)


@blueprint.post("/gallery/<drawing_id>/delete")
def deletes(drawing_id: str) -> AnyResponse:
    """Take it out for good."""
    drawings.remove(current.store(), drawing_id)
    flash(gettext("The picture is deleted."), State.DONE)
    return redirect(url_for("pages.gallery.page"), 303)


def _drawing(drawing_id: str) -> Drawing:
    found = drawings.one(current.store(), drawing_id)
    if found is None:
        abort(404)
    return found
