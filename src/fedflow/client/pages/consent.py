"""A run's page for the owner: what would leave this machine and what never does, the answer, and how it goes."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flask import Blueprint, Response, abort, flash, redirect, request, send_file, url_for
from flask_babel import gettext
from werkzeug import Response as AnyResponse

from fedflow import web
from fedflow.client.consent import plan_of
from fedflow.client.database.tables import Consent, Membership
from fedflow.client.pages import current, faults, federation_words
from fedflow.client.pages.curves import Curve, Point, over_rounds, score_curve
from fedflow.client.pages.federations import library_of
from fedflow.client.pages.missing import crossed
from fedflow.client.policy import Policy, refusal
from fedflow.client.services import consents, datasets, jobs, memberships, trainings
from fedflow.client.services.leftovers import ARRIVING
from fedflow.errors import FedFlowError, MistakeError
from fedflow.federation.protocol import Rounds, RunFacts, ScoreLine
from fedflow.plan import AGGREGATED, BASE
from fedflow.web.forms import describe, texts
from fedflow.web.states import State

blueprint = Blueprint("consent", __name__)

SHA256 = re.compile(r"[0-9a-f]{64}")
YEAR_S = 31_536_000
TIMES = " \N{MULTIPLICATION SIGN} "
ANSWERS = frozenset({consents.RUN, consents.ROUND, consents.ALWAYS, consents.DECLINED})


@dataclass(frozen=True)
class Group:
    """Tensors of one part of the model: how many, how many numbers they hold, and their shapes, commonest first."""

    part: str
    count: int
    numbers: int
    shapes: list[tuple[str, int]]


@blueprint.get("/federations/<membership_id>/runs/<run_id>")
def page(membership_id: str, run_id: str) -> Response:
    """The run as this machine's owner sees it."""
    store, row, asked = current.store(), *_rows(membership_id, run_id)
    facts = RunFacts.model_validate(asked.facts)
    try:
        plan = plan_of(facts)
    except MistakeError as error:
        return web.page("app/unknown_plan.html", row=row, asked=asked, reason=faults.said(str(error)))
    dataset = None if row.dataset_id is None else datasets.one(store, row.dataset_id)
    trained, losses = jobs.rounds_of(store, membership_id, run_id), trainings.round_losses(store, membership_id, run_id)
    why_not = refusal(memberships.policy(row), facts, plan, asked.pictures)
    return web.page(
        "app/consent.html",
        fragment="live",
        row=row,
        asked=asked,
        facts=facts,
        plan=plan,
        dataset=dataset,
        groups=groups_of(facts),
        steps=plan.training.steps(max(asked.pictures, 1)),
        refused="" if consents.is_over(asked) or consents.has_failed(asked) else faults.reason(why_not or ""),
        limits=limits_of(memberships.policy(row)),
        rounds=trained,
        curve=over_rounds(losses, {job.asked["round"]: job.of for job in trained}),
        nodes=federation_words.line_of_rounds(asked, trained),
        stands=federation_words.stands(row, asked),
        asks=consents.asks(asked),
        agreed=federation_words.agreed_round(asked),
        ahead=consents.NEXT in asked.rounds,
        without=consents.went_without(asked),
        result=library_of(membership_id, run_id),
        now=store.clock(),
    )


@blueprint.post("/federations/<membership_id>/runs/<run_id>/answer")
def answers(membership_id: str, run_id: str) -> AnyResponse:
    """Agree to the run, to one more round, or always within the limits; or decline."""
    said = request.form.get("answer", "")
    if said not in ANSWERS:
        abort(400)
    store = current.store()
    row, _ = _rows(membership_id, run_id)
    consents.answer(store, membership_id, run_id, said)
    if said == consents.ALWAYS:
        memberships.limit(store, membership_id, memberships.policy(row), always=True)
    if said == consents.DECLINED:
        flash(gettext("Declined. The coordinator is told so."), State.DONE)
    return redirect(url_for("pages.consent.page", membership_id=membership_id, run_id=run_id), 303)


@blueprint.post("/federations/<membership_id>/runs/<run_id>/withdraw")
def withdraws(membership_id: str, run_id: str) -> AnyResponse:
    """Take part no more."""
    try:
        consents.withdraw(current.store(), membership_id, run_id)
        flash(gettext("You take part in this run no more. What was sent before stays with the server."), State.DONE)
    except MistakeError as error:
        flash(faults.said(str(error)), State.FAILED)
    return redirect(url_for("pages.consent.page", membership_id=membership_id, run_id=run_id), 303)


