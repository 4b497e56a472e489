"""A new run: a form made from the plan's settings, checked while one types, with what it will cost."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.plan import Plan
from fedflow.server.api import current
from fedflow.server.errors import ApiError
from fedflow.server.pages import places
from fedflow.server.pages.faults import beside, said
from fedflow.server.services import estimating, policies, runs
from fedflow.server.services.estimating import Known
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.server.services.policies import Policies
from fedflow.server.services.roles import Belonging
from fedflow.web.forms import FormGroup, describe, texts
from fedflow.web.reading import Reading, last_values, read
from fedflow.web.states import State

blueprint = Blueprint("new_run", __name__)

SHORT = (
    "name",
    "model",
    "method",
    "rounds",
    "lora.rank",
    "lora.alpha",
    "training.epochs",
    "training.learning_rate",
    "network.deadline_s",
    "network.quorum",
)
MEMBERS = "data.clients"
NOT_HERE = frozenset({MEMBERS, "data.root", "seeds"})
"""Members have a field of their own; a federation's pictures lie with its members, and it has one seed."""

NO_GROUPS = frozenset({"baselines"})
"""Trainings of the simulation alone."""


@blueprint.get("/federations/<federation_id>/runs/new")
def form(federation_id: str) -> Response:
    """The form, with all members and the plan's own settings."""
    here = _federation(federation_id)
    told = estimating.known(current.store(), here.federation_id)
    start = _within(policies.read(current.store(), here.federation_id), told.members)
    return _page(here, told, Reading(start, texts(start)), new_id())


@blueprint.post("/federations/<federation_id>/runs/new")
def starts(federation_id: str) -> AnyResponse:
    """Start the run, or say beside each field what is wrong."""
    here = _federation(federation_id)
    told = estimating.known(current.store(), here.federation_id)
    reading, identifier = _reading(here), _identifier()
    if reading.settings is None:
        return _page(here, told, reading, identifier)
    try:
        store, caller, allowed = current.store(), current.caller(), current.allowed()
        run_id = runs.create(store, here.federation_id, reading.settings, identifier, caller, allowed)
    except ApiError as error:
        wrong: Reading[Plan] = Reading(None, reading.values, beside(error))
        return _page(here, told, wrong, identifier)
    flash(gettext("The run has begun. Its members are asked for their consent."), State.DONE)
    return redirect(url_for("pages.runs.run", run_id=run_id), 303)


@blueprint.post("/federations/<federation_id>/runs/new/check")
def check(federation_id: str) -> Response:
    """The form again with what is wrong and what it would cost, of which the page takes what has changed."""
    here = _federation(federation_id)
    told = estimating.known(current.store(), here.federation_id)
    return _page(here, told, _reading(here), _identifier(), fragment="plan_form")


def _page(
    here: Belonging, told: Known, reading: Reading[Plan], identifier: str, fragment: str | None = None
) -> Response:
    cost = None
    if reading.settings is not None and told.members:
        cost = estimating.estimated(current.store(), here.federation_id, reading.settings, told)
    chosen = set(reading.values.get(MEMBERS, "").split("\n"))
    return web.page(
        "pages/new_run.html",
        status=422 if reading.faults and fragment is None else 200,
        fragment=fragment,
        here=here,
        federations=places.belongings("coordinator"),
        members=[(name, name in chosen, told.num_examples.get(name)) for name in told.members],
        described=_described(),
        values=reading.values,
        faults=reading.faults,
        identifier=identifier,
        plan=reading.settings,
        cost=cost,
        told=told,
    )


def _described() -> list[FormGroup]:
    groups = []
    for group in describe(Plan, SHORT):
        if group.name in NO_GROUPS:
            continue
        short = tuple(each for each in group.short if each.name not in NOT_HERE)
        folded = tuple(each for each in group.folded if each.name not in NOT_HERE)
        if short or folded:
            groups.append(replace(group, short=short, folded=folded))
    return groups


def _reading(here: Belonging) -> Reading[Plan]:
    """What was sent; what the federation's rules forbid is a fault beside its field as well."""
    sent: dict[str, str] = last_values(request.form)
    sent[MEMBERS] = "\n".join(request.form.getlist("member"))
    reading = read(Plan, sent)
    if reading.settings is None:
        return reading
    broken = policies.broken(policies.read(current.store(), here.federation_id), reading.settings)
    if not broken:
        return reading
    return Reading(None, reading.values, {field: [said(sentence)] for field, sentence in broken.items()})


def _within(rules: Policies, members: tuple[str, ...]) -> Plan:
    """The plan that the form begins with: its defaults, moved to what the rules allow where these say so."""
    defaults = Plan()
    given: dict[str, object] = {
        "rounds": min(defaults.rounds, rules.runs.most_rounds or defaults.rounds),
        "evaluation": {"clients": rules.visibility.member_galleries},
    }
    if members:
        given["data"] = {"clients": members}
    if rules.runs.allowed_models and defaults.model not in rules.runs.allowed_models:
        given["model"] = rules.runs.allowed_models[0]
    if rules.runs.allowed_methods and defaults.method not in rules.runs.allowed_methods:
        given["method"] = rules.runs.allowed_methods[0]
    if rules.runs.least_updates is not None and rules.runs.least_updates <= len(members):
        given["network"] = {"quorum": rules.runs.least_updates}
    return Plan.model_validate(given)


def _identifier() -> str:
    return kept_id(request.form.get("identifier", ""))


def _federation(federation_id: str) -> Belonging:
    return next(each for each in places.belongings("coordinator") if each.federation_id == federation_id)
