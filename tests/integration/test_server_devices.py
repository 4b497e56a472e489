"""The server as a process of its own: devices join over HTTP, downloads go on, kills lose nothing acknowledged."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from footprint import pss_mb

from fedflow.federation.protocol import signed_text
from fedflow.server.services import federations, files, identity
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store

PROGRAM = """
import logging, logging.config, sys
from pathlib import Path
from fedflow.server import serve
from fedflow.server.api import logs
logging.config.dictConfig(logs.configuration())
settings = serve.ServerSettings(folder=Path(sys.argv[1]), port=int(sys.argv[2]), threads=4)
getattr(serve, sys.argv[3])(settings)
"""
START_S = 60


class Process:
    """A running server, and what it logged."""

    def __init__(self, folder: Path, port: int, server: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(folder), str(port), server], stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        self.url = ""
        self._listens = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        assert self._listens.wait(START_S), "\n".join(self.lines)
        assert self.url, "\n".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line)
                if found := re.search(r"listening on (http://[^\"]+)", line):
                    self.url = found[1]
                    self._listens.set()
        self._listens.set()

    def end(self, number: int) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(START_S)
        self._reader.join(START_S)
        return status


@contextmanager
def _running(folder: Path, port: int = 0, server: str = "serve") -> Iterator[Process]:
    running = Process(folder, port, server)
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            running.end(signal.SIGKILL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def person(folder: Path) -> dict[str, str]:
    """Headers of the coordinator, made at a first start."""
    store = open_store(ServerSettings(folder=folder))
    token = identity.first_coordinator(store)
    federations.first_federation(store)
    store.engine.dispose()
    return {"Authorization": f"Bearer {token}"}


def _join(url: str, code: str) -> tuple[Ed25519PrivateKey, str]:
    key = Ed25519PrivateKey.generate()
    public_key = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    request = {"code": code, "device_name": "pc", "public_key": public_key, "version": "0.1.0"}
    return key, httpx.post(f"{url}/api/v1/join", json=request).raise_for_status().json()["device_id"]


def _token(url: str, key: Ed25519PrivateKey, device_id: str) -> dict[str, str]:
    challenged = httpx.post(f"{url}/api/v1/devices/challenge", json={"device_id": device_id}).raise_for_status()
    nonce = challenged.json()["nonce"]
    signature = base64.b64encode(key.sign(signed_text(device_id, nonce))).decode()
    request = {"device_id": device_id, "nonce": nonce, "signature": signature}
    token = httpx.post(f"{url}/api/v1/devices/token", json=request).raise_for_status().json()["token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("server", ["serve", "serve_with_waitress"])
def test_devices_join_and_a_kill_loses_nothing(folder: Path, person: dict[str, str], server: str) -> None:
    with _running(folder, server=server) as running:
        url = running.url
        [federation] = httpx.get(f"{url}/api/v1/federations", headers=person).json()["items"]
        codes = f"{url}/api/v1/federations/{federation['id']}/codes"
        made = [httpx.post(codes, json={"member": name}, headers=person).json()["code"] for name in ("a", "b")]
        key, device_id = _join(url, made[0])
        token = _token(url, key, device_id)
        assert httpx.get(f"{url}/api/v1/me", headers=token).json()["member"] == "a"
        running.end(signal.SIGKILL)
    with _running(folder, server=server) as running:
        url = running.url
        assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
        assert httpx.get(f"{url}/api/v1/me", headers=token).json()["id"] == device_id
        _join(url, made[1])
        assert httpx.post(f"{url}/api/v1/devices/{device_id}/revoke", headers=person).status_code == 204
        refused = httpx.get(f"{url}/api/v1/me", headers=token)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorised")
        if server == "serve":
            assert running.end(signal.SIGTERM) == 0
    requests = [json.loads(line) for line in running.lines]
    told = [(line["method"], line["path"], line["status"]) for line in requests if line["message"] == "request"]
    assert ("GET", "/api/v1/me", 401) in told


def test_a_download_goes_on_where_it_was_cut(folder: Path, person: dict[str, str]) -> None:
    store = open_store(ServerSettings(folder=folder))
    content = bytes(range(256)) * 20_000
    digest = files.put(store, content, "base")
    store.engine.dispose()
    with _running(folder) as running:
        address = f"{running.url}/api/v1/files/{digest}"
        with httpx.stream("GET", address, headers=person) as response:
            begun = next(response.iter_bytes(100_000))
        asked = {**person, "Range": f"bytes={len(begun)}-", "If-Range": f'"{digest}"'}
        rest = httpx.get(address, headers=asked)
        assert rest.status_code == 206
        assert begun + rest.content == content


def test_events_stream_as_they_happen(folder: Path, person: dict[str, str]) -> None:
    with _running(folder) as running:
        federation = httpx.get(f"{running.url}/api/v1/federations", headers=person).json()["items"][0]["id"]
        address = f"{running.url}/api/v1/federations/{federation}"
        with httpx.stream(
            "GET", f"{address}/events", headers={**person, "Accept": "text/event-stream"}, timeout=30
        ) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "retry: 1000"
            code = httpx.post(f"{address}/codes", json={"member": "a"}, headers=person).json()["code"]
            _join(running.url, code)
            assert next(line for line in lines if line.startswith("event: ")) == "event: device joined"


def test_a_web_process_is_small(folder: Path, person: dict[str, str]) -> None:
    """Gunicorn's two processes together, each with its share of what they share; and each alone, with the whole."""
    with _running(folder) as running:
        httpx.get(f"{running.url}/openapi/openapi.json").raise_for_status()
        children = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        assert len(children) == 1
        both = 0.0
        for pid in (str(running.process.pid), *children):
            both += pss_mb(int(pid))
            status = Path(f"/proc/{pid}/status").read_text()
            assert int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) < 150_000  # type: ignore[index]
        assert both < 150


