"""Two servers with a folder each on one database and one S3-compatible store, which is a real server over HTTP."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from s3_server import BUCKET, S3Server, s3_server
from sqlalchemy import select
from tests.unit.server.conftest import Api, Clock, Machine
from tests.unit.server.page_setting import Site
from tests.unit.server.run_setting import MEMBERS, Setting, adapter
from werkzeug.test import TestResponse

from fedflow.errors import MistakeError, StorageError, StoreAway
from fedflow.plan import Plan
from fedflow.server import backup, keys
from fedflow.server.api.app import create_app
from fedflow.server.database.tables import Artifact, Device, File, Job, Run, Upload, UploadPiece, Version
from fedflow.server.errors import Conflict, Unprocessable
from fedflow.server.opening import open_to_serve
from fedflow.server.services import (
    devices,
    downloads,
    estimating,
    federations,
    files,
    identity,
    jobs,
    quarantine,
    registry,
    releases,
    run_charts,
    runs,
    upload_pieces,
    uploads,
)
from fedflow.server.services.upload_writing import Body, CutOff
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, blobs_of, open_store
from fedflow.server.worker.main import ROUNDS, carry_out

PREFIXES = itertools.count()
DAY_S = 86_400
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}
CONTENT = os.urandom(3000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as made:
        yield made


@pytest.fixture
def settings(s3: S3Server, new_database: Callable[[], str], tmp_path: Path) -> ServerSettings:
    """Of the first server."""
    url = f"s3://{BUCKET}/server-{next(PREFIXES)}"
    return ServerSettings(folder=tmp_path / "data", database_url=new_database(), store_url=url)


@pytest.fixture
def other_settings(store: Store, settings: ServerSettings, tmp_path: Path) -> ServerSettings:
    """Of the second one, with the key of the first."""
    store.key("any")
    (tmp_path / "other").mkdir()
    shutil.copy(store.folder / keys.FILE, tmp_path / "other")
    return settings.model_copy(update={"folder": tmp_path / "other"})


@pytest.fixture
def other(other_settings: ServerSettings, store: Store) -> Iterator[Store]:
    """The second server's store, by the same clock."""
    opened = open_to_serve(other_settings)
    yield Store(opened.engine, opened.folder, opened.blobs, store.clock)
    opened.engine.dispose()


@pytest.fixture
def other_app(other: Store, other_settings: ServerSettings) -> Flask:
    return create_app(other, other_settings)


@pytest.fixture
def there(other_app: Flask, device: Api) -> Api:
    """The device at the second server."""
    return Api(other_app.test_client(), device.token)


def patch(api: Api, location: str, offset: int, data: bytes) -> TestResponse:
    return api("PATCH", location, headers={**PIECE, "Upload-Offset": str(offset)}, data=data)


def new_upload(api: Api, length: int = len(CONTENT)) -> str:
    answer = api("POST", "/api/v1/uploads", headers={**TUS, "Upload-Length": str(length)})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def offset_of(api: Api, location: str) -> int:
    return int(api("HEAD", location, headers=TUS).headers["Upload-Offset"])


def keys_of(store: Store, prefix: str) -> list[str]:
    assert store.objects is not None
    return sorted(each.key for each in store.objects.listed(prefix))


