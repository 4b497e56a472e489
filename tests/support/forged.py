"""Forged safetensors files, drawn from a seed: what a hostile client may send in the place of an update.

Each begins as an honest file and is changed where the format has a claim: the header's length, its JSON, names,
dtypes, shapes, offsets, metadata, the data itself.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

NAMES = (
    "../../etc/passwd", "/etc/passwd", "..\\..\\boot.ini", "a\x00b", "a\nb", "", ".", "\ud800", "\u202eexe",
    "n" * 100_000, "__metadata__", "__class__", "%s%n", "{0}", "<script>",
    "'; DROP TABLE run; --", "unet.down.0.lora_A.weight ",
)  # fmt: skip
SIZES = (
    -1, 0, 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**400, 1.5, 1e308, True, None, "4",
    [], {}, [4], "", "0x10",
)  # fmt: skip
DTYPES = (
    "F8_E4M3",
    "F8",
    "U16",
    "U64",
    "C64",
    "f32",
    "F32 ",
    "",
    "F" * 10_000,
    5,
    None,
    ["F32"],
    {"F32": 1},
    True,
    "I64",
)
RAW = (
    b"", b"null", b"[]", b"0", b'"x"', b"{", b"}", b"{}", b"\x00" * 64, b"\xff\xfe\xfd", b"\xef\xbb\xbf{}", b'{"a":}',
    b"[" * 200_000, b'{"a":' * 50_000, b"[[" * 3000 + b"]]" * 3000, b'{"a":1e999999}', b"9" * 100_000,
    b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,Infinity]}}', b"{} " * 50,
)  # fmt: skip
LENGTHS = (0, 1, 7, 2**20, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1)

Header = dict[str, Any]


def forged(original: bytes, seed: int, count: int) -> Iterator[bytes]:
    """`count` forged files made from an honest one; the same seed gives the same files."""
    draw = random.Random(seed)
    length = int.from_bytes(original[:8], "little")
    text, data = original[8 : 8 + length], original[8 + length :]
    for _ in range(count):
        kind = draw.random()
        if kind < 0.7:
            header = json.loads(text)
            for _ in range(draw.choice((1, 1, 1, 2, 3))):
                draw.choice(MUTATIONS)(draw, header, len(data))
            yield _file(_dumped(draw, header), data)
        elif kind < 0.8:
            yield _file(draw.choice(RAW), data)
        elif kind < 0.88:
            claimed = draw.choice((*LENGTHS, length - 1, length + 1, length + len(data), draw.randrange(2**64)))
            yield claimed.to_bytes(8, "little") + text + data
        elif kind < 0.94:
            changed = bytearray(original)
            for _ in range(draw.randint(1, 12)):
                changed[draw.randrange(min(len(changed), 8 + length))] = draw.randrange(256)
            yield bytes(changed)
        elif kind < 0.98:
            yield original[: draw.randrange(len(original))]
        else:
            yield draw.randbytes(draw.randrange(2000))


def _file(text: bytes, data: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text + data


def _dumped(draw: random.Random, header: Header) -> bytes:
    text = json.dumps(header)
    if draw.random() < 0.1:  # a key twice
        text = text[:-1] + f", {json.dumps(draw.choice(list(header) or ['a']))}: {{}}}}"
    if draw.random() < 0.05:
        text = text.replace("0", draw.choice(("NaN", "Infinity", "-Infinity")), 1)
    raw = text.encode()
    return raw.replace(b"a", b"\xc3\x28", 1) if draw.random() < 0.05 else raw


def _tensor(draw: random.Random, header: Header) -> Header:
    found = [claim for name, claim in header.items() if name != "__metadata__" and isinstance(claim, dict)]
    return draw.choice(found) if found else {}


def _rename(draw: random.Random, header: Header, _size: int) -> None:
    name = draw.choice(list(header) or [""])
    header[draw.choice(NAMES)] = header.pop(name, {})


def _add(draw: random.Random, header: Header, size: int) -> None:
    header[draw.choice(NAMES)] = {"dtype": "F32", "shape": [0], "data_offsets": [size, size]}


def _drop(draw: random.Random, header: Header, _size: int) -> None:
    header.pop(draw.choice(list(header) or [""]), None)


def _dtype(draw: random.Random, header: Header, _size: int) -> None:
    _tensor(draw, header)["dtype"] = draw.choice(DTYPES)


def _shape(draw: random.Random, header: Header, _size: int) -> None:
    huge = [2**32, 2**32], [2**21] * 3, [65536] * 64, [1] * 100_000, [0] * 65, [10**18, 0], [-1, -4]
    drawn = [draw.choice(SIZES) for _ in range(draw.randint(0, 5))]
    _tensor(draw, header)["shape"] = draw.choice((*huge, drawn, draw.choice(SIZES), "4,4", {"0": 4}))


def _offsets(draw: random.Random, header: Header, size: int) -> None:
    claim = _tensor(draw, header)
    honest = claim.get("data_offsets")
    first, last = honest if isinstance(honest, list) and len(honest) == 2 else (0, 0)
    choices = (
        [-4, 0], [size, size + 4], [0, size], [last, first], [first, last, last], [first], [2**63, 2**63 + 4], "0-4",
        [first + 1 if isinstance(first, int) else 0, last], [draw.choice(SIZES), draw.choice(SIZES)], None, [[0], [4]],
    )  # fmt: skip
    claim["data_offsets"] = draw.choice(choices)


def _metadata(draw: random.Random, header: Header, _size: int) -> None:
    header["__metadata__"] = draw.choice(
        ({"format": 1}, {"format": None}, ["pt"], "pt", 5, {"format": {"a": "b"}}, {"k" * 50_000: "v"},
         {"a\nb": "c\nd"}, {"note": "x" * 200_000}, {}, None, {"lora_alpha": "1e9"})
    )  # fmt: skip


def _claim(draw: random.Random, header: Header, _size: int) -> None:
    header[draw.choice(list(header) or ["a"])] = draw.choice((None, 5, "F32", [], {}, [{}], True, {"dtype": "F32"}))


def _more(draw: random.Random, header: Header, size: int) -> None:
    for number in range(draw.choice((10, 3000))):
        header[f"more.{number}"] = {"dtype": "F32", "shape": [0], "data_offsets": [size, size]}


def _nest(draw: random.Random, header: Header, _size: int) -> None:
    nested: Any = 4
    for _ in range(draw.choice((5, 300))):
        nested = [nested]
    _tensor(draw, header)[draw.choice(("shape", "data_offsets", "dtype", "extra"))] = nested


MUTATIONS: tuple[Callable[[random.Random, Header, int], None], ...] = (
    _rename, _add, _drop, _dtype, _shape, _shape, _offsets, _offsets, _metadata, _claim, _more, _nest,
)  # fmt: skip
