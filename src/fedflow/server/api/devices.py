"""Devices join, prove their key, and are shut out."""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from fedflow.federation.protocol import (
    API,
    Challenged,
    ChallengeRequest,
    Joined,
    JoinRequest,
    SignInBegun,
    SignInQuestion,
    SignInRequest,
    SignInState,
    Token,
    TokenRequest,
)
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.idempotency import idempotent
from fedflow.server.api.messages import DevicePath, Me
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.services import device_sign_in, devices

blueprint = APIBlueprint("devices", __name__, url_prefix=API, abp_tags=[Tag(name="devices")], abp_responses=PROBLEMS)
BEARER: list[dict[str, list[str]]] = [{"bearer": []}]


@blueprint.post("/join", responses={201: Joined})
@idempotent
def join(body: JoinRequest) -> Response:
    """Join a federation with a one-time code and this device's public key."""
    return answer(devices.join(current.store(), body, request.remote_addr or ""), 201)


@blueprint.post("/sign-ins", responses={201: SignInBegun})
def begin_sign_in(body: SignInRequest) -> Response:
    """Wait to be let in by a person who signs in on the server's page /device and types the code that comes back."""
    return answer(device_sign_in.begin(current.store(), body.device_name, request.remote_addr or ""), 201)


@blueprint.post("/sign-ins/state", responses={200: SignInState})
def sign_in_state(body: SignInQuestion) -> Response:
    """Whether the device was let in; then it joins with the code that it waited with."""
    return answer(device_sign_in.state(current.store(), body.code))


@blueprint.post("/devices/challenge", responses={200: Challenged})
def challenge(body: ChallengeRequest) -> Response:
    """Something for the device to sign."""
    return answer(devices.challenge(current.store(), body.device_id))


@blueprint.post("/devices/token", responses={200: Token})
def token(body: TokenRequest) -> Response:
    """A short-lived token for a signed challenge."""
    return answer(devices.token(current.store(), body))


@blueprint.get("/me", responses={200: Me}, security=BEARER)
def me() -> Response:
    """Who the server takes the caller for."""
    caller = current.caller()
    return answer(Me(kind=caller.kind, id=caller.id, federation_id=caller.federation_id, member=caller.member))


@blueprint.post("/devices/<device_id>/revoke", responses={204: None}, security=BEARER)
def revoke(path: DevicePath) -> Response:
    """Shut a device out, at once."""
    devices.revoke(current.store(), path.device_id, current.caller())
    return Response(status=204)
