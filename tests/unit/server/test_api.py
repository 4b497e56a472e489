"""The API as a client meets it: rights, the one error shape, pages, idempotency, ranges, streams, description."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from tests.unit.server.conftest import Api, Clock, Machine
from werkzeug.test import TestResponse

from fedflow.errors import RunError, StorageError
from fedflow.federation.protocol import Problem
from fedflow.plan import Plan
from fedflow.server.api import rights
from fedflow.server.api.app import create_app
from fedflow.server.api.events import MOST_OF_A_CALLER, STREAMS
from fedflow.server.api.logs import JsonLines
from fedflow.server.database.tables import Job, Run, RunMember
from fedflow.server.errors import ApiError, Conflict
from fedflow.server.services import audit, devices, events, federations, files, idempotency, runs
from fedflow.server.services.identity import Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store

FEDERATIONS = "/api/v1/federations"


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; routes on one."""
    return ServerSettings(folder=tmp_path / "data")


def _problem(response: TestResponse, status: int) -> str:
    """The message of an error, its shape checked."""
    assert response.status_code == status, response.get_data(as_text=True)
    error = Problem.model_validate_json(response.get_data()).error
    assert error.request_id == response.headers["X-Request-ID"]
    assert error.message
    assert "\n" not in error.message
    assert "Traceback" not in error.message
    return error.message


def _routes(app: Flask) -> list[tuple[str, str, str]]:
    found = []
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", "0" * 64 if "sha256" in rule.rule else "0", rule.rule)
        found += [(rule.endpoint, method, path) for method in sorted(rule.methods or ()) if method != "OPTIONS"]
    return found


def test_every_route_but_the_open_ones_needs_a_token(app: Flask, anyone: Api) -> None:
    closed = [route for route in _routes(app) if rights.RIGHTS[route[0]].who not in ("anyone", "reader")]
    assert len(closed) >= 9
    for _, method, path in closed:
        for headers in ({}, {"Authorization": "Bearer ffd_x"}, {"Authorization": "Basic eDp5"}):
            response = anyone(method, path, headers=headers)
            assert response.status_code == 401, path
            assert response.headers["WWW-Authenticate"] == "Bearer"
            if method != "HEAD":
                _problem(response, 401)


def test_a_right_is_for_one_kind(app: Flask, device: Api) -> None:
    for endpoint, method, path in _routes(app):
        if rights.RIGHTS[endpoint].who == "person" and method != "HEAD":
            assert _problem(device(method, path), 403) == "this is for a person, and the token is a device's"


def test_a_route_without_a_right_stops_the_start(
    store: Store, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(rights.RIGHTS, "devices.me")
    with pytest.raises(RunError, match=r"no right is given for devices\.me"):
        create_app(store, settings)


def test_a_machine_joins_over_the_api(anyone: Api, coordinator: Api, store: Store, federation_id: str) -> None:
    made = coordinator("POST", f"{FEDERATIONS}/{federation_id}/codes", json={"member": "studio"})
    assert made.status_code == 201
    machine = Machine(store)
    request = {"code": made.json["code"], "device_name": "pc", "public_key": machine.public_key, "version": "0.1.0"}
    joined = anyone("POST", "/api/v1/join", json=request)
    assert joined.status_code == 201
    machine.device_id = joined.json["device_id"]
    challenged = anyone("POST", "/api/v1/devices/challenge", json={"device_id": machine.device_id})
    signed = machine.signed(challenged.json["nonce"]).model_dump()
    token = anyone("POST", "/api/v1/devices/token", json=signed)
    assert token.json["expires_in_s"] == 900
    anyone.token = token.json["token"]
    assert anyone("GET", "/api/v1/me").json == {
        "kind": "device",
        "id": machine.device_id,
        "federation_id": federation_id,
        "member": "studio",
    }
    assert coordinator("POST", f"/api/v1/devices/{machine.device_id}/revoke").status_code == 204
    _problem(anyone("GET", "/api/v1/me"), 401)
    [member] = coordinator("GET", f"{FEDERATIONS}/{federation_id}/members").json["items"]
    assert member["devices"][0]["revoked"] is True
    assert coordinator("DELETE", f"/api/v1/members/{member['id']}").status_code == 204


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"json": {}}, 422, "name: field required"),
        ({"json": {"name": "a", "colour": "red"}}, 422, "colour: extra inputs are not permitted"),
        ({"json": {"name": "a\x01b"}}, 422, "name: 'a\\x01b': holds characters that a terminal"),
        (
            {"data": '{"name": "\\ud800"}', "content_type": "application/json"},
            422,
            "name: input should be a valid string",
        ),
        ({"data": b"{", "content_type": "application/json"}, 400, "not a JSON object"),
        ({"data": b"[" * 100_000, "content_type": "application/json"}, 400, "nested too deeply"),
        ({"data": b"name=a", "content_type": "text/plain"}, 415, "send it as application/json"),
        ({"data": b" " * 1_000_001, "content_type": "application/json"}, 413, "larger than the server takes here"),
        ({}, 400, "not a JSON object"),
    ],
)
def test_bad_content(coordinator: Api, request_: dict[str, object], status: int, message: str) -> None:
    assert message in _problem(coordinator("POST", FEDERATIONS, **request_), status)


@pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", ".hidden", "central", "alone-1", "a\nb", ""])
def test_a_members_name_is_a_folders_name(coordinator: Api, federation_id: str, name: str) -> None:
    response = coordinator("POST", f"{FEDERATIONS}/{federation_id}/codes", json={"member": name})
    told = _problem(response, 422)
    assert told.startswith("member: ")
    assert "String should match" not in told


def test_wrong_addresses_methods_and_pages(anyone: Api, coordinator: Api, federation_id: str) -> None:
    _problem(anyone("GET", "/api/v1/nothing"), 404)
    response = anyone("DELETE", "/api/v1/join")
    assert "does not take the method DELETE" in _problem(response, 405)
    assert "POST" in response.headers["Allow"]
    assert "limit: " in _problem(coordinator("GET", f"{FEDERATIONS}?limit=201"), 422)
    _problem(coordinator("GET", "/api/v1/files/..%2f..%2fetc%2fpasswd"), 404)
    _problem(coordinator("GET", "/api/v1/files/ABC"), 422)
    _problem(coordinator("GET", f"{FEDERATIONS}/nowhere/members"), 404)


def test_a_nul_is_refused_on_every_database(coordinator: Api, federation_id: str) -> None:
    for name in ("a\0b", "\0"):
        answer = coordinator("POST", FEDERATIONS, json={"name": name})
        assert "the character NUL" in _problem(answer, 422)
    plan = {"federation_id": federation_id, "plan": {"name": "a\x1b[2J", "data": {"clients": ["studio"]}}}
    assert "plan: name: " in _problem(coordinator("POST", "/api/v1/runs", json=plan), 422)


def test_a_run_with_a_number_that_makes_no_sense_is_refused(coordinator: Api, federation_id: str) -> None:
    plan = {"training": {"learning_rate": 500}, "data": {"clients": ["studio"]}}
    problem = _problem(coordinator("POST", "/api/v1/runs", json={"federation_id": federation_id, "plan": plan}), 422)
    assert "plan: training.learning_rate: input should be less than or equal to 1, not 500" in problem


def test_pages_go_on_where_the_last_one_ended(coordinator: Api) -> None:
    for name in "abcd":
        coordinator("POST", FEDERATIONS, json={"name": name})
    names, after = [], ""
    for _ in range(3):
        page = coordinator("GET", f"{FEDERATIONS}?limit=2&after={after}").json
        names += [item["name"] for item in page["items"]]
        after = page["next"]
    assert names == ["federation", "a", "b", "c", "d"]
    assert after is None


def test_another_protocol_is_told_so(anyone: Api) -> None:
    response = anyone("GET", "/healthz", headers={"FedFlow-Protocol": "1"})
    assert "this server speaks protocol 3, the client '1'" in _problem(response, 426)
    assert response.headers["Upgrade"] == "FedFlow/3"
    assert anyone("GET", "/healthz", headers={"FedFlow-Protocol": "3"}).status_code == 200


