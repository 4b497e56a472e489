"""Federations, their members, and codes to join with."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from fedflow.federation.protocol import API
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent, identifier
from fedflow.server.api.messages import (
    Code,
    CodeRequest,
    FederationFacts,
    FederationPath,
    FederationRequest,
    Federations,
    MemberLine,
    MemberPath,
    Members,
    Page,
)
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.services import devices, federations

blueprint = APIBlueprint(
    "federations",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="federations")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)


@blueprint.post("/federations", responses={201: FederationFacts})
@idempotent
def create(body: FederationRequest) -> Response:
    """Make a federation."""
    made = federations.create(current.store(), body.name, identifier(), current.caller())
    return answer(FederationFacts(id=made, name=body.name), 201)


@blueprint.get("/federations", responses={200: Federations})
def listed(query: Page) -> Response:
    """Federations, oldest first."""
    found = federations.listed(current.store(), current.caller(), query.after, query.limit)
    items = tuple(FederationFacts(id=federation.id, name=federation.name) for federation in found)
    return answer(Federations(items=items, next=items[-1].id if len(items) == query.limit else None))


@blueprint.get("/federations/<federation_id>/members", responses={200: Members})
def members(path: FederationPath, query: Page) -> Response:
    """Members with their machines, in the order they joined."""
    found = federations.members(current.store(), path.federation_id, query.after, query.limit)
    items = tuple(MemberLine.model_validate(member, from_attributes=True) for member in found)
    return answer(Members(items=items, next=items[-1].id if len(items) == query.limit else None))


@blueprint.post("/federations/<federation_id>/codes", responses={201: Code})
@idempotent
def new_code(path: FederationPath, body: CodeRequest) -> Response:
    """A one-time code with which one device joins as a member."""
    ttl_s = current.settings().code_ttl_s
    code = devices.new_code(
        current.store(), path.federation_id, body.member, body.max_examples, ttl_s=ttl_s, by=current.caller()
    )
    return answer(Code(code=code, expires_in_s=ttl_s), 201)


@blueprint.delete("/members/<member_id>", responses={204: None})
def remove_member(path: MemberPath) -> Response:
    """Shut a member out with all its machines, at once."""
    federations.remove_member(current.store(), path.member_id, current.caller())
    return Response(status=204)
