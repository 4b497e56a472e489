from __future__ import annotations

import json
import random
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedflow.errors import StorageError, UpdateError
from fedflow.federation.firewall import Manifest, inspect, manifest_of

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8}
NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8"}


def encoded(values: list[float], dtype: str) -> bytes:
    if dtype == "BF16":
        return (np.array(values, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return np.array(values, NUMPY[dtype]).tobytes()


def file_of(
    path: Path, tensors: dict[str, tuple[str, list[int], list[float]]], metadata: dict[str, str] | None = None
) -> Path:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, (dtype, shape, values) in tensors.items():
        piece = encoded(values, dtype)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


START = {
    "m.A": ("F32", [2, 2], [3.0, 0.0, 4.0, 0.0]),
    "m.B": ("F32", [1], [0.0]),
    "m.alpha": ("F32", [], [16.0]),
}
METADATA = {"format": "pt", "config": '{"alpha": 16}'}


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return file_of(tmp_path / "start.safetensors", START, METADATA)


@pytest.fixture
def manifest(start: Path) -> Manifest:
    return manifest_of(start, "float32", max_norm_ratio=10.0, max_examples=100)


def test_the_manifest_is_that_of_the_rounds_start(start: Path) -> None:
    manifest = manifest_of(start, "bfloat16", max_norm_ratio=10.0, max_examples=100)
    assert manifest.tensors == {"m.A": ("BF16", (2, 2)), "m.B": ("BF16", (1,)), "m.alpha": ("F32", ())}
    assert manifest.max_norm == pytest.approx(50.0)  # 10 times the norm of (3, 4); alpha does not count
    assert manifest.metadata == METADATA
    assert manifest.alphas == {"m.alpha": 16.0}


def test_a_start_of_zeros_allows_the_norm_of_one(tmp_path: Path) -> None:
    zeros = file_of(tmp_path / "zeros", {"a": ("F32", [2], [0.0, 0.0])})
    assert manifest_of(zeros, "float32", 10.0, 1).max_norm == 10.0


def test_a_start_that_diverged_is_no_ones_update(tmp_path: Path) -> None:
    diverged = file_of(tmp_path / "nan", {"a": ("F32", [1], [float("nan")])})
    with pytest.raises(StorageError, match="nan: the round's start cannot be used"):
        manifest_of(diverged, "float32", 10.0, 1)


def test_the_rounds_start_itself_passes(start: Path, manifest: Manifest) -> None:
    inspect(start, 1, manifest)
    inspect(start, 100, manifest)


@pytest.mark.parametrize(("wire", "dtype"), [("float32", "F32"), ("float16", "F16"), ("bfloat16", "BF16")])
@pytest.mark.parametrize(("largest", "passes"), [(49.0, True), (51.0, False)])
def test_every_wire_format_is_measured(
    tmp_path: Path, start: Path, wire: str, dtype: str, largest: float, passes: bool
) -> None:
    manifest = manifest_of(start, wire, 10.0, 100)
    update = {"m.A": (dtype, [2, 2], [largest, 0.0, 0.0, 0.0]), "m.B": (dtype, [1], [1.0]), "m.alpha": START["m.alpha"]}
    path = file_of(tmp_path / "update", update, METADATA)
    if passes:
        inspect(path, 5, manifest)
    else:
        with pytest.raises(UpdateError, match=r"norm is 51\.0\d, 50 is allowed"):
            inspect(path, 5, manifest)


A, B, ALPHA = START["m.A"], START["m.B"], START["m.alpha"]
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"m.A": A, "m.alpha": ALPHA}, METADATA, r"tensor 'm\.B' is missing \(1 such"),
        ({}, METADATA, r"'m\.A' is missing \(3 such"),
        ({**START, "x": B, "y": B}, METADATA, r"'x' is not in the round's start \(2 such"),
        ({**START, "m.A": ("F32", [4], A[2])}, METADATA, r"'m\.A' has shape \(4,\), the round's start has \(2, 2\)"),
        ({**START, "m.A": ("F16", [2, 2], A[2])}, METADATA, r"'m\.A' is F16, the plan wants F32"),
        ({**START, "m.A": ("F32", [2, 2], [NAN, 0, 0, 0])}, METADATA, r"'m\.A' holds NaN or Inf"),
        ({**START, "m.B": ("F32", [1], [-INF])}, METADATA, r"'m\.B' holds NaN or Inf"),
        ({**START, "m.alpha": ("F32", [], [NAN])}, METADATA, r"'m\.alpha' holds NaN or Inf"),
        ({**START, "m.alpha": ("F32", [], [16e6])}, METADATA, r"'m\.alpha' is 1\.6e\+07, the round's start has 16"),
        ({**START, "m.A": ("F32", [2, 2], [3e6, 0, 4e6, 0])}, METADATA, r"norm is 5e\+06, 50 is allowed"),
        (START, {**METADATA, "config": '{"alpha": 16000000}'}, "metadata 'config' is not that"),
        (START, {**METADATA, "note": "secret"}, "metadata 'note' is not that"),
        (START, None, "metadata 'config' is not that"),
    ],
)
def test_what_is_not_like_the_start_is_refused_in_one_sentence(
    tmp_path: Path,
    manifest: Manifest,
    tensors: dict[str, tuple[str, list[int], list[float]]],
    metadata: dict[str, str] | None,
    words: str,
) -> None:
    path = file_of(tmp_path / "update", tensors, metadata)
    with pytest.raises(UpdateError, match=words) as caught:
        inspect(path, 5, manifest)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "count is 0;"),
        (-1, "count is -1;"),
        (101, "101, 100 is this member's most"),
        (10**18, "100 is this member's most"),
        (2**63, "100 is this member's most"),
        pytest.param(10**5000, "a number of 16610 bits", id="5000 digits"),
        (True, "count is True"),
        (NAN, "count is nan"),
        (INF, "count is inf"),
        (5.0, r"count is 5\.0"),
        ("5\n" * 1000, "whole number above 0"),
        (None, "count is None"),
        ([1], r"count is \[1\]"),
    ],
)
def test_forged_example_counts_are_refused(start: Path, manifest: Manifest, count: object, words: str) -> None:
    with pytest.raises(UpdateError, match=words) as caught:
        inspect(start, count, manifest)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_a_header_over_the_cap_is_refused_before_it_is_read(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "bomb"
    with path.open("wb") as file:
        file.write((2_000_000).to_bytes(8, "little") + b"not JSON")
        file.truncate(3_000_000)
    with pytest.raises(UpdateError, match="header claims 2000000 bytes, 1000000 are allowed"):
        inspect(path, 1, manifest)


def test_two_thousand_forged_headers_are_refused_or_are_the_start_again(
    tmp_path: Path, start: Path, manifest: Manifest
) -> None:
    original = start.read_bytes()
    length = int.from_bytes(original[:8], "little")
    text, data = original[8 : 8 + length], original[8 + length :]
    draw = random.Random(1)
    values: list[Any] = [
        None, True, -1, 0, 1.5, 2**63, 10**400, "", "F32", "F8", "../../etc/passwd", "\ud800", "a" * 5000,
        [], [0, 4], [-4, 0], [[0], [4]], {}, {"dtype": "F32"}, [10**30, 0], [1] * 500,
    ]  # fmt: skip
    path = tmp_path / "forged"
    sentences = []
    for _ in range(2000):
        kind = draw.randrange(4)
        forged_text, forged_length = text, length
        if kind == 0:  # bytes of the text
            changed = bytearray(text)
            for _ in range(draw.randint(1, 8)):
                changed[draw.randrange(len(changed))] = draw.randrange(256)
            forged_text = bytes(changed)
        elif kind == 1:  # values of the JSON
            header = json.loads(text)
            for _ in range(draw.randint(1, 3)):
                name = draw.choice(list(header))
                if draw.random() < 0.5 or not isinstance(header[name], dict):
                    header[name] = deepcopy(draw.choice(values))
                else:
                    header[name][draw.choice(["dtype", "shape", "data_offsets", "extra"])] = deepcopy(
                        draw.choice(values)
                    )
            forged_text = json.dumps(header).encode()
            forged_length = len(forged_text)
        elif kind == 2:  # the length
            forged_length = draw.choice([0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1, draw.randrange(2**64)])
        else:  # nesting, and cuts
            forged_text = draw.choice([b"[" * 5000, b'{"a":' * 5000, text[: draw.randrange(length)], b"\xff\xfe" * 50])
            forged_length = len(forged_text)
        path.write_bytes(forged_length.to_bytes(8, "little") + forged_text + data)
        try:
            inspect(path, 1, manifest)
        except UpdateError as error:
            sentences.append(str(error))
    assert len(sentences) > 1800
    assert max(len(sentence) for sentence in sentences) < 1000
    assert not any("\n" in sentence for sentence in sentences)


def test_a_file_is_inspected_without_torch_and_without_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "large"
    count = 25_000_000
    header = json.dumps({"a": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 4 * count)  # zeros that take no disk
    program = f"""
import resource, sys
from copy import deepcopy
from pathlib import Path
from fedflow.federation.firewall import inspect, manifest_of
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path = Path({str(path)!r})
inspect(path, 1, manifest_of(path, "float32", 10.0, 1))
assert "torch" not in sys.modules
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert int(answer.stdout) < 40_000  # kilobytes; the file has 100 MB
