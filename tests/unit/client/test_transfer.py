"""Uploads and downloads against a real server, through a proxy that cuts."""

from __future__ import annotations

import hashlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from wsgiref.types import WSGIApplication

import httpx
import pytest
from werkzeug.serving import make_server

from fedflow.client.transfer import Patience, TransferError, download, forget, retry_after_s, upload
from fedflow.errors import StorageError
from fedflow.server.api.app import create_app
from fedflow.server.database.tables import Device, DeviceToken, Member, Upload
from fedflow.server.services import federations, files, identity, tokens
from fedflow.server.services.identifiers import new_id
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store

QUICK = Patience(first_s=0.01, longest_s=0.05, give_up_s=60.0)
IMPATIENT = Patience(first_s=0.01, longest_s=0.05, give_up_s=0.3)


class Proxy:
    """Passes connections on to `target`, and breaks the connection after each of `cuts_bytes` bytes of one side.

    Half of the cuts end both connections in order, half reset them. `sent_bytes` counts what the client sent.
    """

    def __init__(self, target: tuple[str, int], cuts_bytes: list[int], cut_answers: bool = False) -> None:
        self.target = target
        self.cuts_bytes = list(cuts_bytes)
        self.cut_answers = cut_answers
        self.sent_bytes = 0
        self.cuts = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        # Small, so that few bytes are on their way when a connection breaks, as on a real line.
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        host, port = self.listener.getsockname()
        return f"http://{host}:{port}"

    def close(self) -> None:
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            for source, sink, up in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass_on, args=(source, sink, up), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        passed = 0
        counts = up is not self.cut_answers
        try:
            while data := source.recv(8192):
                with self.lock:
                    self.sent_bytes += len(data) if up else 0
                    passed += len(data)
                    cut = counts and bool(self.cuts_bytes) and passed >= self.cuts_bytes[0]
                    if cut:
                        self.cuts_bytes.pop(0)
                        self.cuts += 1
                sink.sendall(data)
                if cut:
                    break
        except OSError:
            pass
        for end in (source, sink):
            try:
                if self.cuts % 2:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
                end.close()
            except OSError:
                pass


@dataclass
class Server:
    """A server process's threads, its store, and a device's and the coordinator's token."""

    store: Store
    address: tuple[str, int]
    device: httpx.Client
    person: httpx.Client

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"


@pytest.fixture
def serve() -> Iterator[Callable[[WSGIApplication], tuple[str, int]]]:
    """Puts an application behind a server with a thread per connection."""
    running = []

    def start(app: WSGIApplication) -> tuple[str, int]:
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        running.append((server, thread))
        return "127.0.0.1", server.port

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join(30)
        server.server_close()


@pytest.fixture
def server(tmp_path: Path, serve: Callable[[WSGIApplication], tuple[str, int]]) -> Iterator[Server]:
    settings = ServerSettings(folder=tmp_path / "server", upload_ttl_s=3600.0)
    store = open_store(settings)
    federation_id = federations.first_federation(store)
    text, digest = identity.new_token(identity.DEVICE_PREFIX)
    now = time.time()
    with store.begin() as session:
        member = Member(id=new_id(), federation_id=federation_id, name="studio", max_examples=9, created_at=now)
        session.add(member)
        session.flush()
        device = Device(
            id=new_id(), member_id=member.id, name="pc", public_key="", version="", created_at=now, seen_at=now
        )
        session.add(device)
        session.flush()
        session.add(DeviceToken(hash=digest, device_id=device.id, expires_at=now + 3600))
    coordinator = identity.first_coordinator(store)
    address = serve(create_app(store, settings))
    with (
        httpx.Client(headers={"Authorization": f"Bearer {text}"}, timeout=20.0) as device_client,
        httpx.Client(headers={"Authorization": f"Bearer {coordinator}"}, timeout=20.0) as person_client,
    ):
        yield Server(store, address, device_client, person_client)
    store.engine.dispose()


def content_of(path: Path, size_bytes: int) -> str:
    """Fill the file with random bytes and return their SHA-256."""
    path.write_bytes(random.Random(size_bytes).randbytes(size_bytes))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def uploaded(server: Server, upload_id: str) -> Upload:
    with server.store.read() as session:
        return session.get_one(Upload, upload_id)


