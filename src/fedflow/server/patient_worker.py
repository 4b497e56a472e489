"""gunicorn's threaded worker, whose threads no slow or malformed client can occupy.

A thread is given to a request only when its head, and its body where that is small, has come in whole: the one loop
that waits for all connections gathers them. While a thread is at work, a connection through which hardly anything
moves is cut off. A connection that is closed lingers in the loop, and not in the way of the others. What is no HTTP
is answered in the API's one error shape.
"""

from __future__ import annotations

import os
import re
import resource
import selectors
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, BinaryIO

from gunicorn.http import errors
from gunicorn.http.body import LengthReader
from gunicorn.workers.gthread import TConn, ThreadWorker

from fedflow.federation.protocol import Fault, Problem
from fedflow.server.services.identifiers import new_id

HEAD_S = 10.0
"""A request's head, with a small body, must come in within this time."""

MOST_HEAD_BYTES = 64 * 1024
SMALL_BODY_BYTES = 64 * 1024
STALL_S = 30.0
"""A thread that has waited so long for a client, for fewer than LEAST_BYTES, waits no longer."""

LEAST_BYTES = 64 * 1024
LINGER_S = 2.0
LINGER_BYTES = 1024 * 1024
LOOK_S = 1.0
SEND_BYTES = 128 * 1024

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_STREAMED = re.compile(rb"\r\n(transfer-encoding|upgrade):", re.IGNORECASE)
_EXPECTS = re.compile(rb"\r\nexpect:[ \t]*100-continue", re.IGNORECASE)

_REFUSALS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.LimitRequestLine, 414, "the address is too long"),
    (errors.LimitRequestHeaders, 431, "the headers are too many or too long"),
    (errors.ExpectationFailed, 417, "the header Expect knows no value but '100-continue'"),
)
_MALFORMED = (400, "this is no HTTP request; send one method, one address, and one length of the body")


class CountedSocket(socket.socket):
    """A connection's socket that knows how long a thread has waited for it, and for how many bytes."""

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._waiting_since: float | None = None
        self._waited_s = 0.0
        self._moved_bytes = 0
        self._reads = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As a socket's."""
        began = self._begin(reads=True)
        data = b""
        try:
            data = super().recv(size, flags)
            return data
        finally:
            self._end(began, len(data))

    def sendall(self, data: bytes, flags: int = 0) -> None:  # type: ignore[override]
        """As a socket's."""
        left = memoryview(data).cast("B")
        while left:
            began, sent = self._begin(reads=False), 0
            try:
                sent = super().send(left, flags)
            finally:
                self._end(began, sent)
            left = left[sent:]

    def sendfile(self, file: BinaryIO, offset: int = 0, count: int | None = None) -> int:  # type: ignore[override]
        """As a socket's, of a real file."""
        total = 0
        while count is None or total < count:
            size = SEND_BYTES if count is None else min(SEND_BYTES, count - total)
            began, sent = self._begin(reads=False), 0
            try:
                sent = os.sendfile(self.fileno(), file.fileno(), offset + total, size)
            finally:
                self._end(began, sent)
            if sent == 0:
                break
            total += sent
        return total

    def cut_off_if_stalled(self, now: float) -> None:
        """Wake the thread that waits for this connection where next to nothing came for too long."""
        since = self._waiting_since
        if since is not None and self._waited_s + now - since >= STALL_S:
            with suppress(OSError):  # gone already
                self.shutdown(socket.SHUT_RD if self._reads else socket.SHUT_RDWR)

    def start_anew(self) -> None:
        """Another request begins."""
        self._waited_s, self._moved_bytes = 0.0, 0

    def _begin(self, *, reads: bool) -> float:
        self._reads = reads
        self._waiting_since = began = time.monotonic()
        return began

    def _end(self, began: float, moved_bytes: int) -> None:
        self._waiting_since = None
        self._waited_s += time.monotonic() - began
        self._moved_bytes += moved_bytes
        if self._moved_bytes >= LEAST_BYTES:
            self.start_anew()


