"""Try-outs of releases: asked for, looked at, cancelled, deleted; each person's are theirs alone."""

from __future__ import annotations

from flask import Response, send_file
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import Field

from fedflow.federation.protocol import API, Message, Seconds
from fedflow.server.api import current
from fedflow.server.api.catalogue import ReleasePath
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent, identifier
from fedflow.server.api.messages import Identifier, Page
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.services import tryouts
from fedflow.server.services.tryout_request import TryoutRequest
from fedflow.server.services.tryouts import Line

blueprint = APIBlueprint(
    "tryouts",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="tryouts")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)


class TryoutFacts(Message):
    """A try-out: what was asked for, how far it is, and how many are drawn before it.

    `pictures` are SHA-256 of those that are there, in the seeds' order; `message` says why it failed.
    """

    id: str
    release_id: str
    prompt: str
    negative: str
    count: int
    strength: float
    steps: int
    guidance: float
    seed: int
    size_pixels: int | None
    status: str
    ahead: int
    steps_done: int
    message: str
    pictures: tuple[str, ...]
    age_s: Seconds


class Tryouts(Message):
    """A page of the caller's try-outs of a release, newest first."""

    items: tuple[TryoutFacts, ...]
    next: str | None


class TryoutPath(Message):
    """Part of an address."""

    tryout_id: Identifier


class PicturePath(Message):
    """Part of an address."""

    tryout_id: Identifier
    number: int = Field(ge=1, le=1000, description="Counted from 1.")


PNG = {"description": "The picture, with its settings in the text chunk 'parameters'.", "content": {"image/png": {}}}


@blueprint.post("/releases/<release_id>/tryouts", responses={201: TryoutFacts})
@idempotent
def ask(path: ReleasePath, body: TryoutRequest) -> Response:
    """Have pictures drawn with a release, by an evaluator and behind the rounds' own evaluations."""
    store, caller = current.store(), current.caller()
    made = tryouts.ask(store, current.settings(), caller, path.release_id, body, identifier())
    return _facts(made, 201)


@blueprint.get("/releases/<release_id>/tryouts", responses={200: Tryouts})
def listed(path: ReleasePath, query: Page) -> Response:
    """The caller's own try-outs of a release."""
    store, settings, caller = current.store(), current.settings(), current.caller()
    lines = tryouts.view(store, settings, caller, path.release_id, query.after, query.limit).lines
    last = lines[-1].tryout.id if len(lines) == query.limit else None
    return answer(Tryouts(items=tuple(_line(line) for line in lines), next=last))


@blueprint.get("/tryouts/<tryout_id>", responses={200: TryoutFacts})
def one(path: TryoutPath) -> Response:
    """A try-out of the caller's."""
    return _facts(path.tryout_id)


@blueprint.post("/tryouts/<tryout_id>/cancel", responses={200: TryoutFacts})
def cancel(path: TryoutPath) -> Response:
    """Draw no more of it. The pictures that are there stay."""
    tryouts.cancel(current.store(), current.caller(), path.tryout_id)
    return _facts(path.tryout_id)


@blueprint.post("/tryouts/<tryout_id>/again", responses={200: TryoutFacts})
def again(path: TryoutPath) -> Response:
    """Draw what one that failed or was cancelled still lacks."""
    tryouts.again(current.store(), current.settings(), current.caller(), path.tryout_id)
    return _facts(path.tryout_id)


@blueprint.delete("/tryouts/<tryout_id>", responses={204: None})
def delete(path: TryoutPath) -> Response:
    """Take it out, prompt and pictures."""
    tryouts.remove(current.store(), current.caller(), path.tryout_id)
    return Response(status=204)


@blueprint.get("/tryouts/<tryout_id>/pictures/<int:number>", responses={200: PNG, 206: PNG})
def picture(path: PicturePath) -> Response:
    """A picture of a try-out. Its ETag is its SHA-256."""
    place, sha256 = tryouts.picture(current.store(), current.caller(), path.tryout_id, path.number)
    return send_file(place, mimetype="image/png", conditional=True, etag=sha256)


def _facts(tryout_id: str, status: int = 200) -> Response:
    return answer(_line(tryouts.one(current.store(), current.caller(), tryout_id).line), status)


def _line(line: Line) -> TryoutFacts:
    row = line.tryout
    return TryoutFacts(
        id=row.id,
        release_id=row.release_id,
        prompt=row.prompt,
        negative=row.negative,
        count=row.count,
        strength=row.strength,
        steps=row.steps,
        guidance=row.guidance,
        seed=row.seed,
        size_pixels=row.size_pixels,
        status=row.status,
        ahead=line.ahead if row.status == tryouts.WAITING else 0,
        steps_done=row.steps_done,
        message=row.message,
        pictures=tuple(row.pictures),
        age_s=max(0.0, current.store().clock() - row.asked_at),
    )
