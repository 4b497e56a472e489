from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from tests.unit.server.conftest import Api, Clock, Machine
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from fedflow.server.api import uploads as uploads_api
from fedflow.server.database.tables import Upload
from fedflow.server.errors import Conflict, Gone, NotFound, Unauthorised, Unprocessable
from fedflow.server.services import devices, identity, upload_writing, uploads
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.upload_writing import Body, CutOff
from fedflow.server.store import Store

URL = "/api/v1/uploads"
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}
CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def new_upload(api: Api, length: int = len(CONTENT)) -> str:
    answer = api("POST", URL, headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201
    return answer.headers["Location"]


def patch(api: Api, location: str, offset: int, data: bytes, **headers: str) -> TestResponse:
    return api("PATCH", location, headers={**PIECE, "Upload-Offset": str(offset), **headers}, data=data)


def offset_of(api: Api, location: str) -> int:
    answer = api("HEAD", location, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["Upload-Offset"])


def row_of(store: Store, location: str) -> Upload:
    with store.read() as session:
        return session.get_one(Upload, location.rpartition("/")[2])


def file_of(store: Store, location: str) -> Path:
    return store.folder / "uploads" / location.rpartition("/")[2]


def test_the_server_says_what_it_can_do(device: Api) -> None:
    answer = device("OPTIONS", URL)
    assert answer.status_code == 204
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == "20000000000"
    assert answer.headers["Tus-Extension"] == "creation,creation-with-upload,termination,checksum,expiration"
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha256,sha1"


def test_an_upload_in_two_pieces_is_whole_and_hashed(device: Api, store: Store, machine: Machine) -> None:
    answer = device("POST", URL, headers={**TUS, "Upload-Length": str(len(CONTENT)), "Upload-Metadata": "run eA==,x"})
    location = answer.headers["Location"]
    assert re.fullmatch(r"/api/v1/uploads/[0-9a-f-]{36}", location)
    assert answer.headers["Upload-Offset"] == "0"
    answer = patch(device, location, 0, CONTENT[:1000])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "1000")
    assert "Upload-Expires" in answer.headers
    head = device("HEAD", location, headers=TUS)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("1000", str(len(CONTENT)))
    assert (head.headers["Upload-Metadata"], head.headers["Cache-Control"]) == ("run eA==,x", "no-store")
    assert row_of(store, location).sha256 is None
    answer = patch(device, location, 1000, CONTENT[1000:])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(CONTENT)))
    assert row_of(store, location).sha256 == SHA256
    caller = identity.authenticate(store, machine.token())
    assert uploads.take(store, caller, location.rpartition("/")[2], SHA256).read_bytes() == CONTENT


def test_an_upload_may_begin_with_its_creation_and_may_be_empty(device: Api, store: Store) -> None:
    headers = {**PIECE, "Upload-Length": str(len(CONTENT))}
    answer = device("POST", URL, headers=headers, data=CONTENT[:10])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "10")
    assert offset_of(device, answer.headers["Location"]) == 10
    empty = new_upload(device, 0)
    assert row_of(store, empty).sha256 == hashlib.sha256(b"").hexdigest()
    assert file_of(store, empty).read_bytes() == b""


