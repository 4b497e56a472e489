"""A new run: a form made from the plan's settings, checked while one types, with what it will cost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.federation.estimates import FEW_PICTURES
from fedflow.plan import LEAST_DEADLINE_S, REGISTRY, STARTER, YEAR_S, Plan
from fedflow.server.api import current
from fedflow.server.errors import ApiError, Unprocessable
from fedflow.server.pages import places, plan_words
from fedflow.server.pages.faults import beside, said
from fedflow.server.pages.plan_words import DEADLINE, HOURS, MEMBERS
from fedflow.server.services import base_models, estimating, heldout, policies, runs
from fedflow.server.services.estimating import Known
from fedflow.server.services.identifiers import kept_id, new_id
from fedflow.server.services.policies import Policies
from fedflow.server.services.roles import Belonging
from fedflow.web import amounts
from fedflow.web.forms import UNITS, FormField, FormGroup, Kind, as_text, texts
from fedflow.web.reading import LIMITS, NUMBER, WORDS, Reading, last_values, read
from fedflow.web.states import State

HOUR, HOUR_S = UNITS["hours"], 3600
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
HIGH_LEARNING_RATE = 1e-2
"""What AdamW seldom learns anything above."""

OTHER = "other"
OTHER_MODEL = "model_other"
"""The choice of a base model that is none of the list, and the field that names it."""


@dataclass(frozen=True)
class Planning:
    """Where a run is planned: the federation, its rules, and what is known of its members."""

    here: Belonging
    rules: Policies
    known: Known


@blueprint.get("/federations/<federation_id>/runs/new")
def form(federation_id: str) -> Response:
    """The form, with all members and the plan's own settings."""
    planning = _planning(federation_id)
    start = _within(planning.rules, planning.known.members)
    return _page(planning, Reading(start, _in_hours(texts(start))), new_id())


@blueprint.post("/federations/<federation_id>/runs/new")
def starts(federation_id: str) -> AnyResponse:
    """Start the run, or say beside each field what is wrong."""
    planning = _planning(federation_id)
    reading, identifier = _reading(planning), _identifier()
    if reading.settings is None:
        return _page(planning, reading, identifier)
    try:
        store, caller, allowed = current.store(), current.caller(), current.allowed()
        pictures = current.settings().pictures
        run_id = runs.create(store, federation_id, reading.settings, identifier, caller, allowed, pictures)
    except ApiError as error:
        wrong: Reading[Plan] = Reading(None, reading.values, _where_written(beside(error), reading.values))
        return _page(planning, wrong, identifier)
    flash(gettext("The run has started. Its members are being asked for consent."), State.DONE)
    return redirect(url_for("pages.runs.run", run_id=run_id), 303)


@blueprint.post("/federations/<federation_id>/runs/new/check")
def check(federation_id: str) -> Response:
    """The form again with what is wrong and what it would cost, of which the page takes what has changed."""
    planning = _planning(federation_id)
    return _page(planning, _reading(planning), _identifier(), fragment="plan_form")


def _page(planning: Planning, reading: Reading[Plan], identifier: str, fragment: str | None = None) -> Response:
    here, known = planning.here, planning.known
    cost = None
    if reading.settings is not None and known.members:
        cost = estimating.estimated(current.store(), here.federation_id, reading.settings, known)
    allowed_models = planning.rules.runs.allowed_models
    chosen = set(reading.values.get(MEMBERS, "").split("\n"))
    return web.page(
        "pages/new_run.html",
        status=422 if reading.faults and fragment is None else 200,
        fragment=fragment,
        here=here,
        federations=places.planned_in(),
        members=[(name, name in chosen, known.num_examples.get(name)) for name in known.members],
        described=_described(planning, reading.values.get("model", "")),
        values=reading.values,
        faults=reading.faults,
        none_is_taken=bool(allowed_models) and not _taken(allowed_models),
        of_members=_of_members(reading.faults),
        identifier=identifier,
        plan=reading.settings,
        is_scored=reading.settings is None
        or heldout.is_scored(current.store(), reading.settings, current.settings().pictures),
        cost=cost,
        few_pictures=FEW_PICTURES,
        high_rate=HIGH_LEARNING_RATE,
    )


def _of_members(faults: dict[str, list[str]]) -> list[str]:
    """What is wrong with the members, and what does not go with their number: said beside them as one ticks."""
    fitting = [f"{plan_words.LABELS['clients_per_round']}: {each}" for each in faults.get("clients_per_round", ())]
    quorum = [gettext("Quorum: %(fault)s", fault=each) for each in faults.get("network.quorum", ())]
    return [*faults.get("data.clients", ()), *fitting, *quorum]


def _described(planning: Planning, model: str) -> list[FormGroup]:
    """The plan's form, with base models to choose from and times in hours. `model` is the one that is chosen."""
    groups = []
    for group in plan_words.described(SHORT, {MEMBERS}):
        near = [field for each in group.short for field in _fields(planning, each, model)]
        folded = [field for each in group.folded for field in _fields(planning, each, model)]
        groups.append(replace(group, short=tuple(near), folded=tuple(folded)))
    return groups


def _fields(planning: Planning, field: FormField, model: str) -> list[FormField]:
    if field.name in HOURS:
        least, most = (None if limit is None else limit / HOUR_S for limit in (field.least, field.most))
        return [replace(field, unit=gettext(HOUR), least=least, most=most)]
    if field.name != "model":
        return [field]
    offered = _models(planning)
    if model not in dict(offered) and model:
        offered.append((model, plan_words.model(model)))
    choice = replace(field, kind=Kind.CHOICE, choices=tuple(offered))
    if OTHER not in dict(offered):
        return [choice]
    told = gettext("A path in the server's import folder, or another model that this server accepts.")
    label = gettext("Other base model")
    return [choice, replace(field, name=OTHER_MODEL, label=label, help=told, default="", required=False)]


