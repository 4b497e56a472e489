"""People of a federation: their roles, invitations, the audit log; and the caller's own tokens and data."""

from __future__ import annotations

from typing import Any

from flask import Response, jsonify
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import Field

from fedflow.federation.protocol import API, Message, Name, Seconds
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent
from fedflow.server.api.messages import FederationPath, Identifier, MemberName
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.database.people import AuditEntry, RoleName
from fedflow.server.services import accounts, audit, invitations, moments, own_data, role_changes, roles, tokens
from fedflow.server.services.identity import Scope

blueprint = APIBlueprint(
    "people",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="people")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)
DAY_S = 86_400.0
DATA = {"description": "Account, roles, sign-ins, tokens, actions.", "content": {"application/json": {}}}


class HolderLine(Message):
    """A person with a role in the federation."""

    person_id: str
    name: str
    email: str | None
    role: RoleName
    member_id: str | None


class Holders(Message):
    """The people of a federation; they are few, and come at once."""

    items: tuple[HolderLine, ...]


class RoleRequest(Message):
    """What a person is to be."""

    role: RoleName
    member: MemberName | None = Field(None, description="Whom a participant acts for; made where it is not there.")


class PersonPath(Message):
    """Part of an address."""

    federation_id: Identifier
    person_id: Identifier


class InvitationRequest(Message):
    """Somebody to invite; a participant's invitation names the member that they act for."""

    role: RoleName
    email: str | None = Field(None, max_length=254)
    member: MemberName | None = None


class InvitationCode(Message):
    """The code of a new invitation; its link is /invitation/CODE."""

    code: str
    expires_in_s: Seconds


class InvitationLine(Message):
    """An invitation that nobody has used yet."""

    id: str
    federation: str | None
    role: RoleName | None
    member: str | None
    email: str | None
    expires_in_s: Seconds
    held_up: bool = Field(
        description="It leads nowhere until the federation is opened again: it names a member that is not there yet."
    )


class InvitationList(Message):
    """A federation's open invitations."""

    items: tuple[InvitationLine, ...]


class InvitationPath(Message):
    """Part of an address."""

    federation_id: Identifier
    invitation_id: Identifier


class AcceptRequest(Message):
    """An invitation to take up with the account one has."""

    code: str = Field(max_length=80)


class Accepted(Message):
    """The federation that one belongs to now; none where it was none's."""

    federation_id: str | None


class TokenToMake(Message):
    """A token for programs, with a name, what it may do, and for how many days."""

    name: Name
    scopes: tuple[Scope, ...] = Field(min_length=1)
    days: float = Field(90, gt=0, le=366)
    federation_id: Identifier | None = None


class TokenMade(Message):
    """The token's text, which is told this once."""

    token: str


class TokenLine(Message):
    """A token of the caller's."""

    id: str
    name: str
    scopes: tuple[str, ...]
    federation_id: str | None
    age_s: Seconds
    expires_in_s: float | None


class TokenList(Message):
    """The caller's tokens."""

    items: tuple[TokenLine, ...]


class TokenPath(Message):
    """Part of an address."""

    token_id: Identifier


class AuditPage(Message):
    """Which entries: at most `limit` with numbers below `before`, newest first.

    Of one action, of what `object_id` names, of `since` (seconds since 1970) to before `until`, or all.
    """

    limit: int = Field(50, ge=1, le=200)
    before: int = Field(2**62, ge=0, le=2**62)
    action: str = Field("", max_length=80)
    object_id: str = Field("", max_length=400)
    since: float | None = None
    until: float | None = None


class AuditLine(Message):
    """Who did what, when and from where. `via` is the sign-in, token or key; `hash` ends the chain up to here."""

    number: int
    at: str = Field(description="When it was: ISO 8601, in UTC.")
    age_s: Seconds
    actor_kind: str
    actor_id: str
    actor: str
    via: str
    address: str
    action: str
    federation_id: str | None
    object_kind: str
    object_id: str
    facts: dict[str, Any]
    hash: str


class AuditLog(Message):
    """A page of entries; `next` is what to give as 'before'."""

    items: tuple[AuditLine, ...]
    next: int | None


@blueprint.get("/federations/<federation_id>/people", responses={200: Holders})
def holders(path: FederationPath) -> Response:
    """The people of a federation, with their roles."""
    found = roles.holders_seen_by(current.store(), current.caller(), path.federation_id)
    return answer(Holders(items=tuple(HolderLine.model_validate(each, from_attributes=True) for each in found)))


