"""A server of the tests' own that the participant's side talks to over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import BaseModel

from fedflow.federation.protocol import Fault, Problem


@dataclass(frozen=True)
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Said:
    """One answer."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Peer:
    """Answers with what `answer` makes of a request, and keeps every request."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Said] = lambda _: Said(404)

    def paths(self) -> list[str]:
        return [f"{asked.method} {asked.path.removeprefix('/api/v1')}" for asked in self.asked]

    @staticmethod
    def message(message: BaseModel) -> Said:
        return Said(200, message.model_dump_json().encode())

    @staticmethod
    def problem(status: int, sentence: str, **headers: str) -> Said:
        problem = Problem(error=Fault(code="x", message=sentence, request_id="1"))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Said(status, problem.model_dump_json().encode(), named)


@pytest.fixture
def peer() -> Iterator[Peer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            peer.asked.append(asked)
            said = peer.answer(asked)
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if "Content-Length" not in said.headers:
                self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said.body)

        do_GET = do_POST = do_HEAD = do_PATCH = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionResetError):  # a client that was interrupted
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    peer = Peer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield peer
    server.shutdown()
    thread.join()
    server.server_close()
