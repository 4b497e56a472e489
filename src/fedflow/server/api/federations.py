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
    CapRequest,
    Code,
    CodeLine,
    CodePath,
    CodeRequest,
    Codes,
    CountsShown,
    FederationChange,
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
from fedflow.server.database.tables import Federation
from fedflow.server.services import federation_changes, federations, join_codes, policies, shown_counts
from fedflow.server.services import members as members_service
from fedflow.server.services.policies import Policies

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
    return answer(FederationFacts(id=made, name=body.name, closed=False), 201)


@blueprint.get("/federations", responses={200: Federations})
def listed(query: Page) -> Response:
    """Federations, oldest first."""
    found = federations.listed(current.store(), current.caller(), query.after, query.limit)
    items = tuple(_facts(federation) for federation in found)
    return answer(Federations(items=items, next=items[-1].id if len(items) == query.limit else None))


@blueprint.patch("/federations/<federation_id>", responses={200: FederationFacts})
def change(path: FederationPath, body: FederationChange) -> Response:
    """Rename a federation, close it, or open it again."""
    store, caller = current.store(), current.caller()
    if body.name is not None:
        federation_changes.rename(store, path.federation_id, body.name, caller)
    if body.closed is not None:
        federation_changes.close(store, path.federation_id, closed=body.closed, by=caller)
    return answer(_facts(federations.one(store, path.federation_id)))


@blueprint.delete("/federations/<federation_id>", responses={204: None})
def delete(path: FederationPath) -> Response:
    """Delete a federation that nothing depends on: without members, runs, models and imports."""
    federation_changes.delete(current.store(), path.federation_id, current.caller())
    return Response(status=204)


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
    made = join_codes.make(
        current.store(),
        path.federation_id,
        body.member,
        body.max_examples,
        longest_s=current.settings().code_ttl_s,
        by=current.caller(),
    )
    return answer(Code(code=made.code, expires_in_s=made.expires_in_s), 201)


@blueprint.get("/federations/<federation_id>/codes", responses={200: Codes})
def open_codes(path: FederationPath) -> Response:
    """Join codes that nobody has used and that still hold."""
    store = current.store()
    now = store.clock()
    items = tuple(
        CodeLine(
            id=each.id, member=each.member, max_examples=each.max_examples, expires_in_s=max(0, each.expires_at - now)
        )
        for each in join_codes.open_codes(store, path.federation_id)
    )
    return answer(Codes(items=items))


@blueprint.delete("/federations/<federation_id>/codes/<code_id>", responses={204: None})
def withdraw_code(path: CodePath) -> Response:
    """Make an open join code worth nothing."""
    join_codes.withdraw(current.store(), path.federation_id, path.code_id, current.caller())
    return Response(status=204)


@blueprint.get("/federations/<federation_id>/policies", responses={200: Policies})
def read_policies(path: FederationPath) -> Response:
    """The federation's rules for its runs and members."""
    return answer(policies.read(current.store(), path.federation_id))


@blueprint.put("/federations/<federation_id>/policies", responses={200: Policies})
def set_policies(path: FederationPath, body: Policies) -> Response:
    """Set all rules of the federation; one that is left out forbids nothing from then on."""
    policies.change(current.store(), path.federation_id, body, current.caller())
    return answer(policies.read(current.store(), path.federation_id))


@blueprint.patch("/members/<member_id>", responses={204: None})
def set_cap(path: MemberPath, body: CapRequest) -> Response:
    """Let a member's updates count for so many examples at most, from the next one on."""
    members_service.set_cap(current.store(), path.member_id, body.max_examples, current.caller())
    return Response(status=204)


@blueprint.get("/members/<member_id>/counts", responses={200: CountsShown})
def counts_shown(path: MemberPath) -> Response:
    """Whether the member's name and example counts are shown beyond its federation."""
    return answer(CountsShown(shown=shown_counts.are_shown(current.store(), path.member_id)))


@blueprint.put("/members/<member_id>/counts", responses={200: CountsShown})
def shows_counts(path: MemberPath, body: CountsShown) -> Response:
    """Show the member's name and example counts beyond its federation, in lineages and releases, or no longer."""
    shown_counts.show(current.store(), current.caller(), path.member_id, shown=body.shown)
    return answer(body)


@blueprint.delete("/members/<member_id>", responses={204: None})
def remove_member(path: MemberPath) -> Response:
    """Shut a member out with all its machines, at once."""
    federations.remove_member(current.store(), path.member_id, current.caller())
    return Response(status=204)


def _facts(federation: Federation) -> FederationFacts:
    return FederationFacts(id=federation.id, name=federation.name, closed=federation.closed_at is not None)
