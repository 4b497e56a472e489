"""moto's S3 server as a process of its own on loopback, for tests; what it holds is gone with it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BUCKET = "fedflow-test"
SERVE = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
LIMIT_S = 30.0


@dataclass
class S3Server:
    """An S3 server with one bucket; `variables` are what a process needs to use it."""

    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                self._ask("PUT", BUCKET)
                return
            except OSError:
                assert time.monotonic() < end, "moto's server does not answer"
                time.sleep(0.05)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": "fedflow",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_REGION": "us-east-1",
        }

    def end(self) -> None:
        """End it for good."""
        self.process.kill()
        self.process.wait()

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(f"{self.address}/{path}", method=method)  # noqa: S310 - our own address
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return bytes(answer.read())


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server that lives as long as the context; this process's variables point to it meanwhile."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    made = S3Server(port)
    before = dict(os.environ)
    os.environ.update(made.variables)
    try:
        yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        made.end()