@dataclass
class _Gathering:
    """What has come in of a request that no thread is given to yet."""

    until: float
    data: bytearray = field(default_factory=bytearray)
    needed_bytes: int | None = None
    """Of head and body together, as soon as the head is there."""

    def is_whole(self, conn: Any) -> bool:
        """Whether a thread may have it."""
        if self.needed_bytes is None:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return False
            self.needed_bytes = end + 4 + self._small_body_bytes(bytes(self.data[: end + 2]), conn)
        return len(self.data) >= self.needed_bytes

    @staticmethod
    def _small_body_bytes(head: bytes, conn: Any) -> int:
        """0 for a body that a thread reads as it comes: a large or streamed one, a piece of an upload."""
        lengths = _LENGTH.findall(head)
        if len(lengths) != 1 or _STREAMED.search(head) or head.startswith(b"PATCH "):
            return 0
        length = int(lengths[0])
        if not 0 < length <= SMALL_BODY_BYTES:
            return 0
        if _EXPECTS.search(head):
            with suppress(OSError):
                conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return length


@dataclass
class _Lingering:
    """A closed connection of which the other side has not noticed yet."""

    until: float
    drained_bytes: int = 0


def _answered(application: Any, environ: dict[str, Any], start_response: Any) -> Any:
    """The application's answer, with 'Connection: close' where more of the body is unread than is read on for."""

    def start(*answer: Any) -> Any:
        reader = environ["wsgi.input"].reader
        whole = reader.length <= LINGER_BYTES if isinstance(reader, LengthReader) else reader.parser is None
        if not whole:
            start_response.__self__.force_close()
        return start_response(*answer)

    return application(environ, start)