def test_a_post_with_a_key_is_done_once(coordinator: Api, store: Store, federation_id: str) -> None:
    def post(member: str, key: str) -> TestResponse:
        address = f"{FEDERATIONS}/{federation_id}/codes"
        return coordinator("POST", address, json={"member": member}, headers={"Idempotency-Key": key})

    first = post("studio", "key-1")
    assert (first.status_code, post("studio", "key-1").json) == (201, first.json)
    assert post("studio", "key-2").json != first.json
    assert "came with another request" in _problem(post("museum", "key-1"), 409)
    assert _problem(post("museum", "k" * 201), 422).startswith("Idempotency-Key: ")
    with store.engine.connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT * FROM idempotency_key").all())
    assert first.json["code"] not in kept
    assert "key-1" not in kept


def test_a_consent_that_the_network_brings_late_again_undoes_no_later_answer(
    device: Api, store: Store, federation_id: str, machine: Machine
) -> None:
    run = runs.create(store, federation_id, Plan.model_validate({"data": {"clients": ["studio"]}}))

    def say(accept: bool, key: str) -> int:
        said = {"accept": accept, "num_examples": 9}
        return device("POST", f"/api/v1/runs/{run}/consent", json=said, headers={"Idempotency-Key": key}).status_code

    assert [say(True, "1"), say(False, "2"), say(True, "1")] == [200, 200, 200]
    told = [event.kind for event in events.since(store, federation_id, 0, 200) if event.run_id == run]
    assert told == ["run created", "consent accepted", "consent declined"]
    with store.read() as session:
        assert session.scalars(select(RunMember)).one().consent == "declined"


def test_a_refused_post_is_done_when_it_comes_again(coordinator: Api) -> None:
    key = {"Idempotency-Key": "key-1"}
    _problem(coordinator("POST", FEDERATIONS, json={"name": "federation"}, headers=key), 409)
    assert coordinator("POST", FEDERATIONS, json={"name": "other"}, headers=key).status_code == 201


def test_what_was_made_before_a_crash_is_not_made_again(store: Store, federation_id: str, machine: Machine) -> None:
    plan = Plan.model_validate({"data": {"clients": ["studio"]}})
    claim = idempotency.claim(store, "person a", "key", "digest")
    assert isinstance(claim, idempotency.Claim)
    for _ in range(2):  # the process died after the first, and before the answer was noted
        assert runs.create(store, federation_id, plan, claim.identifier) == claim.identifier
        assert federations.create(store, "other", claim.identifier) == claim.identifier
    with store.read() as session:
        assert len(session.scalars(select(Run)).all()) == 1
        assert len(session.scalars(select(Job)).all()) == 1


def test_a_slow_post_keeps_its_key_though_the_same_one_is_refused_meanwhile(store: Store, clock: Clock) -> None:
    first = idempotency.claim(store, "person a", "key", "digest")
    clock.now += idempotency.UNDER_WAY_S
    second = idempotency.claim(store, "person a", "key", "digest")
    assert isinstance(first, idempotency.Claim)
    assert isinstance(second, idempotency.Claim)
    assert second.identifier == first.identifier
    idempotency.release(store, "person a", "key", second)
    idempotency.keep(store, "person a", "key", first, idempotency.Answer(201, "{}"))  # the first came to its end
    assert idempotency.claim(store, "person a", "key", "digest") == idempotency.Answer(201, "{}")


def test_a_key_whose_try_came_to_nothing_is_free_for_another_request(store: Store, clock: Clock) -> None:
    first = idempotency.claim(store, "person a", "key", "digest")
    assert isinstance(first, idempotency.Claim)
    with pytest.raises(Conflict):
        idempotency.claim(store, "person a", "key", "other digest")
    clock.now += idempotency.UNDER_WAY_S
    other = idempotency.claim(store, "person a", "key", "other digest")
    assert isinstance(other, idempotency.Claim)
    assert other.identifier != first.identifier
    idempotency.keep(store, "person a", "key", first, idempotency.Answer(201, "first"))  # it was only slow
    idempotency.keep(store, "person a", "key", other, idempotency.Answer(201, "other"))
    assert idempotency.claim(store, "person a", "key", "other digest") == idempotency.Answer(201, "other")


