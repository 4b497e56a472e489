"""Looks for canaries in bytes that were sent, whatever they are wrapped in.

A canary is looked for as it is, in UTF-16 and UTF-32, in JSON's and HTML's escapes, percent-encoded, in hexadecimal and
in base64 at each of its three alignments; and again in all that can be unpacked: base64, hexadecimal, percent-encoding,
gzip, zlib, raw deflate, bz2 and xz streams wherever one begins, zstd and brotli where a library for them is there.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import importlib
import json
import lzma
import re
import urllib.parse
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

DEPTH = 3
SHORTEST_STREAM = 12
MOST_BYTES = 4_000_000
RAW_DEFLATE_UP_TO = 300_000
MAGICS = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "zlib": re.compile(rb"[\x08\x18\x28\x38\x48\x58\x68\x78]"),
    "bz2": re.compile(rb"BZh[1-9]"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
}
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){12,}")
PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")


@dataclass(frozen=True)
class Leak:
    """Which canary was found, in which form, inside what."""

    canary: str
    form: str
    inside: str


def forms(canary: bytes) -> Iterator[tuple[str, bytes]]:
    """The canary as it may stand in what is sent: the form's name and the bytes."""
    yield "plain", canary
    yield "hex", canary.hex().encode()
    yield "HEX", canary.hex().upper().encode()
    yield "percent", "".join(f"%{byte:02X}" for byte in canary).encode()
    yield "percent, lower", "".join(f"%{byte:02x}" for byte in canary).encode()
    yield "url", urllib.parse.quote_from_bytes(canary, safe="").encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + canary)
        # Characters that hold bits of the neighbours too are not the canary's.
        core = encoded[-(-shift * 8 // 6) : (shift + len(canary)) * 8 // 6]
        yield f"base64, shifted by {shift}", core
        yield f"base64url, shifted by {shift}", core.replace(b"+", b"-").replace(b"/", b"_")
    with suppress(UnicodeDecodeError):
        text = canary.decode()
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
            yield encoding, text.encode(encoding)
        yield "json", json.dumps(text)[1:-1].encode()
        yield "json, all escaped", "".join(f"\\u{ord(letter):04x}" for letter in text).encode()
        yield "html", "".join(f"&#{ord(letter)};" for letter in text).encode()
        if not text.isascii():
            yield "latin-1", text.encode("latin-1", "replace")


class Searcher:
    """Looks for `canaries`, by name."""

    def __init__(self, canaries: Mapping[str, bytes]) -> None:
        self._forms = [(name, form, found) for name, canary in canaries.items() for form, found in forms(canary)]

    def find(self, data: bytes, inside: str = "as sent", depth: int = DEPTH) -> list[Leak]:
        """Every canary in `data`, and in what can be unpacked from it."""
        found = [Leak(name, form, inside) for name, form, wanted in self._forms if wanted in data]
        if depth:
            for what, unpacked in _unpacked(data):
                found += self.find(unpacked, f"{inside} > {what}", depth - 1)
        return found


def _unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    for match in BASE64.finditer(data):
        text = match[0].rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        for shift in range(4):  # the run may begin with letters that belong to something else
            rest = text[shift:]
            with suppress(binascii.Error):
                yield "base64", base64.b64decode(rest[: len(rest) // 4 * 4])
    for match in HEX.finditer(data):
        yield "hex", bytes.fromhex(match[0].decode())
    if PERCENT.search(data):
        yield "percent", urllib.parse.unquote_to_bytes(data.replace(b"+", b" "))
    yield from _streams(data)


def _streams(data: bytes) -> Iterator[tuple[str, bytes]]:
    for what, magic in MAGICS.items():
        for match in magic.finditer(data):
            piece = data[match.start() :]
            if what == "zlib" and (len(piece) < 2 or (piece[0] * 256 + piece[1]) % 31):
                continue
            unpacked = _decompressed(UNPACK[what], piece)
            if len(unpacked) >= SHORTEST_STREAM:
                yield what, unpacked
    unpacked = _decompressed(_brotli, data)  # has no mark of its own
    if len(unpacked) >= SHORTEST_STREAM:
        yield "brotli", unpacked
    if len(data) <= RAW_DEFLATE_UP_TO:
        for begin in range(len(data)):
            unpacked = _decompressed(_raw_deflate, data[begin : begin + 65_536])
            if len(unpacked) >= SHORTEST_STREAM:
                yield "deflate", unpacked


def _decompressed(unpack: Callable[[bytes], bytes], piece: bytes) -> bytes:
    try:
        return unpack(piece)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError, LookupError):
        return b""


def _zlib(piece: bytes, window: int = zlib.MAX_WBITS) -> bytes:
    """What comes before a fault or the end counts too."""
    decompressor = zlib.decompressobj(window)
    unpacked = b""
    for begin in range(0, len(piece), 256):
        try:
            unpacked += decompressor.decompress(piece[begin : begin + 256], MOST_BYTES)
        except zlib.error:
            break
        if decompressor.eof or len(unpacked) > MOST_BYTES:
            break
    return unpacked


def _raw_deflate(piece: bytes) -> bytes:
    """A whole stream alone: nearly every byte may begin one that is none."""
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked = decompressor.decompress(piece, MOST_BYTES)
    return unpacked if decompressor.eof else b""


def _zstd(piece: bytes) -> bytes:
    library = _library("zstandard")
    return b"" if library is None else bytes(library.ZstdDecompressor().decompressobj().decompress(piece))


def _brotli(piece: bytes) -> bytes:
    library = _library("brotli")
    if library is None:
        return b""
    try:
        return bytes(library.decompress(piece))
    except library.error:
        return b""


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda piece: _zlib(piece, 16 + zlib.MAX_WBITS),
    "zlib": _zlib,
    "bz2": lambda piece: bz2.BZ2Decompressor().decompress(piece, MOST_BYTES),
    "xz": lambda piece: lzma.LZMADecompressor().decompress(piece, MOST_BYTES),
    "zstd": _zstd,
}