@pytest.mark.parametrize(
    ("method", "headers", "status", "words"),
    [
        ("PATCH", {"Tus-Resumable": "0.2.2"}, 412, "'0.2.2'; this server speaks tus 1.0.0"),
        ("PATCH", {"Content-Type": "text/plain"}, 415, "no piece of an upload"),
        ("PATCH", {"Upload-Offset": "-1"}, 400, "Upload-Offset is '-1'"),
        ("PATCH", {"Upload-Offset": "9" * 50}, 400, "send a whole number"),
        ("PATCH", {"Upload-Offset": "7"}, 409, "at byte 0, not 7"),
        ("PATCH", {"Upload-Checksum": "md5 AAAA"}, 400, "'md5' is not supported"),
        ("PATCH", {"Upload-Checksum": "sha256 AAAA"}, 400, "no sha256 in base64"),
        ("PATCH", {"Upload-Checksum": "sha256 é"}, 400, "no sha256 in base64"),
        ("POST", {}, 400, "X-HTTP-Method-Override"),
        ("DELETE", {"Tus-Resumable": ""}, 412, "speaks tus"),
    ],
)
def test_requests_against_the_protocol_are_refused(
    device: Api, method: str, headers: dict[str, str], status: int, words: str
) -> None:
    location = new_upload(device)
    answer = device(method, location, headers={**PIECE, "Upload-Offset": "0", **headers}, data=b"x")
    assert answer.status_code == status
    assert words in answer.get_json()["error"]["message"]
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert (answer.headers.get("Tus-Version") == "1.0.0") == (status == 412)
    assert offset_of(device, location) == 0


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({}, 400, "Upload-Length is ''"),
        ({"Upload-Length": "1.5"}, 400, "Upload-Length is '1.5'"),
        ({"Upload-Defer-Length": "1"}, 400, "not supported"),
        ({"Upload-Length": "20000000001"}, 413, "20000000000 bytes"),
        ({"Upload-Length": "1", "Upload-Metadata": "a b c"}, 400, "Upload-Metadata"),
        ({"Upload-Length": "1", "Upload-Metadata": "a " + "A" * 3000}, 400, "2000 characters"),
    ],
)
def test_creations_against_the_protocol_are_refused(
    device: Api, store: Store, headers: dict[str, str], status: int, words: str
) -> None:
    answer = device("POST", URL, headers={**TUS, **headers})
    assert answer.status_code == status
    assert words in answer.get_json()["error"]["message"]
    assert list((store.folder / "uploads").iterdir()) == []


def test_an_upload_is_its_devices_alone(
    app: Flask, anyone: Api, coordinator: Api, device: Api, store: Store, federation_id: str
) -> None:
    location = new_upload(device)
    other = Machine(store)
    other.join(devices.new_code(store, federation_id, "museum", 500, ttl_s=3600))
    stranger = Api(app.test_client(), other.token())
    for method in ("HEAD", "PATCH", "DELETE"):
        headers = {**PIECE, "Upload-Offset": "0"}
        assert stranger(method, location, headers=headers).status_code == 404
        assert coordinator(method, location, headers=headers).status_code == 404
        assert anyone(method, location, headers=headers).status_code == 401
        assert device(method, f"{URL}/..%2fserver.db", headers=headers).status_code == 404
    caller = identity.authenticate(store, other.token())
    with pytest.raises(NotFound):
        uploads.take(store, caller, location.rpartition("/")[2], SHA256)
    assert offset_of(device, location) == 0


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_bytes_with_another_checksum_are_not_kept(device: Api, store: Store, algorithm: str) -> None:
    location = new_upload(device)
    patch(device, location, 0, b"kept")
    checksum = f"{algorithm} {b64encode(hashlib.new(algorithm, b'right').digest()).decode()}"
    answer = patch(device, location, 4, b"wrong", **{"Upload-Checksum": checksum})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (460, "checksum_mismatch")
    assert offset_of(device, location) == 4
    assert file_of(store, location).read_bytes() == b"kept"
    assert patch(device, location, 4, b"right", **{"Upload-Checksum": checksum}).status_code == 204
    assert file_of(store, location).read_bytes() == b"keptright"


def chunked(api: Api, location: str, data: bytes) -> TestResponse:
    """A body whose length nobody says, as with Transfer-Encoding: chunked."""
    return api(
        "PATCH",
        location,
        headers={**PIECE, "Upload-Offset": "0"},
        input_stream=io.BytesIO(data),
        environ_overrides={"wsgi.input_terminated": True},
    )


def test_more_bytes_than_announced_are_refused_however_they_come(device: Api, store: Store) -> None:
    location = new_upload(device, 100_000)
    answer = patch(device, location, 0, b"x" * 100_001)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "too_large")
    answer = chunked(device, location, b"x" * 100_001)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (413, "too_large")
    assert file_of(store, location).stat().st_size == 0
    assert offset_of(device, location) == 0
    assert chunked(device, location, b"x" * 100_000).headers["Upload-Offset"] == "100000"


