"""HTTP/1.1 requests as the bytes they are: read from a recording or, piece by piece, from a connection."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Head:
    """The first lines of a request: `raw` as it came, header names in lower case."""

    raw: bytes
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """The header's value, '' where there is none."""
        return next((value for known, value in self.headers if known == name), "")


@dataclass(frozen=True)
class Request:
    """A request with its body, chunks put together. `whole` is False where it was cut."""

    head: Head
    body: bytes
    whole: bool


def parse_head(raw: bytes) -> Head:
    """The head that ends with an empty line. Raises ValueError for what is none."""
    first, *lines = raw.removesuffix(HEAD_END).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(":", 1) for line in lines)
    return Head(raw, method, target, tuple((name.strip().lower(), value.strip()) for name, value in pairs))


class Reader:
    """Takes requests from `receive(n)`, which gives up to n bytes, and b"" at the end."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._held = b""

    def head(self, most: int = 8192) -> bytes:
        """The next head; b"" where the connection ended before a whole one."""
        while HEAD_END not in self._held:
            piece = self._receive(most)
            if not piece:
                return b""
            self._held += piece
        end = self._held.index(HEAD_END) + len(HEAD_END)
        head, self._held = self._held[:end], self._held[end:]
        return head

    def body(self, head: Head, most: int = 8192) -> Iterator[tuple[bytes, bytes]]:
        """The body's pieces, each as it came and as the content it holds. EOFError where it ends too early."""
        if "chunked" in head.header("transfer-encoding"):
            yield from self._chunks(most)
            return
        left = int(head.header("content-length") or 0)
        while left:
            piece = self._some(min(left, most))
            left -= len(piece)
            yield piece, piece

    def _chunks(self, most: int) -> Iterator[tuple[bytes, bytes]]:
        left = -1
        while left:
            line = self._line()
            left = size = int(line.split(b";")[0], 16)
            yield line, b""
            while left:
                piece = self._some(min(left, most))
                left -= len(piece)
                yield piece, piece
            yield self._line(), b""
            left = size

    def _some(self, most: int) -> bytes:
        if not self._held:
            self._held = self._receive(most)
            if not self._held:
                raise EOFError
        piece, self._held = self._held[:most], self._held[most:]
        return piece

    def _line(self) -> bytes:
        while b"\r\n" not in self._held:
            piece = self._receive(8192)
            if not piece:
                raise EOFError
            self._held += piece
        end = self._held.index(b"\r\n") + 2
        line, self._held = self._held[:end], self._held[end:]
        return line


def requests_in(recording: bytes) -> list[Request]:
    """What one connection's recording holds, in order; the last may be cut."""
    reader = Reader(io.BytesIO(recording).read)
    found: list[Request] = []
    while raw := reader.head():
        head = parse_head(raw)
        body = b""
        try:
            for _, content in reader.body(head):
                body += content
        except EOFError:
            found.append(Request(head, body, whole=False))
            break
        found.append(Request(head, body, whole=True))
    return found
