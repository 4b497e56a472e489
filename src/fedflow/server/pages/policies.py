"""A federation's rules as a form, which everybody there reads and its coordinators change."""

from __future__ import annotations

from dataclasses import replace

from flask import Blueprint, Response, flash, redirect, request, url_for
from flask_babel import gettext, lazy_gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.server.api import current
from fedflow.server.pages import plan_words
from fedflow.server.pages.federations import head
from fedflow.server.services import policies
from fedflow.server.services.policies import Policies
from fedflow.web import meanwhile
from fedflow.web.forms import FormField, FormGroup, describe, places, texts
from fedflow.web.reading import Reading, all_values, read
from fedflow.web.states import State

METHODS = "runs.allowed_methods"
LABELS = {
    "members.most_examples": lazy_gettext("Picture limit"),
    "visibility.example_counts": lazy_gettext("Picture counts"),
}
"""What the pages call a rule where its name says it otherwise."""

blueprint = Blueprint("policies", __name__)


@blueprint.get("/federations/<federation_id>/rules")
def rules(federation_id: str) -> Response:
    """The rules as they are now."""
    now = policies.read(current.store(), federation_id)
    return _page(federation_id, Reading(now, texts(now)), meanwhile.mark(texts(now)))


@blueprint.post("/federations/<federation_id>/rules")
def changes(federation_id: str) -> AnyResponse:
    """Set them, or say beside each field what is wrong."""
    now = policies.read(current.store(), federation_id)
    merged = meanwhile.merge(texts(now), all_values(Policies, request.form))
    reading = read(Policies, merged.values, now)
    if reading.settings is None or merged.overtaken:
        overtaken = meanwhile.faults(merged, {METHODS: plan_words.CHOICES["method"]})
        wrong: Reading[Policies] = Reading(None, reading.values, {**overtaken, **reading.faults})
        return _page(federation_id, wrong, meanwhile.mark(texts(now)), status=409 if overtaken else 422)
    policies.change(current.store(), federation_id, reading.settings, current.caller())
    flash(gettext("The rules are saved. They apply to what is planned or joins from now on."), State.DONE)
    return redirect(url_for("pages.policies.rules", federation_id=federation_id), 303)


@blueprint.post("/federations/<federation_id>/rules/check")
def check(federation_id: str) -> Response:
    """The form again with what is wrong, of which the page takes what has changed."""
    sent = all_values(Policies, request.form)
    return _page(federation_id, read(Policies, sent), sent.get(meanwhile.FIELD, ""), fragment="rules_form")


def _groups() -> list[FormGroup]:
    return describe(Policies, [name for name, _ in places(Policies)])


def labels() -> dict[str, str]:
    """What each rule is called, by its name without its group's."""
    return {field.name.rpartition(".")[2]: _in_words(field).label for group in _groups() for field in group.short}


def _in_words(field: FormField) -> FormField:
    """What others of the pages call otherwise, as they do: pictures, and the methods of a new run."""
    if field.name in LABELS:
        return replace(field, label=str(LABELS[field.name]))
    if field.name != METHODS:
        return field
    words = plan_words.CHOICES["method"]
    return replace(field, choices=tuple((value, str(words[value])) for value, _ in field.choices))


def _page(
    federation_id: str, reading: Reading[Policies], mark: str, *, status: int = 200, fragment: str | None = None
) -> Response:
    return web.page(
        "pages/rules.html",
        status=status,
        fragment=fragment,
        **head(federation_id, "pages.policies.rules"),
        described=[replace(group, short=tuple(map(_in_words, group.short))) for group in _groups()],
        mark=mark,
        values=reading.values,
        faults=reading.faults,
    )