def cut(api: Api, location: str, data: bytes, length: int, **headers: str) -> TestResponse:
    """A PATCH of `length` bytes of which only `data` arrives."""
    return api(
        "PATCH",
        location,
        headers={**PIECE, "Upload-Offset": "0", **headers},
        input_stream=io.BytesIO(data),
        environ_overrides={"CONTENT_LENGTH": str(length)},
    )


def test_what_came_in_before_a_cut_is_kept_but_not_under_a_checksum(device: Api, store: Store) -> None:
    location = new_upload(device)
    checksum = {"Upload-Checksum": f"sha256 {b64encode(hashlib.sha256(CONTENT).digest()).decode()}"}
    answer = cut(device, location, CONTENT[:700], len(CONTENT), **checksum)
    assert answer.status_code == 408
    assert offset_of(device, location) == 0
    answer = cut(device, location, CONTENT[:700], len(CONTENT))
    assert answer.status_code == 408
    assert "at byte 700" in answer.get_json()["error"]["message"]
    assert offset_of(device, location) == 700
    assert patch(device, location, 700, CONTENT[700:]).status_code == 204
    assert row_of(store, location).sha256 == SHA256


def test_a_creation_with_a_key_makes_one_upload(device: Api, store: Store) -> None:
    def create(length: int, key: str) -> TestResponse:
        return device("POST", URL, headers={**TUS, "Upload-Length": str(length), "Idempotency-Key": key})

    first, again = create(9, "a"), create(9, "a")
    assert (again.status_code, again.headers["Location"]) == (201, first.headers["Location"])
    assert again.headers["Upload-Offset"] == "0"
    assert create(9, "b").headers["Location"] != first.headers["Location"]
    assert create(10, "a").status_code == 409
    headers = {**PIECE, "Upload-Length": "9", "Idempotency-Key": "c"}
    begun = device("POST", URL, headers=headers, data=b"123")
    again = device("POST", URL, headers=headers, data=b"123")
    assert (again.status_code, again.headers["Location"]) == (201, begun.headers["Location"])
    assert offset_of(device, begun.headers["Location"]) == 3
    with store.read() as session:
        assert len(session.scalars(select(Upload)).all()) == 3


def test_an_upload_made_before_a_crash_is_found_by_its_key(store: Store, machine: Machine) -> None:
    caller, identifier = identity.authenticate(store, machine.token()), new_id()
    made = [uploads.create(store, caller, 9, "", 10, 60, identifier) for _ in range(2)]
    assert made[0] == made[1]


def test_a_device_that_is_revoked_while_it_sends_is_cut_off(store: Store, machine: Machine) -> None:
    caller = identity.authenticate(store, machine.token())
    upload = uploads.create(store, caller, len(CONTENT), "", 10**9, 3600)
    pieces = iter([CONTENT[:100], CONTENT[100:], b""])

    def read(_size: int) -> bytes:
        piece = next(pieces)
        if not piece:
            devices.revoke(store, machine.device_id)
        return piece

    with pytest.raises(Unauthorised, match="the device was revoked"):
        uploads.append(store, caller, upload.id, 0, Body(read, None), None, ttl_s=3600)
    assert row_of(store, upload.id).offset_bytes == 0


def test_bytes_that_were_never_acknowledged_are_cut_off(device: Api, store: Store) -> None:
    location = new_upload(device)
    patch(device, location, 0, CONTENT[:100])
    with file_of(store, location).open("ab") as file:
        file.write(b"of a process that was killed" * 1000)
    assert offset_of(device, location) == 100
    assert patch(device, location, 100, CONTENT[100:]).status_code == 204
    assert file_of(store, location).read_bytes() == CONTENT
    assert row_of(store, location).sha256 == SHA256


def test_a_long_body_is_acknowledged_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch, device: Api, store: Store, machine: Machine
) -> None:
    monkeypatch.setattr(upload_writing, "CHECKPOINT_S", 0.0)
    monkeypatch.setattr(upload_writing, "READ_BYTES", 100)
    location = new_upload(device)
    caller = identity.authenticate(store, machine.token())
    source = io.BytesIO(CONTENT)
    seen: list[int] = []

    def read(size: int) -> bytes:
        seen.append(row_of(store, location).offset_bytes)
        return source.read(size)

    uploads.append(store, caller, location.rpartition("/")[2], 0, Body(read, None), None, ttl_s=3600)
    assert seen == [*range(0, len(CONTENT), 100), len(CONTENT)][: len(seen)]
    assert len(seen) > 9