def test_an_address_in_use_ends_the_start(folder: Path, person: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-c", PROGRAM, str(folder), str(taken.getsockname()[1]), "serve"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=START_S, check=False)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert "in use" in ended.stderr


def test_an_answer_to_a_body_that_nobody_reads_says_that_the_connection_ends(folder: Path) -> None:
    with _running(folder) as server:
        host, port = server.url.removeprefix("http://").split(":")
        for length, said in ((100_000_000, b"close"), (100_000, b"keep-alive")):
            with socket.create_connection((host, int(port)), timeout=START_S) as connection:
                connection.sendall(f"PATCH /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
                head = connection.recv(65_536).partition(b"\r\n\r\n")[0]
            assert head.startswith(b"HTTP/1.1 404 ")
            assert b"\r\nConnection: " + said in head


def test_a_body_and_the_next_request_in_one_piece_are_both_answered(folder: Path, person: dict[str, str]) -> None:
    with _running(folder) as server:
        api = f"{server.url}/api/v1"
        federation = httpx.get(f"{api}/federations", headers=person).json()["items"][0]["id"]
        asked = {"member": "studio", "max_examples": 10}
        code = httpx.post(f"{api}/federations/{federation}/codes", headers=person, json=asked).json()["code"]
        headers = {**_token(server.url, *_join(server.url, code)), "Tus-Resumable": "1.0.0"}
        made = httpx.post(f"{api}/uploads", headers={**headers, "Upload-Length": "10"})
        piece = {**headers, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**piece, "Content-Length": "10"}.items())
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=START_S) as connection:
            connection.sendall(
                f"PATCH {made.headers['Location']} HTTP/1.1\r\nHost: x\r\n{lines}\r\n0123456789"
                "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            answers = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert [line for line in answers.split(b"\r\n") if line.startswith(b"HTTP/")] == [
            b"HTTP/1.1 204 NO CONTENT",
            b"HTTP/1.1 200 OK",
        ]
        assert b"Upload-Offset: 10" in answers
