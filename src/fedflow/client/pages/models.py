"""Models and adapters of this machine: the list, taking one in, joining several, and each with where it comes from."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

from flask import Blueprint, Response, abort, flash, redirect, request, send_file, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Asset
from fedflow.client.pages import arriving, current, faults, sending
from fedflow.client.services import (
    arrivals,
    consents,
    drawings,
    fetching,
    jobs,
    library,
    memberships,
    shelving,
    shelving_uploads,
)
from fedflow.client.services.shelving import ImportRequest, MergeRequest
from fedflow.errors import FedFlowError, MistakeError
from fedflow.web.forms import Kind, describe
from fedflow.web.reading import WORDS, Reading, last_values, read
from fedflow.web.states import State

blueprint = Blueprint("models", __name__)

EXAMPLES = 8
COMING = (*shelving.KINDS, fetching.KIND)
FILES = "files"
"""The form's field of the file that is sent; `place` is another."""
CHUNK_BYTES = 4_000_000
BEGINNING_OF_TIME = (1980, 1, 1, 0, 0, 0)


@blueprint.get("/models")
def listed() -> Response:
    """All of them, and what is on its way."""
    store = current.store()
    return web.page(
        "app/models.html",
        fragment="live",
        models=library.listed(store, library.MODEL),
        adapters=library.listed(store, library.ADAPTER),
        coming=jobs.under_way(store, COMING),
        failed=[job for job in jobs.listed(store, 5) if job.kind in COMING and job.status in jobs.WENT_WRONG],
        now=store.clock(),
    )


@blueprint.get("/models/import")
def import_form() -> Response:
    """What is to be taken in."""
    return _import_page(Reading(None, {}))


@blueprint.post("/models/import")
def imports() -> AnyResponse:
    """Take it in, a file that was sent or what lies at a place, or say what is wrong."""
    store, sent = current.store(), last_values(request.form)
    files = [each for each in request.files.getlist(FILES) if each.filename]
    try:
        came = arriving.arrived(arrivals.MODEL)
    except MistakeError as error:
        return _refused(Reading(None, sent, {FILES: [faults.said(str(error))]}))
    ways = len(files) + (came is not None) + bool(sent.get("place", "").strip())
    if ways != 1:
        either = gettext("Give either one file or the place where it is.")
        return _refused(Reading(None, sent, {FILES: [either]}))
    called = shelving_uploads.called(str(files[0].filename)) if files else came[0].name if came else sent["place"]
    reading = read(ImportRequest, sent | {"place": called})
    if reading.settings is None:
        return _refused(reading)
    try:
        if files or came:
            shelving_uploads.take_in(store, reading.settings, came[1] if came else Path(files[0].stream.name))
        else:
            shelving.take_in(store, reading.settings)
    except FedFlowError as error:
        wrong = faults.refused(reading, error).faults
        of_what = FILES if files or came else ""
        if came and "" in wrong and isinstance(error, MistakeError):
            # The file itself; where a field is wrong, or a disk full, it is sent again with the same file.
            arrivals.drop(store, came[0].id)
        return _refused(Reading(None, sent, {name or of_what: said for name, said in wrong.items()}))
    if came:
        arrivals.drop(store, came[0].id)
    return sending.led_to(url_for("pages.models.listed"))


@blueprint.get("/models/merge")
def merge_form() -> Response:
    """Which adapters become one, with which weights."""
    return _merge_page({}, {})


@blueprint.post("/models/merge")
def merges() -> AnyResponse:
    """Join them, or say what is wrong."""
    sent = last_values(request.form)
    weights = {name.removeprefix("weight-"): text for name, text in sent.items() if name.startswith("weight-")}
    chosen = request.form.getlist("part")
    name = " ".join(sent.get("name", "").split())[:80]
    parts = tuple((part, _number(weights.get(part, "1"))) for part in chosen)
    wrong = {field: [faults.said(why)] for field, why in shelving.wrong_parts(current.store(), parts).items()}
    if not name:
        wrong["name"] = [str(WORDS["missing"])]
    if wrong:
        return _merge_page(weights, wrong, chosen, name)
    shelving.merge(current.store(), MergeRequest(name=name, parts=parts))
    return redirect(url_for("pages.models.listed"), 303)


@blueprint.get("/models/<asset_id>")
def one(asset_id: str) -> Response:
    """One model or adapter: what it is, where it comes from, what was drawn with it."""
    store, row = current.store(), _row(asset_id)
    writing = shelving.of(store, asset_id)  # before the file that it leaves
    models = library.listed(store, library.MODEL)
    base, is_adapter = library.base_of(row, models), row.kind == library.ADAPTER
    made_from = [] if is_adapter else library.listed(store, library.ADAPTER)
    return web.page(
        "app/model.html",
        fragment="live",
        row=row,
        origin=row.origin,
        base=base,
        rank=library.rank(store, row) if is_adapter else None,
        run_link=_run_link(row),
        parent=library.one(store, row.origin["start"]["id"]) if "start" in row.origin else None,
        descendants=[each for each in made_from if _id_of(library.base_of(each, models)) == row.id],
        pictures=drawings.listed(store, "", EXAMPLES, **{row.kind: row.name}),
        is_written=row.kind == library.MODEL and library.checkpoint(store, asset_id).is_file(),
        writing=writing,
        trained=jobs.one(store, asset_id) if row.origin.get("how") == "trained" else None,
        now=store.clock(),
    )