def test_bytes_reach_the_disk_before_they_are_acknowledged(
    monkeypatch: pytest.MonkeyPatch, device: Api, store: Store
) -> None:
    location = new_upload(device)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = patch(device, location, 0, CONTENT)
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (507, "disk_full")
    assert offset_of(device, location) == 0
    assert patch(device, location, 0, CONTENT).status_code == 204


def test_one_request_at_a_time_holds_an_upload(monkeypatch: pytest.MonkeyPatch, device: Api, store: Store) -> None:
    monkeypatch.setattr(uploads, "HAND_OVER_S", 0.05)
    location = new_upload(device)
    with file_of(store, location).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        for method in ("HEAD", "PATCH", "DELETE"):
            assert device(method, location, headers={**PIECE, "Upload-Offset": "0"}).status_code == 423
    assert patch(device, location, 0, CONTENT).status_code == 204


def test_who_asks_for_the_offset_waits_for_the_request_that_was_cut(
    monkeypatch: pytest.MonkeyPatch, device: Api, store: Store, machine: Machine
) -> None:
    monkeypatch.setattr(uploads, "HAND_OVER_S", 30.0)
    location = new_upload(device)
    caller = identity.authenticate(store, machine.token())
    reading, breaks = threading.Event(), threading.Event()
    pieces = iter([CONTENT[:500]])

    def read(size: int) -> bytes:
        reading.set()
        piece = next(pieces, None)
        if piece is None:
            assert breaks.wait(30)
            raise CutOff
        return piece

    def write() -> None:
        body = Body(read, len(CONTENT))
        with pytest.raises(uploads.Interrupted):
            uploads.append(store, caller, location.rpartition("/")[2], 0, body, None, ttl_s=3600)

    writer = threading.Thread(target=write)
    writer.start()
    assert reading.wait(30)
    threading.Timer(0.2, breaks.set).start()
    assert offset_of(device, location) == 500
    writer.join(30)


def test_a_device_may_have_eight_uploads(device: Api, store: Store, clock: Clock) -> None:
    locations = [new_upload(device) for _ in range(8)]
    refused = device("POST", URL, headers={**TUS, "Upload-Length": "1"})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (429, "too_many_uploads")
    assert len(list((store.folder / "uploads").iterdir())) == 8
    # One that is deleted, and one that was handed in, make room.
    assert device("DELETE", locations[0], headers=TUS).status_code == 204
    new_upload(device)
    patch(device, locations[1], 0, CONTENT)
    assert device("POST", URL, headers={**TUS, "Upload-Length": "1"}).status_code == 429
    store.blobs.adopt(file_of(store, locations[1]), SHA256)
    new_upload(device)
    assert device("POST", URL, headers={**TUS, "Upload-Length": "1"}).status_code == 429