def test_keys_belong_to_their_caller(store: Store, clock: Clock) -> None:
    first = idempotency.claim(store, "person a", "key", "digest")
    assert idempotency.claim(store, "person b", "key", "digest") != first
    with pytest.raises(ApiError, match="still under way"):
        idempotency.claim(store, "person a", "key", "digest")
    clock.now += idempotency.UNDER_WAY_S
    again = idempotency.claim(store, "person a", "key", "digest")
    assert isinstance(first, idempotency.Claim)
    assert isinstance(again, idempotency.Claim)
    assert again.identifier == first.identifier, "who was at it is dead"
    idempotency.keep(store, "person a", "key", again, idempotency.Answer(201, "{}"))
    assert idempotency.claim(store, "person a", "key", "digest") == idempotency.Answer(201, "{}")
    clock.now += 86_400
    idempotency.forget(store)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM idempotency_key").scalar() == 0


def test_downloads_by_range(coordinator: Api, device: Api, store: Store) -> None:
    digest = files.put(store, bytes(range(256)) * 40, "update")
    address = f"/api/v1/files/{digest}"
    whole = coordinator("GET", address)
    assert whole.data == bytes(range(256)) * 40
    assert whole.headers["ETag"] == f'"{digest}"'
    assert {"private", "immutable", "max-age=31536000"} <= set(whole.headers["Cache-Control"].split(", "))
    head = coordinator("HEAD", address)
    assert (head.data, head.headers["Content-Length"], head.headers["Accept-Ranges"]) == (b"", "10240", "bytes")
    part = coordinator("GET", address, headers={"Range": "bytes=10000-", "If-Range": f'"{digest}"'})
    assert (part.status_code, part.data) == (206, (bytes(range(256)) * 40)[10000:])
    assert part.headers["Content-Range"] == "bytes 10000-10239/10240"
    other = coordinator("GET", address, headers={"Range": "bytes=10000-", "If-Range": '"other"'})
    assert (other.status_code, len(other.data)) == (200, 10240)
    assert coordinator("GET", address, headers={"If-None-Match": f'"{digest}"'}).status_code == 304
    several = coordinator("GET", address, headers={"Range": "bytes=0-1,5-9"})
    assert (several.status_code, len(several.data)) == (200, 10240)
    outside = coordinator("GET", address, headers={"Range": "bytes=20000-"})
    assert "outside the file" in _problem(outside, 416)
    assert outside.headers["Content-Range"] == "bytes */10240"
    _problem(device("GET", address), 404)
    store.blobs.get(digest).unlink()
    assert "cannot use its store" in _problem(coordinator("GET", address), 500)


def test_events_by_page_and_by_stream(coordinator: Api, store: Store, federation_id: str) -> None:
    for number in range(3):
        with store.begin() as session:
            events.record(session, store, federation_id, None, "counted", number=number)
    address = f"{FEDERATIONS}/{federation_id}/events"
    page = coordinator("GET", f"{address}?limit=2").json
    assert [item["facts"] for item in page["items"]] == [{"number": 0}, {"number": 1}]
    assert [item["facts"] for item in coordinator("GET", f"{address}?after={page['next']}").json["items"]] == [
        {"number": 2}
    ]

    streaming = {"Accept": "text/event-stream", "Last-Event-ID": str(page["next"])}
    with coordinator("GET", address, headers=streaming, buffered=False) as stream:
        assert stream.mimetype == "text/event-stream"
        chunks = iter(stream.response)
        assert next(chunks) == b"retry: 1000\n\n"
        lines = next(chunks).decode().splitlines()  # type: ignore[union-attr]
        assert lines[:2] == [f"id: {page['next'] + 1}", "event: counted"]
        assert json.loads(lines[2].removeprefix("data: "))["facts"] == {"number": 2}
        with store.begin() as session:
            events.record(session, store, federation_id, None, "later")
        assert b"event: later" in next(chunks)  # type: ignore[operator]
    bad = {"Accept": "text/event-stream", "Last-Event-ID": "x"}
    assert _problem(coordinator("GET", address, headers=bad), 422).startswith("Last-Event-ID: ")


def test_a_stream_ends_when_its_token_does(coordinator: Api, store: Store, federation_id: str) -> None:
    address = f"{FEDERATIONS}/{federation_id}/events"
    with coordinator("GET", address, headers={"Accept": "text/event-stream"}, buffered=False) as stream:
        chunks = iter(stream.response)
        next(chunks)
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE person_token SET revoked_at = 1")
        assert list(chunks) == []


