"""Federations: joining one, what it does now, its runs, and the owner's limits."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, abort, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.database.tables import Membership
from fedflow.client.pages import current, faults, federation_words, job_words
from fedflow.client.policy import Policy
from fedflow.client.services import consents, datasets, jobs, library, memberships, sendings, server_sign_ins
from fedflow.client.services.memberships import JoinRequest
from fedflow.client.services.sendings import Wanted
from fedflow.errors import MistakeError
from fedflow.web.forms import FormField, Kind, describe, texts
from fedflow.web.kit import is_own_path
from fedflow.web.reading import Reading, all_values, last_values, read
from fedflow.web.states import State

blueprint = Blueprint("federations", __name__)

ALWAYS = "always"


@blueprint.get("/federations")
def listed() -> Response:
    """All federations, what asks for consent, and what is being joined."""
    store = current.store()
    asking, runs = consents.waiting(store), consents.listed(store)
    asks = {each.membership_id for each in asking}
    rows = memberships.listed(store)
    replaced = memberships.replaced(rows)
    found = [
        (row, federation_words.taking_part(row, row.id in asks), federation_words.heard(row, runs))
        for row in rows
        if row.id not in replaced
    ]
    return web.page(
        "app/federations.html",
        fragment="live",
        found=found,
        has_log=bool(rows) or not sendings.is_empty(store),
        replaced=[row for row in rows if row.id in replaced],
        asking=asking,
        joining=jobs.under_way(store, (memberships.JOIN,)),
        failed=memberships.failed_joins(store),
        now=store.clock(),
    )


@blueprint.get("/federations/join")
def join_form() -> Response:
    """Server, code, dataset: as a link gives them, or as in an attempt that failed, the reason beside its field."""
    job = jobs.one(current.store(), request.args.get("instead_of", "")[:40])
    if job is None or job.kind != memberships.JOIN:
        given = {name: request.args[name][:400] for name in ("server", "dataset") if name in request.args}
        return _join_page(Reading(None, given), signed_in=request.args.get("signed_in", ""))
    reading = Reading[JoinRequest](None, texts(memberships.request_of(job)))
    if job.status in jobs.WENT_WRONG:
        reading.faults[_field_of(job.message)] = [job_words.reason(job)]
    return _join_page(reading, job.id)


@blueprint.post("/federations/join")
def joins() -> AnyResponse:
    """Have it joined, or say what is wrong."""
    form = last_values(request.form)
    instead_of, signed_in = form.pop("instead_of", "")[:40], form.pop("signed_in", "")
    reading = read(JoinRequest, form)
    if reading.settings is None:
        return _join_page(reading, instead_of, signed_in=signed_in, status=422)
    try:
        memberships.join(current.store(), reading.settings, instead_of)
    except MistakeError as error:
        return _join_page(faults.refused(reading, error), instead_of, signed_in=signed_in, status=422)
    return redirect(url_for("pages.federations.listed"), 303)


@blueprint.get("/federations/<membership_id>")
def one(membership_id: str) -> Response:
    """What is going on there, its runs, and what this machine has sent."""
    store, row = current.store(), _row(membership_id)
    rows = memberships.listed(store)
    rounds = [job for job in jobs.under_way(store, (jobs.ROUND,)) if job.asked["membership"] == membership_id]
    runs = consents.listed(store, membership_id)
    asks = any(each.membership_id == membership_id for each in consents.waiting(store))
    return web.page(
        "app/federation.html",
        fragment="live",
        row=row,
        anew=memberships.replaced(rows).get(membership_id),
        dataset=None if row.dataset_id is None else datasets.one(store, row.dataset_id),
        sets=[line.dataset for line in datasets.listed(store)],
        runs=runs,
        standing=federation_words.taking_part(row, asks),
        heard=federation_words.heard(row, runs),
        rounds=rounds,
        limits=_limits_set(row),
        took_over=memberships.took_over(row, rows),
        sorts=sendings.by_sort(store, Wanted(membership_id)),
        now=store.clock(),
    )


@blueprint.get("/federations/<membership_id>/limits")
def limits(membership_id: str) -> Response:
    """The owner's limits, and whether runs within them need no consent of their own."""
    row = _row(membership_id)
    return _limits_page(row, Reading(None, texts(memberships.policy(row))), always=row.always)


