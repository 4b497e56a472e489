"""A proxy between a client and a server, with weather: it cuts, delays, repeats and records.

Real sockets, two threads per connection. What the weather does is drawn from the seed and from numbers that count (the
connection's, the request's, the byte's), never from a clock. Every byte that a client sends is counted, and kept in
`<record>/NNNN` per connection where a folder for it is given.
"""

from __future__ import annotations

import http.client
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from http_bytes import Head, Reader, parse_head

PIECE_BYTES = 8192
# Small, so that few bytes are on their way when a connection breaks, as on a real line.
BUFFER_BYTES = 16_384
RESET = struct.pack("ii", 1, 0)

How = Literal["before", "beside", "later"]
HOWS: tuple[How, ...] = ("before", "beside", "later")
"""A repeated request's copy is answered before the request goes on, races with it, or comes `later_s` after it."""


@dataclass(frozen=True)
class Weather:
    """What happens to what passes.

    away: nothing passes; connections that there are break.
    cut_up_at, cut_down_at: so many bytes after the proxy's first, of all connections together in that direction, the
        connection that carries the byte breaks, once for each number.
    lives_bytes: a connection breaks after about so many bytes of both directions, drawn for each.
    delay_s: each piece waits so long, in both directions.
    bytes_per_s: and no more pass per second and direction.
    repeat: this share of the requests is sent to the server twice; the client sees one answer.
    repeat_only: and only those whose 'METHOD /path' this pattern finds.
    later_s: how late a copy comes that comes later.
    """

    away: bool = False
    cut_up_at: tuple[int, ...] = ()
    cut_down_at: tuple[int, ...] = ()
    lives_bytes: float | None = None
    delay_s: float = 0.0
    bytes_per_s: float | None = None
    repeat: float = 0.0
    repeat_only: str = ""
    later_s: float = 1.0


@dataclass(frozen=True)
class Copy:
    """A request that was sent to the server once more, and the status of the server's answer to the copy."""

    what: str
    how: How | Literal["again"]
    status: int


class Proxy:
    """Listens on a port of its own and passes everything on to `target`. Close it after use.

    Where there are `others`, connections go to all of them in turn; who does not answer is passed over.
    """

    def __init__(
        self,
        target: tuple[str, int],
        weather: Weather = Weather(),
        record: Path | None = None,
        seed: int = 0,
        others: tuple[tuple[str, int], ...] = (),
    ) -> None:
        self.target = target
        self._others = others
        self.weather = weather
        self.seed = seed
        self.up_bytes = 0
        self.down_bytes = 0
        self.cuts = 0
        self.connections = 0
        self.requests = 0
        self.copies: list[Copy] = []
        self._record = record
        if record is not None:
            record.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._open: set[_Passage] = set()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Where clients find it."""
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def change(self, weather: Weather) -> None:
        """Other weather from now on; where it is away, connections that there are break."""
        self.weather = weather
        if weather.away:
            with self._lock:
                passages = list(self._open)
            for passage in passages:
                passage.cut()

    def send_again(self, raw: bytes) -> Copy:
        """Send the bytes of a whole request to the server on a connection of its own, and read the answer."""
        return self._copied(parse_head(raw[: raw.index(b"\r\n\r\n") + 4]), raw, "again")

    def recordings(self) -> list[bytes]:
        """What was sent on each connection, in the order in which they were opened."""
        assert self._record is not None
        return [path.read_bytes() for path in sorted(self._record.iterdir())]

    def close(self) -> None:
        """Take no more connections, break those there are."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.change(replace(self.weather, away=True))

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                number = self.connections
                self.connections += 1
            try:
                if self.weather.away:
                    raise OSError
                server = self._connected(number)
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
                continue
            server.settimeout(None)
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
            passage = _Passage(self, number, client, server)
            with self._lock:
                self._open.add(passage)
            for passing in (passage.up, passage.down):
                threading.Thread(target=passing, daemon=True).start()

    def _connected(self, number: int) -> socket.socket:
        targets = (self.target, *self._others)
        for turn in range(number, number + len(self._others)):
            with suppress(OSError):
                return socket.create_connection(targets[turn % len(targets)], timeout=10)
        return socket.create_connection(targets[(number + len(self._others)) % len(targets)], timeout=10)

    def _gone(self, passage: _Passage) -> None:
        with self._lock:
            self._open.discard(passage)

    def _counted(self, number: int, data: bytes, up: bool) -> bool:
        """Note what passes; whether the connection breaks now."""
        with self._lock:
            before = self.up_bytes if up else self.down_bytes
            after = before + len(data)
            if up:
                self.up_bytes = after
                if self._record is not None:
                    with (self._record / f"{number:04d}").open("ab") as file:
                        file.write(data)
            else:
                self.down_bytes = after
        cuts = self.weather.cut_up_at if up else self.weather.cut_down_at
        return any(before < at <= after for at in cuts)

    def _repeated(self, head: Head) -> How | None:
        """Whether and how the request is repeated; asked once for each."""
        with self._lock:
            number = self.requests
            self.requests += 1
        weather = self.weather
        draw = random.Random(f"{self.seed} request {number}")
        if draw.random() >= weather.repeat or not re.search(weather.repeat_only, f"{head.method} {head.target}"):
            return None
        return draw.choice(HOWS)

    def _copied(self, head: Head, raw: bytes, how: How | Literal["again"]) -> Copy:
        """Send a copy and read the answer to its end. Status 0 where none came."""
        status = 0
        with suppress(OSError, http.client.HTTPException), socket.create_connection(self.target, timeout=60) as server:
            server.sendall(raw)
            response = http.client.HTTPResponse(server, method=head.method)
            response.begin()
            response.read()
            status = response.status
        copy = Copy(f"{head.method} {head.target}", how, status)
        with self._lock:
            self.copies.append(copy)
        return copy

    def _copy_later(self, head: Head, raw: bytes, how: How, later_s: float) -> None:
        if not self._closed.wait(later_s):
            self._copied(head, raw, how)

    def _cut(self, passage: _Passage) -> bool:
        """Count a cut, once for both directions; whether it ends the connections in order."""
        with self._lock:
            self.cuts += not passage.counted
            passage.counted = True
            return self.cuts % 2 == 1