@blueprint.put("/federations/<federation_id>/people/<person_id>/role", responses={204: None})
def give_role(path: PersonPath, body: RoleRequest) -> Response:
    """Make a person of the federation something else."""
    store, caller = current.store(), current.caller()
    role_changes.give(store, caller, path.federation_id, path.person_id, body.role, body.member)
    return Response(status=204)


@blueprint.delete("/federations/<federation_id>/people/<person_id>/role", responses={204: None})
def take_role(path: PersonPath) -> Response:
    """Let a person have nothing to do with the federation any more."""
    role_changes.take(current.store(), current.caller(), path.federation_id, path.person_id)
    return Response(status=204)


@blueprint.post("/federations/<federation_id>/invitations", responses={201: InvitationCode})
@idempotent
def invite(path: FederationPath, body: InvitationRequest) -> Response:
    """Invite somebody, to no more than the caller is; where the server sends letters, one goes to the address."""
    store, caller = current.store(), current.caller()
    email = None if body.email is None else accounts.checked_email(body.email)
    letter_in = "en" if current.settings().sends_letters else None
    code = invitations.make(
        store, caller, path.federation_id, body.role, email=email, member=body.member, letter_in=letter_in
    )
    return answer(InvitationCode(code=code, expires_in_s=invitations.LIFE_S), 201)


@blueprint.get("/federations/<federation_id>/invitations", responses={200: InvitationList})
def open_invitations(path: FederationPath) -> Response:
    """Invitations that nobody has used yet."""
    found = invitations.listed(current.store(), path.federation_id)
    return answer(
        InvitationList(items=tuple(InvitationLine.model_validate(each, from_attributes=True) for each in found))
    )


@blueprint.delete("/federations/<federation_id>/invitations/<invitation_id>", responses={204: None})
def withdraw(path: InvitationPath) -> Response:
    """Take an unused invitation back."""
    invitations.withdraw(current.store(), current.caller(), path.invitation_id, path.federation_id)
    return Response(status=204)


@blueprint.post("/me/invitations", responses={200: Accepted})
@idempotent
def accept(body: AcceptRequest) -> Response:
    """Take an invitation up with the account one has."""
    return answer(Accepted(federation_id=invitations.accept(current.store(), current.caller(), body.code)))


@blueprint.get("/federations/<federation_id>/audit", responses={200: AuditLog})
def audited(path: FederationPath, query: AuditPage) -> Response:
    """What was done in a federation, newest first."""
    return _log(path.federation_id, query)


@blueprint.get("/audit", responses={200: AuditLog})
def audited_everywhere(query: AuditPage) -> Response:
    """What was done on this server, newest first."""
    return _log(None, query)


@blueprint.post("/me/tokens", responses={201: TokenMade})
@idempotent
def make_token(body: TokenToMake) -> Response:
    """Make a token for programs; it may do no more than the one that asks."""
    store, caller = current.store(), current.caller()
    if body.federation_id is not None:
        roles.require(store, caller, "federation_id", body.federation_id, "viewer")
    text = tokens.make(store, caller, body.name, body.scopes, body.days * DAY_S, body.federation_id)
    return answer(TokenMade(token=text), 201)


@blueprint.get("/me/tokens", responses={200: TokenList})
def own_tokens() -> Response:
    """The caller's tokens."""
    now = current.store().clock()
    items = tuple(
        TokenLine(
            id=each.id,
            name=each.name,
            scopes=each.scopes,
            federation_id=each.federation_id,
            age_s=max(0.0, now - each.created_at),
            expires_in_s=None if each.expires_at is None else each.expires_at - now,
        )
        for each in tokens.listed(current.store(), current.caller())
    )
    return answer(TokenList(items=items))


@blueprint.delete("/me/tokens/<token_id>", responses={204: None})
def revoke_token(path: TokenPath) -> Response:
    """End one of the caller's tokens, at once."""
    tokens.revoke(current.store(), current.caller(), path.token_id)
    return Response(status=204)


@blueprint.get("/me/data", responses={200: DATA})
def exported() -> Response:
    """Everything that the server holds of the caller."""
    return jsonify(own_data.export(current.store(), current.caller()))


def _log(federation_id: str | None, query: AuditPage) -> Response:
    store = current.store()
    found = audit.listed(store, federation_id=federation_id, **query.model_dump())
    items = tuple(_line(entry, store.clock()) for entry in found)
    return answer(AuditLog(items=items, next=items[-1].number if len(items) == query.limit else None))


def _line(entry: AuditEntry, now: float) -> AuditLine:
    told = {name: getattr(entry, name) for name in AuditLine.model_fields if name not in ("at", "age_s")}
    return AuditLine(**told, at=moments.iso(entry.at), age_s=max(0.0, now - entry.at))