@blueprint.post("/federations/<membership_id>/limits")
def sets_limits(membership_id: str) -> AnyResponse:
    """Keep them, or say what is wrong."""
    row, always = _row(membership_id), ALWAYS in request.form
    reading = read(Policy, all_values(Policy, request.form))
    if reading.settings is None:
        return _limits_page(row, reading, always=always)
    memberships.limit(current.store(), membership_id, reading.settings, always=always)
    flash(gettext("Your limits hold from now on."), State.DONE)
    return redirect(url_for("pages.federations.one", membership_id=membership_id), 303)


@blueprint.post("/federations/<membership_id>/<any(pause, resume):what>")
def changes(membership_id: str, what: str) -> AnyResponse:
    """Take no part for now, or go on."""
    memberships.pause(current.store(), _row(membership_id).id, paused=what == "pause")
    back = request.form.get("next", "")
    return redirect(back if is_own_path(back) else url_for("pages.federations.one", membership_id=membership_id), 303)


@blueprint.post("/federations/<membership_id>/dataset")
def binds(membership_id: str) -> AnyResponse:
    """Train on another dataset."""
    try:
        memberships.bind(current.store(), _row(membership_id).id, request.form.get("dataset", "")[:40])
        flash(gettext("Rounds are trained on this dataset from now on."), State.DONE)
    except MistakeError as error:
        flash(faults.said(str(error)), State.FAILED)
    return redirect(url_for("pages.federations.one", membership_id=membership_id), 303)


@blueprint.post("/federations/<membership_id>/leave")
def leaves(membership_id: str) -> AnyResponse:
    """Forget it, with this machine's key."""
    store = current.store()
    goes_on = _row(membership_id).id in memberships.replaced(memberships.listed(store))
    memberships.leave(store, membership_id)
    if goes_on:
        told = gettext("The old entry is gone. This machine takes part on, and the log of what left stays.")
    else:
        told = gettext("This machine takes part there no more. Adapters in your library and the log of what left stay.")
    flash(told, State.DONE)
    return redirect(url_for("pages.federations.listed"), 303)


def _field_of(message: str) -> str:
    """The field of the form to join that a failure is about; none where it is about all of it."""
    if "join code" in message:
        return "code"
    return "server" if message.startswith(("http://", "https://")) else ""


def _join_page(
    reading: Reading[JoinRequest], instead_of: str = "", *, signed_in: str = "", status: int = 200
) -> Response:
    let_in = server_sign_ins.one(current.store(), signed_in[:40])
    sets = tuple((line.dataset.id, line.dataset.name) for line in datasets.listed(current.store()))
    [group] = describe(JoinRequest)
    found = {field.name: field for field in group.fields}
    dataset = replace(found["dataset"], kind=Kind.CHOICE, choices=sets)
    shows_counts = replace(found["shows_counts"], label=gettext("Show name and counts outside"))
    fields: list[FormField] = [
        replace(found["server"], label=gettext("Server")),
        replace(found["code"], label=gettext("Code")),
        dataset,
        replace(found["device"], label=gettext("This machine's name")),
        shows_counts,
    ]
    return web.page(
        "app/join.html",
        status=status,
        instead_of=instead_of,
        signed_in=let_in,
        fields=[dataset, shows_counts] if let_in else fields,
        values=reading.values,
        faults=reading.faults,
        has_datasets=bool(sets),
    )


def _limits_page(row: Membership, reading: Reading[Policy], *, always: bool) -> Response:
    return web.page(
        "app/limits.html",
        status=422 if reading.faults else 200,
        row=row,
        described=describe(Policy, ("max_rounds", "max_steps", "max_upload_mb", "hours")),
        values=reading.values,
        faults=reading.faults,
        always=always,
    )


def _limits_set(row: Membership) -> list[tuple[str, str]]:
    """The limits that the owner has set, each by its field's label."""
    now, free = texts(memberships.policy(row)), texts(Policy())
    fields = [field for group in describe(Policy) for field in (*group.short, *group.folded)]
    said = {"off": gettext("no"), "on": gettext("yes")}
    return [
        (field.label, " ".join(filter(None, (said.get(now[field.name], now[field.name]), field.unit))))
        for field in fields
        if now[field.name] != free[field.name]
    ]


def _row(membership_id: str) -> Membership:
    return memberships.one(current.store(), membership_id) or abort(404)


def library_of(membership_id: str, run_id: str) -> str | None:
    """The identifier of what a run left in the library; None where there is nothing yet."""
    row = library.one(current.store(), f"{membership_id}-{run_id}")
    return None if row is None else row.id
