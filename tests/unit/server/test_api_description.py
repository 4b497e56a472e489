"""What schemathesis makes of the API's description is sent to the app: nothing fails, and all errors have one shape.

Six examples of each operation, four of them about things that are there, as nobody, as the coordinator and as a
device: always the same ones, in half a minute. Before a release, and after a change of the API, let it run longer, with
other examples each time (from 10 on); 200 of them take some seven minutes on two cores:

    FEDFLOW_EXAMPLES=200 .venv/bin/pytest tests/unit/server/test_api_description.py
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as tried
from pydantic import ValidationError
from schemathesis import Case, openapi, serializer
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.unit.server.conftest import Machine
from tests.unit.server.run_setting import Setting
from tests.unit.server.test_rights import Walk

from fedflow.federation.protocol import Problem
from fedflow.server.database.tables import Version
from fedflow.server.services import devices, federations, identity, invitations, registry
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

EXAMPLES = int(os.environ.get("FEDFLOW_EXAMPLES", "6"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LENIENT = list(HealthCheck)

serializer.alias("application/offset+octet-stream", "application/octet-stream")


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; the description on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def real(app: Flask, store: Store, setting: Setting, federation_id: str) -> dict[str, str]:
    """Identifiers of things that are there, by the names of the addresses' parts."""
    identity.first_coordinator(store)
    walk = Walk(app, store, federation_id, setting)
    machine = Machine(store)
    machine.join(devices.new_code(store, federation_id, "machine", 5, ttl_s=3600))
    invitations.make(store, SERVER, federation_id, "viewer")
    version: Version = _first_version(store)
    member = federations.members(store, federation_id)[0]
    return {
        "federation_id": federation_id,
        "run_id": setting.run,
        "number": "1",
        "artifact_id": version.artifact_id,
        "version_id": version.id,
        "sha256": version.content,
        "member_id": member.id,
        "person_id": identity.FIRST,
        "kind": "adapter",
        "release_id": walk.release(),
        "tryout_id": walk.tryout(None),
        "import_id": walk.brought(None),
        "invitation_id": invitations.listed(store, federation_id)[-1].id,
        "device_id": machine.device_id,
        "layout": "kohya",
    }


def _first_version(store: Store) -> Version:
    [artifact] = registry.artifacts(store, SERVER, registry.MODEL, "", 1)
    return registry.versions(store, SERVER, artifact.id, 0, 1)[0]


@pytest.mark.parametrize("who", ["nobody", "coordinator", "device"])
def test_nothing_that_the_description_allows_fails(
    app: Flask, store: Store, setting: Setting, real: dict[str, str], who: str
) -> None:
    token = (store.folder / identity.TOKEN_FILE).read_text().strip()
    headers = {}
    if who == "coordinator":
        headers["Authorization"] = f"Bearer {token}"
    elif who == "device":
        headers["Authorization"] = f"Bearer {_device_token(store, real['federation_id'])}"
    schema = openapi.from_wsgi("/openapi/openapi.json", app)
    found: dict[str, str] = {}
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 50
    answered: set[int] = set()
    for operation in operations:
        label = f"{operation.method.upper()} {operation.path}"
        try:
            _try(operation, app, headers, real, answered.add)
        except (FailureGroup, AssertionError, ExceptionGroup) as failure:
            found[label] = str(failure)[:1500]
    assert not found, "\n\n".join(f"{label}\n{failure}" for label, failure in found.items())
    assert {401, 404} <= answered if who == "nobody" else {404, 422} <= answered


def _try(
    operation: APIOperation, app: Flask, headers: dict[str, str], real: dict[str, str], answered: Callable[[int], None]
) -> None:
    """Send some examples of the operation: two of three about things that are there."""
    turn = 0

    @tried(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES < 10,
        phases=[Phase.generate],
        suppress_health_check=LENIENT,
    )
    @given(case=operation.as_strategy())
    def send(case: Case) -> None:
        nonlocal turn
        turn += 1
        if turn % 3 and case.path_parameters:
            case.path_parameters = {name: real.get(name, value) for name, value in case.path_parameters.items()}
        answer = case.call(headers=headers, buffered=True)  # read whole and closed
        case.validate_response(answer, checks=CHECKS, headers=headers)
        answered(answer.status_code)
        if answer.status_code >= 400 and operation.method != "head":
            _check_shape(answer.status_code, answer.content, answer.headers["content-type"][0])

    send()


def _check_shape(status: int, content: bytes, kind: str) -> None:
    assert kind == "application/json", (status, kind)
    try:
        error = Problem.model_validate_json(content).error
    except ValidationError as fault:
        raise AssertionError(f"{status} without the one shape: {content[:200]!r}") from fault
    assert error.message.strip(), content
    assert error.code.strip(), content
    assert error.request_id.strip(), content


def _device_token(store: Store, federation_id: str) -> str:
    machine = Machine(store)
    machine.join(devices.new_code(store, federation_id, "walker", 5, ttl_s=3600))
    return machine.token()