def test_uploads_that_nobody_goes_on_with_do_not_lock_a_device_out(device: Api, store: Store, clock: Clock) -> None:
    """Creations whose answer was lost, pieces of rounds that are over, and what came too late to be handed in."""
    locations = [new_upload(device) for _ in range(8)]
    clock.now += 1
    patch(device, locations[0], 0, CONTENT[:500])
    clock.now += uploads.IDLE_S - 1
    with open(file_of(store, locations[1]), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # a request is at it
        new_upload(device)
    assert offset_of(device, locations[0]) == 500
    assert offset_of(device, locations[1]) == 0
    assert device("HEAD", locations[2], headers=TUS).status_code == 404
    assert len(list((store.folder / "uploads").iterdir())) == 8


def test_an_upload_expires_when_its_time_is_over(app: Flask, store: Store, machine: Machine, clock: Clock) -> None:
    device = Api(app.test_client(), machine.token())
    location = new_upload(device)
    clock.now += 1.9 * 86_400
    device.token = machine.token()
    assert patch(device, location, 0, CONTENT[:100]).status_code == 204
    clock.now += 1.9 * 86_400  # counts from the last byte
    device.token = machine.token()
    assert offset_of(device, location) == 100
    clock.now += 0.2 * 86_400
    device.token = machine.token()
    assert device("HEAD", location, headers=TUS).status_code == 410
    assert patch(device, location, 100, CONTENT[100:]).status_code == 410


def test_what_is_deleted_is_gone(device: Api, store: Store) -> None:
    for override in (False, True):
        location = new_upload(device)
        patch(device, location, 0, CONTENT[:100])
        if override:
            answer = device("POST", location, headers={**TUS, "X-HTTP-Method-Override": "DELETE"})
        else:
            answer = device("DELETE", location, headers=TUS)
        assert answer.status_code == 204
        assert device("HEAD", location, headers=TUS).status_code == 404
        assert not file_of(store, location).exists()


def test_a_patch_may_come_as_a_post(device: Api, store: Store) -> None:
    location = new_upload(device)
    headers = {**PIECE, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert device("POST", location, headers=headers, data=CONTENT).status_code == 204
    assert row_of(store, location).sha256 == SHA256


def test_what_may_be_taken(device: Api, store: Store, machine: Machine) -> None:
    caller = identity.authenticate(store, machine.token())
    location = new_upload(device)
    upload_id = location.rpartition("/")[2]
    patch(device, location, 0, CONTENT[:100])
    with pytest.raises(Conflict, match=f"byte 100 of {len(CONTENT)}"):
        uploads.take(store, caller, upload_id, SHA256)
    patch(device, location, 100, CONTENT[100:])
    with pytest.raises(Unprocessable, match=SHA256):
        uploads.take(store, caller, upload_id, "0" * 64)
    path = uploads.take(store, caller, upload_id, SHA256)
    # A crash after the bytes were moved and before the row that refers to them: the same hand-in again.
    store.blobs.adopt(path, SHA256)
    assert offset_of(device, location) == len(CONTENT)
    again = uploads.take(store, caller, upload_id, SHA256)
    assert again == path
    assert again.read_bytes() == CONTENT
    store.blobs.adopt(again, SHA256)
    assert store.blobs.get(SHA256).read_bytes() == CONTENT
    store.blobs.get(SHA256).unlink()
    with pytest.raises(Gone):
        uploads.take(store, caller, upload_id, SHA256)


def test_bytes_that_the_disk_lost_are_told(device: Api, store: Store) -> None:
    location = new_upload(device)
    patch(device, location, 0, CONTENT[:100])
    os.truncate(file_of(store, location), 50)
    answer = patch(device, location, 100, CONTENT[100:])
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (410, "gone")


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    """The application behind a server with a thread per connection."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join(30)
    server.server_close()


def test_an_existing_tus_client_works(tmp_path: Path, address: str, machine: Machine, store: Store) -> None:
    content = os.urandom(3_000_000)
    path = tmp_path / "update"
    path.write_bytes(content)
    client = TusClient(f"{address}{URL}", headers={"Authorization": f"Bearer {machine.token()}"})
    with path.open("rb") as file:
        first: Any = client.uploader(file_stream=file, chunk_size=500_000, metadata={"run": "a"}, upload_checksum=True)
        first.upload(stop_at=1_000_000)
        second: Any = client.uploader(file_stream=file, chunk_size=2_000_000, url=first.url, upload_checksum=True)
        assert second.offset == 1_000_000
        second.upload()
        assert file_of(store, first.url).read_bytes() == content
        assert row_of(store, first.url).sha256 == hashlib.sha256(content).hexdigest()
        with pytest.raises(TusCommunicationError):
            client.uploader(file_stream=file, url=f"{address}{URL}/unknown")


def test_a_body_that_stalls_is_cut_off_and_kept(
    monkeypatch: pytest.MonkeyPatch, address: str, machine: Machine, device: Api
) -> None:
    monkeypatch.setattr(uploads_api, "STALL_S", 0.2)
    location = new_upload(device)
    headers = {**PIECE, "Upload-Offset": "0", "Content-Length": "5000", "Authorization": f"Bearer {machine.token()}"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode() + CONTENT[:600])
        assert b" 408 " in connection.recv(1000)
    assert offset_of(device, location) == 600