def test_an_upload_cut_twenty_times_sends_two_hundredths_again_at_most(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "update"
    size = 40_000_000
    digest = content_of(path, size)
    draw = random.Random(1)
    proxy = Proxy(server.address, [draw.randrange(200_000, 3_000_000) for _ in range(20)])
    seen: list[int] = []
    try:
        upload_id = upload(
            server.device, f"{proxy.url}/api/v1/uploads", path, {"run": "a"}, lambda done, _: seen.append(done), QUICK
        )
    finally:
        proxy.close()
    row = uploaded(server, upload_id)
    assert (row.sha256, row.offset_bytes) == (digest, size)
    assert proxy.cuts == 20
    assert seen[-1] == size
    assert size <= proxy.sent_bytes <= 1.02 * size


def test_a_download_cut_ten_times_goes_on_where_it_was(tmp_path: Path, server: Server) -> None:
    source = tmp_path / "source"
    digest = content_of(source, 8_000_000)
    assert files.put(server.store, source, "base") == digest
    target = tmp_path / "home" / "base"
    seen: list[tuple[int, int]] = []
    proxy = Proxy(server.address, [700_000] * 10, cut_answers=True)
    try:
        download(
            server.person,
            f"{proxy.url}/api/v1/files/{digest}",
            digest,
            target,
            lambda done, total: seen.append((done, total)),
            QUICK,
        )
    finally:
        proxy.close()
    assert target.read_bytes() == source.read_bytes()
    assert proxy.cuts == 10
    assert {total for _, total in seen} == {8_000_000}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert [path.name for path in target.parent.iterdir()] == ["base"]


def test_a_download_goes_on_with_an_earlier_processs_part_and_mends_a_damaged_one(
    tmp_path: Path, server: Server
) -> None:
    source = tmp_path / "source"
    digest = content_of(source, 100_000)
    files.put(server.store, source, "base")
    url = f"{server.url}/api/v1/files/{digest}"
    for part in (source.read_bytes()[:60_000], source.read_bytes(), b"x" * 60_000, b"x" * 200_000):
        target = tmp_path / "target"
        (tmp_path / "target.part").write_bytes(part)
        requests: list[httpx.Request] = []
        server.person.event_hooks = {"request": [requests.append]}
        download(server.person, url, digest, target, patience=QUICK)
        assert target.read_bytes() == source.read_bytes()
        assert requests[0].headers["Range"] == f"bytes={len(part)}-"
        assert len(requests) == (1 if source.read_bytes().startswith(part) else 2)
        requests.clear()
        download(server.person, url, digest, target, patience=QUICK)
        assert requests == []  # it is there
        target.unlink()


def test_other_content_than_announced_is_never_there(tmp_path: Path) -> None:
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(b"forged")))
    )
    target = tmp_path / "target"
    with pytest.raises(TransferError, match="sent other content than it announced"):
        download(client, "http://server/files/x", "0" * 64, target, patience=QUICK)
    assert not target.exists()


def test_a_server_that_does_not_know_ranges_is_asked_for_the_whole(tmp_path: Path) -> None:
    content = b"all of it"
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, stream=httpx.ByteStream(content)))
    )
    target = tmp_path / "target"
    (tmp_path / "target.part").write_bytes(b"all")
    download(client, "http://server/files/x", hashlib.sha256(content).hexdigest(), target, patience=QUICK)
    assert target.read_bytes() == content