def test_streams_leave_threads_for_others(
    coordinator: Api, store: Store, settings: ServerSettings, federation_id: str
) -> None:
    address, asked = f"{FEDERATIONS}/{federation_id}/events", {"Accept": "text/event-stream"}
    half = settings.threads // 2
    others = [STREAMS.enter(Caller("person", f"p{number}"), settings.threads) for number in range(half)]
    refused = coordinator("GET", address, headers=asked)
    assert f"{half} event streams are open" in _problem(refused, 503)
    assert refused.headers["Retry-After"] == "5"
    for leave in others:
        leave()
    with coordinator("GET", address, headers=asked, buffered=False) as stream:
        assert stream.status_code == 200


def test_one_caller_takes_not_all_streams(coordinator: Api, settings: ServerSettings, federation_id: str) -> None:
    address, asked = f"{FEDERATIONS}/{federation_id}/events", {"Accept": "text/event-stream"}
    opened = [coordinator("GET", address, headers=asked, buffered=False) for _ in range(MOST_OF_A_CALLER)]
    assert {stream.status_code for stream in opened} == {200}
    refused = coordinator("GET", address, headers=asked)
    assert f"you have {MOST_OF_A_CALLER} event streams open" in _problem(refused, 429)
    STREAMS.enter(Caller("person", "another"), settings.threads)()
    for stream in opened:
        stream.close()
    with coordinator("GET", address, headers=asked, buffered=False) as stream:
        assert stream.status_code == 200


def test_health(anyone: Api, store: Store) -> None:
    assert anyone("GET", "/healthz").json == {"status": "up"}
    assert anyone("GET", "/readyz").json == {"status": "ready"}
    with store.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    assert "this FedFlow is older than its database" in _problem(anyone("GET", "/readyz"), 503)


def test_a_store_that_is_gone_is_not_ready(anyone: Api, store: Store) -> None:
    store.blobs.folder.rmdir()
    assert "store cannot be written (No such file" in _problem(anyone("GET", "/readyz"), 503)


def _raise(error: Exception) -> Callable[[Store, str, Caller], None]:
    def route(_store: Store, _device_id: str, _by: Caller) -> None:
        raise error

    return route


