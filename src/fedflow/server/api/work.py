"""What a participant's device asks and answers: its work, its owner's consent, its updates."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from fedflow.federation.protocol import API, ConsentRequest, RunFacts, UpdateAnswer, UpdateRequest, Work, WorkQuestion
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent
from fedflow.server.api.logs import routine
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.api.run_messages import RoundPath, RunPath
from fedflow.server.api.slots import Slots
from fedflow.server.services import run_facts, runs, updates, work

blueprint = APIBlueprint(
    "work",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="work")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)

HAND_INS = Slots()
HAND_INS_OF_A_DEVICE = 2
"""One, and the same one again where its answer was cut; others would only wait for them, each in a thread."""


@blueprint.get("/work", responses={200: Work})
def current_work(query: WorkQuestion) -> Response:
    """What this device is to do now, and when to ask again."""
    found = work.work_for(current.store(), current.caller(), query.told())
    if found.action == "wait":
        routine()
    return answer(found)


@blueprint.post("/runs/<run_id>/consent", responses={200: RunFacts})
@idempotent
def consent(path: RunPath, body: ConsentRequest) -> Response:
    """The owner's answer to a run; the last one counts, and one that the network sends again is not the last."""
    store, caller = current.store(), current.caller()
    runs.consent(store, caller, path.run_id, body.accept, body.num_examples, body.reason)
    return answer(run_facts.facts(store, caller, path.run_id))


@blueprint.post("/runs/<run_id>/rounds/<int:number>/updates", responses={200: UpdateAnswer})
def hand_in(path: RoundPath, body: UpdateRequest) -> Response:
    """Hand an uploaded update in for a round. The same one again changes nothing."""
    caller = current.caller()
    with HAND_INS.held(caller.id, HAND_INS_OF_A_DEVICE):
        return answer(updates.hand_in(current.store(), caller, path.run_id, path.number, body))