@blueprint.post("/models/<asset_id>/name")
def renames(asset_id: str) -> AnyResponse:
    """Call it something else."""
    try:
        library.rename(current.store(), _row(asset_id).id, request.form.get("name", "")[:200])
    except MistakeError as error:
        flash(faults.said(str(error)), State.FAILED)
    return redirect(url_for("pages.models.one", asset_id=asset_id), 303)


@blueprint.post("/models/<asset_id>/trigger")
def sets_trigger(asset_id: str) -> AnyResponse:
    """Say which words call an adapter."""
    try:
        library.set_trigger(current.store(), _row(asset_id).id, request.form.get("trigger", ""))
    except MistakeError as error:
        flash(faults.said(str(error)), State.FAILED)
    return redirect(url_for("pages.models.one", asset_id=asset_id), 303)


@blueprint.post("/models/<asset_id>/delete")
def deletes(asset_id: str) -> AnyResponse:
    """Delete it, files too."""
    library.remove(current.store(), _row(asset_id).id)
    flash(gettext("It is deleted."), State.DONE)
    return redirect(url_for("pages.models.listed"), 303)


@blueprint.post("/models/<asset_id>/export")
def exports(asset_id: str) -> AnyResponse:
    """Have a model written as one file."""
    try:
        shelving.export(current.store(), _row(asset_id).id)
    except MistakeError as error:
        flash(faults.said(str(error)), State.FAILED)
    return redirect(url_for("pages.models.one", asset_id=asset_id), 303)


@blueprint.get("/models/<asset_id>/<layout>.safetensors")
def content(asset_id: str, layout: str) -> AnyResponse:
    """The file of an adapter in one layout, or of a model as one checkpoint."""
    row, store = _row(asset_id), current.store()
    if row.kind == library.ADAPTER and layout in library.ADAPTER_FILES:
        path = library.folder(store, asset_id) / library.ADAPTER_FILES[layout]
        name = f"{row.name}{'.kohya' if layout == 'kohya' else ''}.safetensors"
    elif row.kind == library.MODEL and layout == "checkpoint":
        path, name = library.checkpoint(store, asset_id), f"{row.name}.safetensors"
    else:
        abort(404)
    if not path.is_file():
        abort(404)
    return send_file(path, "application/octet-stream", as_attachment=True, download_name=name)


@blueprint.get("/models/<asset_id>/diffusers.zip")
def folder(asset_id: str) -> AnyResponse:
    """A model's folder in the diffusers layout, packed as it is sent."""
    row = _row(asset_id)
    if row.kind != library.MODEL:
        abort(404)
    answer = Response(_packed(library.folder(current.store(), asset_id)), mimetype="application/zip")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{row.name}.zip")
    return answer


class _Pipe:
    """What a zip is written into that is sent as it is made: it goes forward only."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, content: bytes) -> int:
        self._held.append(bytes(content))
        return len(content)

    def flush(self) -> None:
        """Nothing waits here."""

    def taken(self) -> bytes:
        """What was written since the last time."""
        held, self._held = b"".join(self._held), []
        return held


def _packed(place: Path) -> Iterator[bytes]:
    """The files of a folder as an uncompressed zip, some megabytes at a time."""
    pipe = _Pipe()
    with zipfile.ZipFile(cast(IO[bytes], pipe), "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(each for each in place.rglob("*") if each.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(place).as_posix(), BEGINNING_OF_TIME)
            with path.open("rb") as file, archive.open(entry, "w", force_zip64=True) as packed:
                while chunk := file.read(CHUNK_BYTES):
                    packed.write(chunk)
                    yield pipe.taken()
    yield pipe.taken()


def _refused(reading: Reading[ImportRequest]) -> AnyResponse:
    if sending.is_script():
        return sending.told(" ".join(said for beside in reading.faults.values() for said in beside))
    return _import_page(reading)


def _import_page(reading: Reading[ImportRequest]) -> Response:
    kinds = (("adapter", gettext("An adapter (LoRA)")), ("model", gettext("A model")))
    [group] = describe(ImportRequest)
    found = {field.name: field for field in group.fields}
    fields = [
        replace(found["place"], label=gettext("Or where it is"), required=False),
        found["name"],
        replace(found["base"], kind=Kind.CHOICE, choices=library.models(current.store()), label=gettext("Base model")),
    ]
    return web.page(
        "app/import.html",
        status=422 if reading.faults else 200,
        kind=replace(found["kind"], choices=kinds, label=gettext("What it is")),
        fields=fields,
        most_bytes=shelving_uploads.MOST_BYTES,
        kept=arrivals.listed(current.store(), arrivals.MODEL),
        values=reading.values,
        faults=reading.faults,
    )


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return math.nan


def _merge_page(
    weights: dict[str, str], wrong: dict[str, list[str]], chosen: list[str] | None = None, name: str = ""
) -> Response:
    return web.page(
        "app/merge.html",
        status=422 if wrong else 200,
        adapters=library.listed(current.store(), library.ADAPTER),
        weights=weights,
        chosen=chosen or [],
        name=name,
        faults=wrong,
    )


def _run_link(row: Asset) -> str | None:
    """The page of the run that it came from; None where there is none, or this machine has left its federation."""
    membership, run = row.origin.get("membership", ""), row.origin.get("run_id", "")
    store = current.store()
    if memberships.one(store, membership) is None or consents.one(store, membership, run) is None:
        return None
    return url_for("pages.consent.page", membership_id=membership, run_id=run)


def _id_of(row: Asset | None) -> str | None:
    return None if row is None else row.id


def _row(asset_id: str) -> Asset:
    return library.one(current.store(), asset_id) or abort(404)