def test_disk_full_and_defects_tell_no_more_than_they_should(
    coordinator: Api, machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = StorageError("/secret/path: disk full")
    full.__cause__ = OSError(28, "No space left on device")
    monkeypatch.setattr(devices, "revoke", _raise(full))
    assert "disk is full" in _problem(coordinator("POST", f"/api/v1/devices/{machine.device_id}/revoke"), 507)
    monkeypatch.setattr(devices, "revoke", _raise(ZeroDivisionError("secret")))
    response = coordinator("POST", f"/api/v1/devices/{machine.device_id}/revoke")
    assert "secret" not in _problem(response, 500)
    logged = [json.loads(JsonLines().format(record)) for record in caplog.records]
    [defect] = [line for line in logged if "traceback" in line]
    assert defect["request_id"] == response.headers["X-Request-ID"]
    assert "ZeroDivisionError: secret" in defect["traceback"]


def test_a_database_that_is_gone_is_unavailable_until_it_is_back(coordinator: Api, store: Store) -> None:
    database, away = store.folder / "server.db", store.folder / "away.db"
    store.engine.dispose()
    database.rename(away)
    database.mkdir()
    assert "database does not answer" in _problem(coordinator("GET", FEDERATIONS), 503)
    database.rmdir()
    away.rename(database)
    assert coordinator("GET", FEDERATIONS).status_code == 200


def test_a_line_per_request_without_secrets(coordinator: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fedflow.server.requests"):
        coordinator("GET", f"{FEDERATIONS}?after=canary", headers={"X-Request-ID": "given-1"})
        coordinator("GET", "/healthz", headers={"X-Request-ID": "bad id"})
    first, second = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert (first["request_id"], first["method"], first["path"], first["status"]) == (
        "given-1",
        "GET",
        FEDERATIONS,
        200,
    )
    assert first["caller"].startswith("person ")
    assert first["ms"] > 0
    assert len(second["request_id"]) == 36
    assert coordinator.token is not None
    assert coordinator.token not in json.dumps([first, second])
    assert "canary" not in json.dumps([first, second])


def test_a_poll_that_brings_nothing_is_no_line(device: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fedflow.server.requests"):
        assert device("GET", "/api/v1/work").json["action"] == "wait"
        assert device("GET", "/api/v1/work?doing=x").status_code == 422
        assert device("GET", "/healthz").status_code == 200
    told = [json.loads(JsonLines().format(record)) for record in caplog.records]
    assert [(line["path"], line["status"]) for line in told] == [("/api/v1/work", 422), ("/healthz", 200)]


def test_the_api_describes_itself(anyone: Api) -> None:
    described = anyone("GET", "/openapi/openapi.json").json
    assert described["openapi"].startswith("3.1")
    join = described["paths"]["/api/v1/join"]["post"]
    assert join["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/JoinRequest"}
    for status in ("404", "409", "422"):
        assert join["responses"][status]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Problem"
        }
    text = json.dumps(described)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in described["components"]["schemas"]
    page = anyone("GET", "/openapi/swagger")
    assert page.status_code == 200
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page.get_data(as_text=True)), "assets from elsewhere"


def test_the_api_describes_its_headers_and_statuses(anyone: Api) -> None:
    paths = {
        path.removeprefix("/api/v1"): methods
        for path, methods in anyone("GET", "/openapi/openapi.json").json["paths"].items()
    }

    def headers(path: str, method: str) -> set[str]:
        return {each["name"] for each in paths[path][method]["parameters"] if each["in"] == "header"}

    for path in ("/join", "/federations", "/federations/{federation_id}/codes", "/runs", "/runs/{run_id}/consent"):
        assert headers(path, "post") == {"Idempotency-Key"}
    assert "Idempotency-Key" in headers("/uploads", "post")
    assert headers("/runs/{run_id}/rounds/{number}/updates", "post") == {"Idempotency-Key"}
    assert "Last-Event-ID" in headers("/federations/{federation_id}/events", "get")
    page = paths["/federations/{federation_id}/events"]["get"]["responses"]["200"]["content"]
    assert set(page) == {"application/json", "text/event-stream"}
    assert headers("/files/{sha256}", "get") == {"Range", "If-Range", "If-None-Match"}
    assert {"206", "304", "416"} <= set(paths["/files/{sha256}"]["get"]["responses"])
    assert headers("/uploads", "post") >= {"Tus-Resumable", "Upload-Length"}
    assert headers("/uploads/{upload_id}", "patch") >= {"Tus-Resumable", "Upload-Offset", "Upload-Checksum"}
    assert headers("/uploads/{upload_id}", "head") == {"Tus-Resumable"}
    assert "options" in paths["/uploads"]
    assert {"423", "460"} <= set(paths["/uploads/{upload_id}"]["patch"]["responses"])
    statuses = {path: set(methods["get"]["responses"]) for path, methods in paths.items() if "get" in methods}
    assert statuses["/runs"] == {"200", "401", "403", "422", "426", "429", "500", "503"}
    assert statuses["/healthz"] == {"200", "426", "500", "503"}
    assert "content" not in paths["/uploads"]["post"]["responses"]["201"]
    assert "content" not in paths["/members/{member_id}"]["delete"]["responses"]["204"]


def test_the_web_process_imports_no_torch() -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'peft', 'PIL', 'scipy', 'matplotlib', 'authlib'} & set(sys.modules)"
    program = f"import sys, fedflow.server.serve; print(sorted({heavy}))"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize(("proxies", "address"), [(0, "127.0.0.1"), (1, "192.0.2.9"), (2, "203.0.113.5")])
def test_an_address_is_what_the_proxies_in_front_say_and_no_client(
    store: Store, settings: ServerSettings, proxies: int, address: str
) -> None:
    app = create_app(store, settings.model_copy(update={"proxies": proxies}))
    code = devices.new_code(store, federations.first_federation(store), "later", 5, ttl_s=60)
    body = {"code": code, "device_name": "x", "public_key": Machine(store).public_key, "version": "0.1.0"}
    written = {"X-Forwarded-For": "198.51.100.1, 203.0.113.5, 192.0.2.9", "X-Forwarded-Host": "evil.example"}
    assert app.test_client().post("/api/v1/join", json=body, headers=written).status_code == 201
    [entry] = audit.listed(store, action="device joined", before=1_000, limit=1)
    assert entry.address == address


def test_charts_are_drawn_without_torch() -> None:
    """The evaluator of runs that nobody scores stays small."""
    program = "import sys, fedflow.server.worker.charts; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == "False\n"