def _models(planning: Planning) -> list[tuple[str, str]]:
    """What a run may start from, each with its words: what the rules allow, else what the federation has."""
    allowed, settings = planning.rules.runs.allowed_models, current.settings()
    if allowed:
        return [(model, plan_words.model(model)) for model in _taken(allowed)]
    named = estimating.base_model_names(current.store(), current.caller(), planning.here.federation_id)
    offered = [STARTER, *(f"{REGISTRY}{name}" for name in named)]
    others = [(OTHER, gettext("another"))]
    may_name_others = current.caller().is_admin or settings.imports is not None or settings.hub_imports
    return [(model, plan_words.model(model)) for model in offered] + (others if may_name_others else [])


def _taken(models: Iterable[str]) -> list[str]:
    """Those that this server would take: none of the model hub where it is not set so."""
    return [model for model in models if current.allowed().hub or not base_models.is_of_hub(model)]


def _reading(planning: Planning) -> Reading[Plan]:
    """What was sent; what the federation's rules forbid is a fault beside its field as well."""
    sent: dict[str, str] = last_values(request.form)
    sent[MEMBERS] = "\n".join(request.form.getlist("member"))
    other = sent.get(OTHER_MODEL, "").strip()
    plan = {**sent, **_in_seconds(sent)}
    if sent.get("model") == OTHER:
        plan["model"] = other
    reading = read(Plan, plan)
    faults = {field: [_in_form(field, each, sent) for each in sentences] for field, sentences in reading.faults.items()}
    if reading.settings is not None:
        broken = policies.broken(planning.rules, reading.settings)
        faults = {field: [_methods_in_words(said(sentence))] for field, sentence in broken.items()}
        if "model" not in faults:
            faults |= _of_what_is_here(planning, reading.settings)
    if plan.get("model") == "":
        faults = {**faults, "model": [str(WORDS["missing"])]}
    values = {**reading.values, **{name: sent[name] for name in ("model", OTHER_MODEL, *HOURS) if name in sent}}
    return Reading(None if faults else reading.settings, values, _where_written(faults, values))


def _in_form(field: str, sentence: str, sent: Mapping[str, str]) -> str:
    """A fault in the form's words; how long a time may be is told in hours, as the field counts."""
    seconds = _in_seconds(sent).get(field)
    if seconds is not None and float(seconds) > YEAR_S:
        return str(LIMITS["less_than_equal"][1]) % {"limit": amounts.number(YEAR_S // HOUR_S)}
    if field == DEADLINE and seconds is not None and float(seconds) < LEAST_DEADLINE_S:
        return str(gettext("Must be at least ten seconds, or nobody can answer in time."))
    return plan_words.fault(sentence)


def _of_what_is_here(planning: Planning, plan: Plan) -> dict[str, list[str]]:
    """What is wrong with the held-out pictures and the base model, as it is found when the run starts."""
    store, caller, allowed = current.store(), current.caller(), current.allowed()
    try:
        heldout.check(store, plan, current.settings().pictures)
        base_models.check(store, caller, planning.here.federation_id, plan, allowed)
    except Unprocessable as error:
        return beside(error)
    return {}


def _methods_in_words(sentence: str) -> str:
    """A sentence that names methods as their field does."""
    for name, words in plan_words.CHOICES["method"].items():
        sentence = re.sub(f"['“]{re.escape(name)}['”]", f"“{words}”", sentence)
    return sentence


def _where_written(faults: dict[str, list[str]], values: dict[str, str]) -> dict[str, list[str]]:
    """The faults, that of a base model which is none of the list beside the field that names it."""
    if values.get("model") != OTHER:
        return faults
    return {OTHER_MODEL if name == "model" else name: sentences for name, sentences in faults.items()}


def _in_hours(values: dict[str, str]) -> dict[str, str]:
    """A plan's values as the form shows them."""
    return {**values, **{name: as_text(float(values[name]) / HOUR_S) for name in HOURS}}


def _in_seconds(sent: Mapping[str, str]) -> dict[str, str]:
    """Times that were sent as hours, as the plan counts them; what is no number stays for the plan to refuse."""
    times = {name: sent[name] for name in HOURS if NUMBER.fullmatch(sent.get(name, "").strip())}
    return {name: as_text(float(hours) * HOUR_S) for name, hours in times.items()}


def _within(rules: Policies, members: tuple[str, ...]) -> Plan:
    """The plan that the form begins with: its defaults, moved to what the rules allow where these say so."""
    defaults = Plan()
    given: dict[str, object] = {
        "rounds": min(defaults.rounds, rules.runs.most_rounds or defaults.rounds),
        "evaluation": {"clients": rules.visibility.member_galleries},
    }
    if members:
        given["data"] = {"clients": members}
    offered = _taken(rules.runs.allowed_models)
    if offered and defaults.model not in offered:
        given["model"] = offered[0]
    if rules.runs.allowed_methods and defaults.method not in rules.runs.allowed_methods:
        given["method"] = rules.runs.allowed_methods[0]
    if rules.runs.least_updates is not None and rules.runs.least_updates <= len(members):
        given["network"] = {"quorum": rules.runs.least_updates}
    return Plan.model_validate(given)


def _identifier() -> str:
    return kept_id(request.form.get("identifier", ""))


def _planning(federation_id: str) -> Planning:
    here = next(each for each in places.belongings("coordinator") if each.federation_id == federation_id)
    store = current.store()
    return Planning(here, policies.read(store, federation_id), estimating.known(store, federation_id))
