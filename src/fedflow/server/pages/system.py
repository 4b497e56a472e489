"""The server itself: versions, queue, processes, disk, database, the settings in force."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from flask import Blueprint, Response, flash, redirect, url_for
from flask_babel import LazyString, gettext, lazy_gettext
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.errors import StorageError
from fedflow.server import keys
from fedflow.server.api import current
from fedflow.server.errors import ApiError
from fedflow.server.pages.faults import said
from fedflow.server.pages.run_words import whose
from fedflow.server.services import jobs, processes, quarantine
from fedflow.server.services import system as service
from fedflow.server.services.jobs import FAILED, QUEUED, RUNNING
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.web import amounts
from fedflow.web.states import State

blueprint = Blueprint("system", __name__)

FULL = 0.1
"""A disk of which less than this share is free is told of."""

SECRET = re.compile(r"(secret|password|key|token)$")

JOBS: dict[str, LazyString] = {
    "prepare": lazy_gettext("Prepare a run"),
    "aggregate": lazy_gettext("Join a round's updates"),
    "export": lazy_gettext("Write the joint model"),
    "merge": lazy_gettext("Merge residuals"),
    "evaluate": lazy_gettext("Draw and measure"),
    "chart": lazy_gettext("Draw charts"),
    "import": lazy_gettext("Import a model or adapter"),
    "download": lazy_gettext("Write a model for download"),
    "tryout": lazy_gettext("Draw a try-out"),
    "verify": lazy_gettext("Check the audit log"),
    "letter": lazy_gettext("Send a letter"),
}
POOLS: dict[str, LazyString] = {
    "rounds": lazy_gettext("Worker: rounds"),
    "evaluation": lazy_gettext("Evaluator: pictures and scores"),
}
FILES: dict[str, LazyString] = {
    "base": lazy_gettext("base models"),
    "adapter": lazy_gettext("adapters"),
    "residual": lazy_gettext("residuals"),
    "merged": lazy_gettext("merged weights"),
    "update": lazy_gettext("members' updates"),
    "features": lazy_gettext("features"),
    "picture": lazy_gettext("pictures"),
    "chart": lazy_gettext("charts"),
    "export": lazy_gettext("exports"),
}


@blueprint.get("/system")
def system() -> Response:
    """How the server is now."""
    store, settings = current.store(), current.settings()
    now = service.system(store)
    counts = {status: {pile.kind: pile for pile in now.jobs if pile.status == status} for status in (QUEUED, RUNNING)}
    there, folder = processes.listed(store), shlex.quote(str(settings.folder.absolute()))
    urls = "".join(f" {option} URL" for option in settings.url_options)
    return web.page(
        "pages/system.html",
        now=now,
        queue=[
            (kind, counts[QUEUED].get(kind), counts[RUNNING].get(kind))
            for kind in sorted(counts[QUEUED] | counts[RUNNING])
        ],
        waiting=sum(pile.count for pile in counts[QUEUED].values()),
        running=sum(pile.count for pile in counts[RUNNING].values()),
        failed=sum(pile.count for pile in now.jobs if pile.status == FAILED),
        given_up=jobs.given_up(store),
        whose=whose,
        processes=there,
        lacking=[words for pool, words in POOLS.items() if not any(p.pool == pool and not p.is_gone for p in there)],
        is_full=now.disk_free_bytes < FULL * now.disk_bytes,
        quarantine_bytes=_of_refused(store),
        files=sorted(now.store_bytes, key=lambda kind: -now.store_bytes[kind]),
        back_up=f"fedflow server --folder {folder}{urls} backup FILE",
        key_apart=keys.VARIABLE if keys.place(store.folder) == keys.VARIABLE else "",
        settings=in_force(settings),
        jobs=JOBS,
        pools=POOLS,
        file_words=FILES,
    )


@blueprint.post("/system/jobs/<job_id>/try-again")
def tries_again(job_id: str) -> AnyResponse:
    """Put a job that was given up back into the queue."""
    try:
        jobs.try_again(current.store(), job_id, current.caller())
        flash(gettext("The job waits for a worker again."), State.DONE)
    except ApiError as error:
        flash(said(str(error)), State.FAILED)
    return redirect(url_for("pages.system.system"), 303)


def _of_refused(store: Store) -> int | None:
    """Bytes of refused updates; None where the store of files does not say, which the page is needed for most then."""
    store.rest()
    try:
        return quarantine.size_bytes(store)
    except StorageError:
        return None


def in_force(settings: ServerSettings) -> list[tuple[str, str, str]]:
    """Name, value and description of every setting; what is secret is not shown."""
    found = []
    for name, info in ServerSettings.model_fields.items():
        text = _plain(name, getattr(settings, name))
        if text and SECRET.search(name):
            text = str(gettext("set, not shown"))
        elif "://" in text:
            text = _without_password(text)
        found.append((name, text, gettext(info.description) if info.description else ""))
    return found


def _plain(name: str, value: object) -> str:
    """A setting's value as a person reads it."""
    if isinstance(value, bool):
        return str(gettext("yes") if value else gettext("no"))
    if isinstance(value, int | float) and name.endswith("_bytes"):
        return amounts.megabytes(int(value))
    if isinstance(value, int | float) and name.endswith("_s"):
        return amounts.duration(value)
    return str(value.absolute()) if isinstance(value, Path) else "" if value is None else str(value)


def _without_password(url: str) -> str:
    try:
        shown = make_url(url)
    except ArgumentError:
        return str(gettext("set, not shown"))
    # A password may stand in the query as well.
    return shown.set(query=dict.fromkeys(shown.query, "hidden")).render_as_string(hide_password=True)
