"""A thrifty HTTP/1.1 client for load drivers: one kept connection, no layers, every request timed.

A driver that shares two cores with the server it measures cannot pay a millisecond for each of its own requests.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

LIMIT_S = 120.0


@dataclass(frozen=True)
class Sample:
    """One request: what it was, when it began (`time.monotonic`), how long its answer took, and the status.

    `status` is 0 where the connection broke before an answer.
    """

    kind: str
    at: float
    ms: float
    status: int


@dataclass(frozen=True)
class Answer:
    """What the server answered; the headers' names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body's JSON."""
        return json.loads(self.body)


class Wire:
    """One connection to `127.0.0.1:port`, opened anew where the server has closed it; `samples` takes the times."""

    def __init__(self, port: int, samples: list[Sample]) -> None:
        self._port = port
        self._samples = samples
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, kind: str, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """The answer, after as many tries as `LIMIT_S` has room for where the connection breaks."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        sent = "\r\n".join([*lines, "", ""]).encode() + body
        give_up_at = time.monotonic() + LIMIT_S
        while True:
            fresh = self._streams is None
            began = time.monotonic()
            try:
                answer = await asyncio.wait_for(self._exchange(method, sent), LIMIT_S)
            except (OSError, EOFError) as error:
                self.close()
                if not fresh:
                    continue  # a kept connection may end at any time, as every client of HTTP knows
                self._samples.append(Sample(kind, began, 1000 * (time.monotonic() - began), 0))
                if time.monotonic() > give_up_at:
                    raise ConnectionError(f"{method} {path}: no answer ({error})") from error
                await asyncio.sleep(0.5)
                continue
            self._samples.append(Sample(kind, began, 1000 * (time.monotonic() - began), answer.status))
            return answer

    def close(self) -> None:
        """Let the connection go."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _exchange(self, method: str, sent: bytes) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(head[0].split(" ", 2)[1])
        length = 0 if method == "HEAD" or status == 204 else int(headers.get("content-length", 0))
        body = await reader.readexactly(length)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Answer(status, headers, body)