class _Cut(Exception):  # noqa: N818 - what happens
    """The connection breaks."""


class _Passage:
    """One connection from a client, and its own to the server."""

    def __init__(self, proxy: Proxy, number: int, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.number = number
        self.client = client
        self.server = server
        self.passed_bytes = 0
        lives = proxy.weather.lives_bytes
        draw = random.Random(f"{proxy.seed} connection {number}")
        self.lives_bytes = None if lives is None else draw.expovariate(1.0 / lives)
        self.breaks = False
        self.counted = False
        self.ended = 0

    def up(self) -> None:
        """Requests to the server."""
        reader = Reader(lambda most: self._receive(self.client, min(most, PIECE_BYTES), up=True))
        with self._ending(), suppress(OSError, EOFError):
            while raw := reader.head():
                head = parse_head(raw)
                how = self.proxy._repeated(head)
                if how is None:
                    self.server.sendall(raw)
                    for piece, _ in reader.body(head):
                        self.server.sendall(piece)
                    continue
                whole = raw + b"".join(piece for piece, _ in reader.body(head))
                self._repeat(head, whole, how)
                self.server.sendall(whole)

    def down(self) -> None:
        """Answers to the client."""
        with self._ending(), suppress(OSError):
            while piece := self._receive(self.server, PIECE_BYTES, up=False):
                self.client.sendall(piece)

    def cut(self, in_order: bool = False) -> None:
        """Break both connections, by a reset unless in order."""
        for end in (self.client, self.server):
            with suppress(OSError):
                if not in_order:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RDWR)

    def _repeat(self, head: Head, whole: bytes, how: How) -> None:
        if how == "before":
            self.proxy._copied(head, whole, how)
            return
        later_s = self.proxy.weather.later_s if how == "later" else 0.0
        threading.Thread(target=self.proxy._copy_later, args=(head, whole, how, later_s), daemon=True).start()

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """End both directions with the first one; whoever ends last closes, as the other may be reading still."""
        in_order = True
        try:
            yield
        except _Cut:
            in_order = self.proxy._cut(self)
        self.cut(in_order)
        with self.proxy._lock:
            self.ended += 1
            last = self.ended == 2
        if last:
            self.proxy._gone(self)
            self.client.close()
            self.server.close()

    def _receive(self, source: socket.socket, most: int, up: bool) -> bytes:
        """The next piece; raises _Cut where the one before it was the last to pass."""
        if self.breaks:
            raise _Cut
        weather = self.proxy.weather
        if weather.bytes_per_s is not None:
            most = max(1, min(most, int(weather.bytes_per_s / 10)))
        data = source.recv(most)
        if not data:
            return b""
        self.passed_bytes += len(data)
        died = self.lives_bytes is not None and self.passed_bytes >= self.lives_bytes
        self.breaks = self.proxy._counted(self.number, data, up) or died
        pause_s = weather.delay_s + (len(data) / weather.bytes_per_s if weather.bytes_per_s else 0.0)
        if pause_s:
            time.sleep(pause_s)
        return data