def test_a_restarted_process_goes_on_with_the_same_upload(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "update"
    digest = content_of(path, 3_000_000)
    url = f"{server.url}/api/v1/uploads"

    def die(done: int, total: int) -> None:
        if done > 1_000_000:
            deadline = time.monotonic() + 30
            while sum(part.stat().st_size for part in (server.store.folder / "uploads").iterdir()) < 500_000:
                assert time.monotonic() < deadline, "nothing arrives"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(server.device, url, path, {}, die, QUICK)
    seen: list[int] = []
    upload_id = upload(server.device, url, path, {}, lambda done, _: seen.append(done), QUICK)
    assert seen[0] > 500_000
    assert uploaded(server, upload_id).sha256 == digest
    assert upload(server.device, url, path, {}, patience=QUICK) == upload_id
    forget(path)
    assert upload(server.device, url, path, {}, patience=QUICK) != upload_id


def test_an_upload_that_the_server_forgot_is_begun_anew(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "update"
    digest = content_of(path, 10_000)
    url = f"{server.url}/api/v1/uploads"
    first = upload(server.device, url, path, {}, patience=QUICK)
    with server.store.begin() as session:
        session.delete(session.get_one(Upload, first))
    second = upload(server.device, url, path, {}, patience=QUICK)
    assert second != first
    assert uploaded(server, second).sha256 == digest


def test_a_refusal_comes_with_the_servers_sentence(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "update"
    content_of(path, 100)
    person = identity.authenticate(server.store, server.person.headers["Authorization"].removeprefix("Bearer "))
    reads = {"Authorization": f"Bearer {tokens.make(server.store, person, 'reads', {'read'}, 3600)}"}
    with (
        httpx.Client(headers=reads, timeout=20.0) as reader,
        pytest.raises(TransferError, match=r"upload of update: this token lacks the scope 'registry'") as caught,
    ):
        upload(reader, f"{server.url}/api/v1/uploads", path, {}, patience=QUICK)
    assert caught.value.status == 403
    url = f"{server.url}/api/v1/files/{'0' * 64}"
    with pytest.raises(TransferError, match="there is no file") as caught:
        download(server.device, url, "0" * 64, tmp_path / "target", patience=QUICK)
    assert caught.value.status == 404


def test_faults_of_the_server_are_waited_out(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "update"
    digest = content_of(path, 100_000)
    real = httpx.HTTPTransport()
    failing = {"POST": [503, 500], "HEAD": [502, 429, 423], "PATCH": [401, 409, 503]}

    def flaky(request: httpx.Request) -> httpx.Response:
        if failing[request.method]:
            return httpx.Response(failing[request.method].pop(), headers={"Retry-After": "0"})
        return real.handle_request(request)

    with httpx.Client(transport=httpx.MockTransport(flaky), headers=server.device.headers) as client:
        upload_id = upload(client, f"{server.url}/api/v1/uploads", path, {}, patience=QUICK)
    real.close()
    assert uploaded(server, upload_id).sha256 == digest
    assert not any(failing.values())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "9000"}, 300),
        ({"Retry-After": "soon", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 0),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:20 GMT"}, 0),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:20 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 20),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:20 GMT", "Date": "Sun, 22 Nov 2026 10:00:30 GMT"}, 0),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:20 -0000", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 0),
    ],
)
def test_a_server_says_by_its_own_clock_when_to_come_back(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(httpx.Response(503, headers=headers)) == seconds


def test_patience_ends_with_a_sentence_that_says_why(tmp_path: Path) -> None:
    path = tmp_path / "update"
    content_of(path, 100)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with httpx.Client() as client:
        with pytest.raises(TransferError, match=r"upload of update: no byte moved for \d+ s \(.*refused") as caught:
            upload(client, f"http://127.0.0.1:{port}/uploads", path, {}, patience=IMPATIENT)
        assert caught.value.status is None
        with pytest.raises(TransferError, match="download of target: no byte moved"):
            download(client, f"http://127.0.0.1:{port}/x", "0" * 64, tmp_path / "target", patience=IMPATIENT)


def test_a_server_cannot_send_the_bytes_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "update"
    content_of(path, 100)
    for location in ("https://elsewhere/uploads/1", "http://server:81/uploads/1", "/other/1", ""):
        headers = {"Location": location}

        def answer(request: httpx.Request, headers: dict[str, str] = headers) -> httpx.Response:
            assert request.method == "POST"
            return httpx.Response(201, headers=headers)

        with (
            httpx.Client(transport=httpx.MockTransport(answer)) as client,
            pytest.raises(TransferError, match="sends the upload elsewhere"),
        ):
            upload(client, "http://server/uploads", path, {}, patience=QUICK)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with httpx.Client() as client, pytest.raises(StorageError, match=r"missing: cannot be read"):
        upload(client, "http://server/uploads", tmp_path / "missing", {}, patience=QUICK)