@blueprint.get("/federations/<membership_id>/runs/<run_id>/elsewhere")
def elsewhere(membership_id: str, run_id: str) -> Response:
    """The rounds as the server tells them now; the page asks for this part by itself and waits for nothing."""
    row, asked = _rows(membership_id, run_id)
    found, scores, reason = None, None, ""
    try:
        store = current.store()
        with memberships.connected(store, memberships.speaks_as(store, row.id), patience_s=0.0) as connection:
            found, scores = connection.rounds(run_id), connection.scores(run_id)
    except FedFlowError as error:
        reason = faults.said(str(error))
    joint = [] if scores is None else [each for each in scores.items if each.who in (BASE, AGGREGATED)]
    return web.page(
        "app/elsewhere.html",
        row=row,
        run_id=run_id,
        over=consents.is_over(asked),
        found=found,
        reason=reason,
        joint=joint,
        is_measured=scores is not None,
        curves=_curves(found, joint),
        prompts=next((each.prompts for each in joint if each.gallery), ()),
    )


@blueprint.get("/federations/<membership_id>/runs/<run_id>/pictures/<sha256>.png")
def picture(membership_id: str, run_id: str, sha256: str) -> Response:
    """A picture of a run's gallery: fetched from the server once, and kept; a crossed frame where it does not come."""
    store = current.store()
    row = memberships.one(store, membership_id)
    if row is None or not SHA256.fullmatch(sha256):
        abort(404)
    if sha256 not in store.blobs:
        with tempfile.TemporaryDirectory(dir=store.folder, prefix=ARRIVING) as scratch:  # two may ask at once
            arriving, as_whom = Path(scratch) / sha256, memberships.speaks_as(store, row.id)
            try:
                with memberships.connected(store, as_whom, patience_s=0.0) as connection, connection.about(run_id):
                    connection.fetch(sha256, arriving)
            except FedFlowError:
                return crossed()
            store.blobs.adopt(arriving, sha256)
    return send_file(store.blobs.local(sha256), "image/png", etag=sha256, max_age=YEAR_S)


def limits_of(policy: Policy) -> list[tuple[str, str]]:
    """The owner's limits that are set, each by its label and its value."""
    values, unset = texts(policy), texts(Policy())
    fields = [field for group in describe(Policy) for field in group.fields]
    return [(field.label, str(values[field.name])) for field in fields if values[field.name] != unset[field.name]]


def groups_of(facts: RunFacts) -> list[Group]:
    """What leaves, by the part of the model that it belongs to."""
    parts: dict[str, list[tuple[int, ...]]] = {}
    for name, shape in facts.tensors.items():
        parts.setdefault(name.partition(".")[0], []).append(shape)
    return [
        Group(
            part,
            len(shapes),
            sum(math.prod(shape) for shape in shapes),
            Counter(TIMES.join(map(str, shape)) or "1" for shape in shapes).most_common(),
        )
        for part, shapes in sorted(parts.items())
    ]


def _curves(found: Rounds | None, joint: Sequence[ScoreLine]) -> list[tuple[str, int, Curve]]:
    """What is known of the joint models by round, as far as it makes a curve: its name, its decimals, and the curve."""
    means = [] if found is None else [(line.number, line.loss) for line in found.items if line.loss is not None]
    base = next((each for each in joint if each.who == BASE), None)
    drawn = [
        (gettext("Mean loss of all"), 4, score_curve([Point(number, loss, loss, loss) for number, loss in means])),
        ("FID", 2, score_curve([_fid(each) for each in joint], None if base is None else base.fid)),
        (
            "KID",
            4,
            score_curve(
                [Point(each.round, each.kid, each.kid_low, each.kid_high) for each in joint],
                None if base is None else base.kid,
            ),
        ),
    ]
    return [(name, count, curve) for name, count, curve in drawn if curve is not None]


def _fid(line: ScoreLine) -> Point:
    low = line.fid if line.fid_low is None else line.fid_low
    return Point(line.round, line.fid, low, line.fid if line.fid_high is None else line.fid_high)


def _rows(membership_id: str, run_id: str) -> tuple[Membership, Consent]:
    row = memberships.one(current.store(), membership_id)
    asked = consents.one(current.store(), membership_id, run_id)
    if row is None or asked is None:
        abort(404)
    return row, asked
