"""Runs as their coordinator starts, watches and changes them, and as their members see them."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import ValidationError

from fedflow.federation.protocol import API, Rounds, RunFacts, ScoreLine, Scores
from fedflow.plan import GIVEN, Plan, describe
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent, identifier
from fedflow.server.api.messages import Page
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.api.run_messages import (
    Explained,
    MemberNamed,
    RefusalLine,
    Refusals,
    RoundPage,
    RoundSeen,
    RunPath,
    RunRequest,
    Runs,
    RunStarted,
    RunStatus,
)
from fedflow.server.errors import Unprocessable
from fedflow.server.services import explain, refusals, run_facts, runs, scores

blueprint = APIBlueprint(
    "runs",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="runs")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)


@blueprint.post("/runs", responses={201: RunStarted})
@idempotent
def create(body: RunRequest) -> Response:
    """Freeze a plan as a run and begin to prepare it."""
    try:
        plan = Plan.model_validate(body.plan, context=GIVEN)
    except ValidationError as error:
        raise Unprocessable(f"plan: {describe(error)}") from None
    store, caller, pictures = current.store(), current.caller(), current.settings().pictures
    made = runs.create(store, body.federation_id, plan, identifier(), caller, current.allowed(), pictures)
    return answer(RunStarted(id=made), 201)


@blueprint.get("/runs", responses={200: Runs})
def listed(query: Page) -> Response:
    """Runs, oldest first; a device sees those of its federation."""
    items = tuple(run_facts.listed(current.store(), current.caller(), query.after, query.limit))
    return answer(Runs(items=items, next=items[-1].id if len(items) == query.limit else None))


@blueprint.get("/runs/<run_id>", responses={200: RunFacts})
def facts(path: RunPath) -> Response:
    """A run: its frozen plan, its members, what leaves a participant."""
    return answer(run_facts.facts(current.store(), current.caller(), path.run_id))


@blueprint.get("/runs/<run_id>/scores", responses={200: Scores})
def scored(path: RunPath) -> Response:
    """FID, KID and gallery of the base model and of every round's models, as far as they are taken."""
    store, caller = current.store(), current.caller()
    items = tuple(
        ScoreLine.model_validate(each, from_attributes=True) for each in scores.listed(store, caller, path.run_id)
    )
    to_come = run_facts.facts(store, caller, path.run_id).jobs_to_come
    return answer(Scores(items=items, to_come=to_come, not_measured=scores.not_measured(store, path.run_id)))


@blueprint.get("/runs/<run_id>/rounds", responses={200: Rounds})
def rounds(path: RunPath, query: RoundPage) -> Response:
    """The run's rounds, first to last."""
    items = tuple(run_facts.rounds_of(current.store(), current.caller(), path.run_id, query.after, query.limit))
    return answer(Rounds(items=items, next=items[-1].number if len(items) == query.limit else None))


@blueprint.get("/runs/<run_id>/explain", responses={200: Explained})
def explained(path: RunPath) -> Response:
    """Why the run is not moving: whom it waits for, since when, until when, and what happens then."""
    return answer(Explained(text=explain.explain(current.store(), path.run_id)))


@blueprint.get("/runs/<run_id>/refusals", responses={200: Refusals})
def refused(path: RunPath, query: Page) -> Response:
    """Updates that were refused, oldest first, each with its reason; a device sees its member's."""
    found = refusals.listed(current.store(), current.caller(), path.run_id, query.after, query.limit)
    items = tuple(RefusalLine.model_validate(refusal, from_attributes=True) for refusal in found)
    return answer(Refusals(items=items, next=items[-1].id if len(items) == query.limit else None))


@blueprint.post("/runs/<run_id>/ask-again", responses={200: RunStatus})
def ask_again(path: RunPath, body: MemberNamed) -> Response:
    """Ask a member for its consent once more that has declined."""
    runs.ask_again(current.store(), path.run_id, body.member, current.caller())
    return _status(path.run_id)


@blueprint.post("/runs/<run_id>/pause", responses={200: RunStatus})
def pause(path: RunPath) -> Response:
    """Hand out no more work; updates under way are still taken. A paused run stays paused."""
    runs.pause(current.store(), path.run_id, current.caller())
    return _status(path.run_id)


@blueprint.post("/runs/<run_id>/resume", responses={200: RunStatus})
def resume(path: RunPath) -> Response:
    """Go on with a paused or failed run."""
    runs.resume(current.store(), path.run_id, current.caller())
    return _status(path.run_id)


@blueprint.post("/runs/<run_id>/stop", responses={200: RunStatus})
def stop(path: RunPath) -> Response:
    """End the run for good; committed rounds stay."""
    runs.stop(current.store(), path.run_id, current.caller())
    return _status(path.run_id)


@blueprint.post("/runs/<run_id>/close-round", responses={200: RunStatus})
def close_round(path: RunPath, query: RoundSeen) -> Response:
    """Aggregate the updates that are there now."""
    runs.close_round(current.store(), path.run_id, current.caller(), query.round)
    return _status(path.run_id)


def _status(run_id: str) -> Response:
    return answer(RunStatus(id=run_id, status=run_facts.facts(current.store(), current.caller(), run_id).status))