class PatientWorker(ThreadWorker):  # type: ignore[misc]
    """See the module."""

    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gathering: dict[Any, _Gathering] = {}
        self._lingering: dict[Any, _Lingering] = {}
        self._served: set[CountedSocket] = set()
        self._looked_at = 0.0

    def init_process(self) -> None:
        """Begin to work; returns when the worker ends."""
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # connections, files under way, the database
        threading.Thread(target=self._watch, daemon=True).start()
        super().init_process()

    def load_wsgi(self) -> None:
        """Load the application; each answer of it says whether the connection is closed after it."""
        self.wsgi: Any = partial(_answered, self.app.wsgi())

    def accept(self, listener: socket.socket) -> None:
        """Take a connection; it waits in the loop until its request is there."""
        try:
            accepted, address = listener.accept()
        except OSError:  # it is gone, or there are no more descriptors: the next round of the loop tries again
            return
        conn = TConn(self.cfg, CountedSocket(accepted), address, listener.getsockname())
        self.nr_conns += 1
        conn.init()
        self._gather(conn)
        if self.nr_conns >= self.worker_connections:
            self._make_room()

    def on_client_socket_readable(self, conn: Any, client: socket.socket) -> None:
        """The next request on a connection that was kept."""
        self.poller.unregister(client)
        self.keepalived_conns.remove(conn)
        self._gather(conn)

    def murder_pending(self) -> None:
        """Close what waits in the loop for too long."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_S / 2:
            return
        self._looked_at = now
        for conn, gathering in list(self._gathering.items()):
            if gathering.until <= now or not (self.alive or gathering.data):
                self._forget(conn)
                if gathering.data:
                    self._answer(conn.sock, 408, "the request did not come in whole within its time; send it again")
                self._linger(conn)
        for conn, lingering in list(self._lingering.items()):
            if lingering.until <= now:
                self._close(conn)

    def handle(self, conn: Any) -> Any:
        """Serve one request, in a thread."""
        conn.sock.start_anew()
        self._served.add(conn.sock)
        try:
            return super().handle(conn)
        finally:
            self._served.discard(conn.sock)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Where a body was not read, the loop does what is left of it; no thread waits for that."""
        if not keepalive:
            return False
        reader = conn.parser.mesg.body.reader
        if not isinstance(reader, LengthReader):
            return reader.parser is None and bool(conn.parser.finish_body())
        unread = conn.parser.unreader
        early = unread.take_buffered()
        unread.unread(early[reader.length :])
        conn.unread_bytes, reader.length = max(0, reader.length - len(early)), 0
        return bool(conn.unread_bytes <= LINGER_BYTES and conn.parser.finish_body())

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep the connection for its next request, or close it."""
        try:
            kept = bool(fs.result()) if not fs.cancelled() else False
        except Exception:
            kept = False
        if not kept:
            self._linger(conn)
        elif getattr(conn, "unread_bytes", 0):
            conn.sock.setblocking(False)
            self._lingering[conn] = _Lingering(time.monotonic() + LINGER_S)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._skip, conn))
        elif early := conn.parser.unreader.take_buffered():  # the next request came with this one
            self._gather(conn, early)
        else:
            conn.parser.unreader.unread(early)
            super().finish_request(conn, fs)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer what is no HTTP request; everything else is gunicorn's."""
        if not isinstance(exc, errors.ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status, sentence = next(
            ((status, sentence) for kind, status, sentence in _REFUSALS if isinstance(exc, kind)), _MALFORMED
        )
        self._answer(client, status, sentence)

    def _watch(self) -> None:
        """Cut off the connections that threads wait for in vain."""
        while True:
            time.sleep(LOOK_S)
            now = time.monotonic()
            for served in list(self._served):
                served.cut_off_if_stalled(now)

    def _gather(self, conn: Any, early: bytes = b"") -> None:
        conn.sock.setblocking(False)
        gathering = _Gathering(time.monotonic() + HEAD_S, bytearray(early))
        self._gathering[conn] = gathering
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._read_on, conn))
        if early and gathering.is_whole(conn):
            self._hand_over(conn)
        else:
            self._read_on(conn, conn.sock)

    def _read_on(self, conn: Any, _client: socket.socket) -> None:
        gathering = self._gathering[conn]
        try:
            data = conn.sock.recv(MOST_HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._forget(conn)
            self._close(conn)
            return
        gathering.data += data
        if gathering.is_whole(conn):
            self._hand_over(conn)
        elif gathering.needed_bytes is None and len(gathering.data) > MOST_HEAD_BYTES:
            self._forget(conn)
            self._answer(conn.sock, 431, "the headers are too many or too long")
            self._linger(conn)

    def _hand_over(self, conn: Any) -> None:
        gathering = self._forget(conn)
        conn.parser.unreader.unread(bytes(gathering.data))
        conn.data_ready = True
        self.enqueue_req(conn)

    def _make_room(self) -> None:
        """Close the connection that has sent no whole head for longest; who speaks at once is never among them."""
        for conn, gathering in self._gathering.items():
            if gathering.needed_bytes is None:
                self._forget(conn)
                self._close(conn)
                return

    def _forget(self, conn: Any) -> _Gathering:
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        return self._gathering.pop(conn)

    def _linger(self, conn: Any) -> None:
        """Say that nothing more comes, and read what is on its way, so that the last answer arrives."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._drain, conn))
        except (OSError, ValueError, KeyError):
            self._close(conn)
            return
        self._lingering[conn] = _Lingering(time.monotonic() + LINGER_S)

    def _drain(self, conn: Any, _client: socket.socket) -> None:
        lingering = self._lingering[conn]
        try:
            data = conn.sock.recv(MOST_HEAD_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        lingering.drained_bytes += len(data)
        if not data or lingering.drained_bytes > LINGER_BYTES:
            self._close(conn)

    def _skip(self, conn: Any, _client: socket.socket) -> None:
        """Read the rest of a body that nobody wanted; the next request comes after it."""
        try:
            data = conn.sock.recv(min(conn.unread_bytes, MOST_HEAD_BYTES))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        conn.unread_bytes -= len(data)
        if not data:
            self._close(conn)
        elif not conn.unread_bytes:
            del self._lingering[conn]
            self.poller.unregister(conn.sock)
            self._gather(conn)

    def _close(self, conn: Any) -> None:
        self._lingering.pop(conn, None)
        with suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    @staticmethod
    def _answer(client: socket.socket, status: int, sentence: str) -> None:
        """The API's one error shape, without the application."""
        phrase, request_id = HTTPStatus(status).phrase, new_id()
        code = phrase.lower().replace(" ", "_").replace("-", "_")
        body = Problem(error=Fault(code=code, message=sentence, request_id=request_id)).model_dump_json().encode()
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nConnection: close\r\n"
            f"X-Request-ID: {request_id}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):
            client.settimeout(LOOK_S)
            client.send(head.encode() + body)