def test_an_upload_begun_at_one_server_goes_on_at_the_other_when_that_one_is_gone(
    device: Api, there: Api, store: Store, other: Store, machine: Machine
) -> None:
    location = new_upload(device)
    assert patch(device, location, 0, CONTENT[:1000]).headers["Upload-Offset"] == "1000"
    assert offset_of(there, location) == 1000
    assert patch(there, location, 1000, CONTENT[1000:1500]).status_code == 204
    shutil.rmtree(store.folder / "uploads")  # the first server's disk is lost
    (store.folder / "uploads").mkdir()
    assert patch(there, location, 1500, CONTENT[1500:]).headers["Upload-Offset"] == "3000"
    caller = identity.authenticate(store, machine.token())
    upload_id = location.rpartition("/")[2]
    for each in (other, store):  # at either, whatever lies in its folder
        (each.folder / "uploads" / upload_id).write_bytes(b"left from before" * 1000)
        assert uploads.take(each, caller, upload_id, SHA256).read_bytes() == CONTENT
    with uploads.taken(other, caller, upload_id, SHA256) as path:
        other.blobs.adopt(path, SHA256)
    assert keys_of(store, upload_pieces.PREFIX) == []
    assert store.blobs.get(SHA256).read_bytes() == CONTENT
    # Handed in again at the other, whose copy is out of date: the bytes come from the blob.
    (store.folder / "uploads" / upload_id).write_bytes(b"left from before")
    assert uploads.take(store, caller, upload_id, SHA256).read_bytes() == CONTENT


def test_of_two_servers_that_go_on_from_one_byte_the_first_wins(
    device: Api, there: Api, store: Store, other: Store, machine: Machine
) -> None:
    location = new_upload(device)
    caller = identity.authenticate(store, machine.token())
    upload_id = location.rpartition("/")[2]

    def read(size: int) -> bytes:  # while it is read, the other server takes in other bytes for the same place
        if not chunks:
            raise CutOff
        assert patch(there, location, 0, CONTENT[:700]).status_code == 204
        return chunks.pop()

    chunks = [b"\0" * 900]
    with pytest.raises(Conflict, match="another request wrote to this upload; it is at byte 700, go on from there"):
        uploads.append(store, caller, upload_id, 0, Body(read, 3000), None, ttl_s=DAY_S)
    assert offset_of(device, location) == 700
    assert patch(device, location, 700, CONTENT[700:]).status_code == 204
    assert uploads.take(store, caller, upload_id, SHA256).read_bytes() == CONTENT


def test_a_last_piece_that_comes_twice_is_taken_once(device: Api, there: Api, store: Store, machine: Machine) -> None:
    location = new_upload(device)
    caller = identity.authenticate(store, machine.token())
    chunks = [CONTENT, b""]

    def read(size: int) -> bytes:
        if chunks[0]:
            assert patch(there, location, 0, CONTENT).status_code == 204
        return chunks.pop(0)

    with pytest.raises(Conflict, match="it is at byte 3000"):
        uploads.append(store, caller, location.rpartition("/")[2], 0, Body(read, 3000), None, ttl_s=DAY_S)
    assert uploads.take(store, caller, location.rpartition("/")[2], SHA256).read_bytes() == CONTENT


def large_model(store: Store, federation_id: str) -> tuple[str, int]:
    """Register the base model 'large', opened here already: the list of its files, and the bytes of its weights."""
    header = {"conv_in.weight": {"dtype": "F32", "shape": [1000, 1000], "data_offsets": [0, 4_000_000]}}
    text = json.dumps(header).encode()
    weights = len(text).to_bytes(8, "little") + text + bytes(4_000_000)
    parts = {"unet/config.json": b'{"sample_size": 16}', "unet/model.safetensors": weights}
    listed = [
        {"path": path, "sha256": files.put(store, content, "base"), "size_bytes": len(content)}
        for path, content in parts.items()
    ]
    content = files.put(store, json.dumps(listed).encode(), "base")
    with store.begin() as session:
        artifact = registry.artifact_of(session, store, federation_id, registry.MODEL, "large")
        registry.add(session, store, artifact, content=content, facts={}, content_hash="1")
    return content, len(weights)


def test_what_a_run_costs_is_told_without_fetching_its_base_model(
    store: Store, other: Store, federation_id: str
) -> None:
    content, size = large_model(store, federation_id)
    plan = Plan(model="registry:large", method="fedavg", data={"clients": ["a"]})
    told = estimating.estimated(other, federation_id, plan, estimating.known(other, federation_id))
    assert told is not None
    assert told.base_bytes == size
    copies = [path for path in (other.folder / "blobs").rglob("*") if path.is_file()]
    assert [path.name for path in copies] == [content], "the list alone"


