"""The search for canaries finds one in every wrapping, and nothing where none is."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import random
import zlib
from collections.abc import Callable

import pytest
from leaks import Searcher, forms

CANARY = "cänary-7f3a91 / ключ"
NOISE = random.Random(1).randbytes(3000)


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zlib, cut": lambda data: zlib.compress(data + NOISE)[:-200],
    "raw deflate": raw_deflate,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "base64 of gzip": lambda data: base64.b64encode(gzip.compress(data)),
    "gzip of base64": lambda data: gzip.compress(base64.b64encode(data)),
    "hex of zlib": lambda data: zlib.compress(data).hex().encode(),
    "gzip twice": lambda data: gzip.compress(gzip.compress(data)),
    "json in zlib in base64url": lambda data: base64.urlsafe_b64encode(
        zlib.compress(json.dumps({"x": data.decode()}).encode())
    ),
}


def found(data: bytes) -> set[str]:
    return {leak.canary for leak in Searcher({"text": CANARY.encode(), "bytes": NOISE[:24]}).find(data)}


@pytest.mark.parametrize("form", [name for name, _ in forms(CANARY.encode())])
def test_every_form_is_found_amid_noise(form: str) -> None:
    assert "text" in found(NOISE[100:900] + dict(forms(CANARY.encode()))[form] + NOISE[900:1500])


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_every_wrapping_is_unpacked(wrapping: str, before: int) -> None:
    wrapped = WRAPPINGS[wrapping](b"x" * before + CANARY.encode() + b" and more of the same kind")
    assert "text" in found(NOISE[100:700] + b"|" + wrapped + b"|" + NOISE[700:900])


@pytest.mark.parametrize("library", ["zstandard", "brotli"])
def test_streams_of_other_libraries_are_unpacked_where_they_are_there(library: str) -> None:
    module = pytest.importorskip(library)
    assert "text" in found(module.compress(CANARY.encode() * 3))


def test_raw_bytes_are_found_too() -> None:
    assert found(b"a" + NOISE[:24] + b"b") == {"bytes"}
    assert found(base64.b64encode(b"ab" + NOISE[:24] + b"c")) == {"bytes"}


def test_nothing_is_found_where_nothing_is() -> None:
    assert found(NOISE[24:]) == set()
    assert found(gzip.compress(NOISE[24:] + CANARY[:-4].encode())) == set()