def test_a_large_upload_is_sent_on_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch, device: Api, store: Store, machine: Machine
) -> None:
    monkeypatch.setattr(upload_pieces, "PIECE_BYTES", 400)
    monkeypatch.setattr("fedflow.server.services.upload_writing.READ_BYTES", 1000)
    location = new_upload(device)
    assert patch(device, location, 0, CONTENT).status_code == 204
    with store.read() as session:
        pieces = upload_pieces.of(session, location.rpartition("/")[2])
    assert [piece.size_bytes for piece in pieces] == [400, 400, 200] * 3
    assert len(keys_of(store, upload_pieces.PREFIX)) == 9


def test_pieces_that_nobody_wants_any_more_are_removed(
    device: Api, there: Api, store: Store, clock: Clock, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted, expired, young = (new_upload(device) for _ in range(3))
    for location in (deleted, expired, young):
        patch(device, location, 0, CONTENT[:10])
    assert there("DELETE", deleted, headers=TUS).status_code == 204
    assert {key.split("/")[1] for key in keys_of(store, "uploads")} == {
        location.rpartition("/")[2] for location in (expired, young)
    }
    clock.now += 100
    patch(there, young, 10, CONTENT[10:20])
    files.collect(store, upload_ttl_s=50)
    assert {key.split("/")[1] for key in keys_of(store, "uploads")} == {young.rpartition("/")[2]}
    with store.read() as session:
        assert session.get(Upload, expired.rpartition("/")[2]) is None
        assert {piece.upload_id for piece in session.query(UploadPiece)} == {young.rpartition("/")[2]}


@pytest.fixture
def away(store: Store, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The same server when nobody answers at its S3 store's address."""
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        return Store(store.engine, store.folder, blobs_of(settings), store.clock)


def test_a_store_that_is_away_is_told_and_costs_nothing(
    device: Api, store: Store, away: Store, settings: ServerSettings
) -> None:
    location = new_upload(device)
    patch(device, location, 0, CONTENT[:1000])
    without = Api(create_app(away, settings).test_client(), device.token)
    refused = patch(without, location, 1000, CONTENT[1000:])
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert refused.get_json()["error"]["message"] == "the server's store does not answer; try again in a moment"
    ready = without("GET", "/readyz")
    assert ready.status_code == 503
    assert ready.get_json()["error"]["message"] == "the server's store does not answer; its log tells why"
    assert device("GET", "/readyz").status_code == 200
    assert offset_of(device, location) == 1000
    assert patch(device, location, 1000, CONTENT[1000:]).status_code == 204


def test_a_page_that_waits_for_a_file_holds_no_connection(
    setting: Setting, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = setting.store
    Site.of(create_app(store, settings), store).account("ada")
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    setting.aggregate()
    digest = files.put(store, CONTENT, "picture")
    with store.begin() as session:
        version = session.query(Version).filter_by(round=1).one()
        session.get_one(Artifact, version.artifact_id).examples = [digest]
        files.share(session, federations.first_federation(store), digest)
    downloads.keep(store, version.id, "kohya", digest)
    run_charts.keep(store, setting.run, {"loss": digest})
    release_id = releases.release(store, identity.SERVER, version.id, "v1", "")
    federation_id = federations.first_federation(store)
    large_model(store, federation_id)
    with store.begin() as session:
        run = session.get_one(Run, setting.run)
        run.plan = {**run.plan, "model": "registry:large"}
    addresses = (
        f"/federations/{federation_id}/runs/new",
        f"/versions/{version.id}/files/kohya",
        f"/releases/{release_id}/files/kohya",
        f"/releases/{release_id}/provenance",
        f"/models/{version.artifact_id}/examples/{digest}",
        f"/pictures/{digest}",
        f"/runs/{setting.run}",
    )
    shutil.rmtree(store.folder / "blobs")
    for address in addresses:
        with socket.create_server(("127.0.0.1", 0)) as slow:
            slow.settimeout(30)
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{slow.getsockname()[1]}")
            waiting = Store(store.engine, store.folder, blobs_of(settings), store.clock)
            reader = Site.of(create_app(waiting, settings), waiting).reader("ada")
            asking = threading.Thread(target=reader.get, args=(address,))
            asking.start()
            with slow.accept()[0] as asked:
                assert asked.recv(1000)
                held = store.engine.pool.checkedout()  # type: ignore[attr-defined]
        asking.join()
        assert held == 0, address


def test_a_worker_waits_for_a_store_that_is_away(
    setting: Setting, away: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST_DEATHS", 1)
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    job_id = jobs.waiting(setting.store, ("aggregate",))[0]
    for _ in range(3):
        with pytest.raises(StoreAway):
            carry_out(away, ServerSettings(folder=away.folder), ROUNDS, job_id, "worker")
        assert jobs.waiting(setting.store, ("aggregate",)) == [job_id]
    with setting.store.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.errors, job.attempts) == (0, 0)
    setting.aggregate()
    assert setting.work("a").round == 2


def test_what_one_server_takes_in_the_other_aggregates(setting: Setting, other: Store) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    shutil.rmtree(setting.store.folder / "blobs")
    there = Setting(other, setting.run, setting.callers)
    there.aggregate()
    assert there.work("a").round == 2
    setting.hand_in("b", 2, adapter(9))
    with pytest.raises(Unprocessable, match="norm"):
        there.hand_in("a", 2, adapter(9, size=1e6))
    assert len(quarantine.names(setting.store)) == 1
    assert len(keys_of(other, "quarantine")) == 1
    assert quarantine.size_bytes(setting.store) == quarantine.size_bytes(other) > 0, "wherever it lies"


def test_collection_asks_the_store_and_not_the_cache(store: Store, other: Store, clock: Clock) -> None:
    unused, orphan = files.put(store, b"unused", "update"), store.blobs.put(b"no row was written")
    assert other.blobs.get(unused).read_bytes() == b"unused"
    clock.now += DAY_S + 1
    young = files.put(other, b"young", "update")
    assert files.collect(other, upload_ttl_s=DAY_S) == 2
    assert [each.digest for each in store.blobs.listed()] == [young]
    assert unused not in store.blobs
    assert orphan not in other.blobs
    with store.read() as session:
        assert [row.sha256 for row in session.query(File)] == [young]


def test_a_download_in_parts_comes_through_any_server(
    there: Api, store: Store, other: Store, federation_id: str
) -> None:
    digest = files.put(store, CONTENT, "adapter")
    with store.begin() as session:
        files.share(session, federation_id, digest)
    part = there("GET", f"/api/v1/files/{digest}", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.data) == (206, CONTENT[1000:2000])
    assert part.headers["Content-Range"] == "bytes 1000-1999/3000"
    shutil.rmtree(other.folder / "blobs")
    assert there("GET", f"/api/v1/files/{digest}").data == CONTENT


def test_a_server_with_another_key_or_store_is_refused(
    store: Store, settings: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity.first_coordinator(store)
    devices.new_code(store, federations.first_federation(store), "a", None, ttl_s=1)  # an entry of the audit log
    files.put(store, b"a file", "any")
    other = settings.model_copy(update={"folder": tmp_path / "other"})
    with pytest.raises(MistakeError, match=r"other/server\.key: is not the key of this database's server; copy the fi"):
        open_to_serve(other)
    assert not (tmp_path / "other" / keys.FILE).exists()
    monkeypatch.setenv(keys.VARIABLE, (store.folder / keys.FILE).read_text())
    open_to_serve(other).engine.dispose()
    monkeypatch.setenv(keys.VARIABLE, "A" * 44)
    keys.derived.cache_clear()
    with pytest.raises(MistakeError, match=r"^FEDFLOW_SERVER_KEY: is not the key"):
        open_to_serve(other)
    keys.derived.cache_clear()
    elsewhere = settings.model_copy(update={"store_url": f"s3://{BUCKET}/elsewhere"})
    with pytest.raises(MistakeError, match="elsewhere: holds none of the files that the database speaks of"):
        open_store(elsewhere)


def test_a_back_up_of_a_store_becomes_a_server_on_another_store_or_in_a_folder(
    setting: Setting, settings: ServerSettings, new_database: Callable[[], str], tmp_path: Path
) -> None:
    store = setting.store
    setting.hand_in("a", 1, adapter(1))
    with pytest.raises(Unprocessable, match="norm"):
        setting.hand_in("b", 1, adapter(9, size=1e6))
    shutil.rmtree(store.folder / "blobs")  # the cache counts for nothing
    with store.read() as session:
        newest = session.scalars(select(File.sha256).order_by(File.created_at.desc())).first()
    assert newest is not None
    store.blobs.get(newest)  # but what lies in it makes the folder look like the store
    with pytest.raises(StorageError, match=r"\d files that the database names are not .* give the --store-url"):
        backup.back_up(settings.model_copy(update={"store_url": None}), tmp_path / "backup.tar")
    assert list(tmp_path.glob("*backup.tar*")) == []
    backup.back_up(settings, tmp_path / "backup.tar")
    with pytest.raises(MistakeError, match="holds a server's files already; give another --store-url"):
        backup.restore(settings.model_copy(update={"folder": tmp_path / "new"}), tmp_path / "backup.tar")
    urls = [f"s3://{BUCKET}/restored-{next(PREFIXES)}", None]
    for number, url in enumerate(urls):
        place = ServerSettings(folder=tmp_path / f"restored-{number}", database_url=new_database(), store_url=url)
        backup.restore(place, tmp_path / "backup.tar")
        restored = open_to_serve(place)
        assert sorted(each.digest for each in restored.blobs.listed()) == sorted(
            each.digest for each in store.blobs.listed()
        )
        assert quarantine.names(restored) == quarantine.names(store)
        assert runs.plan(restored, setting.run).name == "test"
        restored.engine.dispose()


def test_who_called_last_is_known_whichever_server_heard_it(
    store: Store, other: Store, clock: Clock, machine: Machine
) -> None:
    def seen_at() -> float:
        with store.read() as session:
            return session.get_one(Device, machine.device_id).seen_at

    clock.now += 10
    devices.seen(store, machine.device_id, ())
    clock.now += 1
    devices.seen(store, machine.device_id, ())  # kept by the first server for a while
    clock.now += 100
    devices.seen(other, machine.device_id, ())
    latest = seen_at()
    assert latest == clock.now
    store.sightings._taken_at = clock.now - 10  # its turn to write what it heard before
    assert machine.device_id in store.sightings._due
    assert store.sightings._last[machine.device_id].at < latest
    devices.seen(store, "nobody", ())
    assert seen_at() == latest


def test_clocks_that_differ_a_little_leave_a_lease_to_its_worker(setting: Setting, clock: Clock, other: Store) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    job_id = jobs.waiting(setting.store, ("aggregate",))[0]
    assert jobs.claim(setting.store, job_id, "a-1") is not None
    behind = Store(other.engine, other.folder, other.blobs, lambda: clock.now - 2)
    assert jobs.claim(behind, job_id, "b-1") is None
    assert job_id not in jobs.waiting(behind, ("aggregate",))


def test_no_setting_shows_a_secret(settings: ServerSettings, s3: S3Server) -> None:
    told = json.dumps([settings.model_dump_json(), repr(settings), repr(blobs_of(settings))])
    assert s3.variables["AWS_SECRET_ACCESS_KEY"] not in told
    with pytest.raises(ValueError, match="keys and endpoint come from AWS_"):
        ServerSettings.model_validate({"folder": settings.folder, "store_url": "s3://key:hush@bucket"})
