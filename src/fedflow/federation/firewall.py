"""What a client's update must be like before anything else looks at it. Torch-free, and flat in memory.

An update is compared with the state that its round started from: same tensors, same shapes, same metadata (it holds
the alphas of an adapter, which scale it), the plan's number format, only finite values, and a norm that is no multiple
of the start's. The data is read in pieces, so that a file's size never becomes memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from fedflow.errors import StorageError, UpdateError
from fedflow.tensors.header import Entry, Header, read_header

MAX_HEADER_BYTES = 1_000_000
# Read at once; in float64 it is at most eight times as much.
CHUNK_BYTES = 1024 * 1024
# What a message shows of a value that a stranger chose.
SHOWN_CHARACTERS = 60

WIRE_DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
"""A plan's number formats by the names that safetensors gives them."""

_FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
_NUMPY = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "<i1",
    "U8": "<u1",
    "BOOL": "<u1",
}
_UPDATE = "the update"

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Manifest:
    """What an update of one round must be like.

    tensors: dtype (by its safetensors name) and shape of each tensor, by name.
    max_norm: largest Euclidean norm over all tensors together, `.alpha` tensors left out.
    max_examples: largest example count that this member may claim.
    max_header_bytes: a longer header is refused before it is read.
    metadata: the header's strings, each as it must be.
    alphas: the value of each tensor named `….alpha`, as it must be.
    """

    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    max_norm: float
    max_examples: int
    max_header_bytes: int = MAX_HEADER_BYTES
    metadata: Mapping[str, str] = field(default_factory=dict)
    alphas: Mapping[str, float] = field(default_factory=dict)


def manifest_of(path: Path, wire: str, max_norm_ratio: float, max_examples: int) -> Manifest:
    """The manifest of a round that starts from the state in `path`.

    Args:
        path: the global adapter or weights, a safetensors file.
        wire: the plan's number format, a key of `WIRE_DTYPES`; single numbers (shape ()) and `.alpha` keep theirs.
        max_norm_ratio: how many times the start's norm (at least 1) an update's may be.
        max_examples: the member's cap.

    Raises StorageError where the file is missing or damaged, or holds NaN or Inf.
    """
    header = read_header(path)
    try:
        norm, alphas = _measured(path, header)
    except UpdateError as error:
        raise StorageError(f"{path}: the round's start cannot be used: {error}") from None
    return Manifest(
        tensors={name: (_wire_dtype(name, entry, wire), entry.shape) for name, entry in header.entries.items()},
        max_norm=max_norm_ratio * max(norm, 1.0),
        max_examples=max_examples,
        max_header_bytes=max(MAX_HEADER_BYTES, 2 * header.length_bytes),
        metadata=dict(header.metadata),
        alphas=alphas,
    )


def inspect(path: Path, num_examples: object, manifest: Manifest) -> None:
    """Let an update pass, or refuse it: the header first, the data only where the header is right.

    Args:
        path: the update as it came, a file that nobody has looked at.
        num_examples: the example count as it came, of whatever type.
        manifest: what the round wants.

    Raises UpdateError: one sentence that says the first thing that is wrong, without the server's paths.
    """
    _check_count(num_examples, manifest.max_examples)
    header = read_header(path, UpdateError, manifest.max_header_bytes, called=_UPDATE)
    _check_names(header, manifest)
    for name, (dtype, shape) in manifest.tensors.items():
        entry = header.entries[name]
        if entry.shape != shape:
            raise UpdateError(f"tensor '{name}' has shape {_shown(entry.shape)}, the round's start has {shape}")
        if entry.dtype != dtype:
            raise UpdateError(f"tensor '{name}' is {entry.dtype}, the plan wants {dtype}; send it in that format")
    _check_metadata(header, manifest)
    norm, alphas = _measured(path, header)
    for name, alpha in alphas.items():
        if alpha != manifest.alphas.get(name, alpha):
            raise UpdateError(f"'{name}' is {alpha:g}, the round's start has {manifest.alphas[name]:g}")
    if not norm <= manifest.max_norm:
        raise UpdateError(f"the update's norm is {norm:.4g}, {manifest.max_norm:.4g} is allowed; train more gently")


def _check_count(num_examples: object, max_examples: int) -> None:
    # bool is an int too, and a float that is whole is still no count.
    if type(num_examples) is not int or num_examples < 1:
        raise UpdateError(f"the example count is {_shown(num_examples)}; it must be a whole number above 0")
    if num_examples > max_examples:
        raise UpdateError(f"the example count is {_shown(num_examples)}, {max_examples} is this member's most")


def _check_names(header: Header, manifest: Manifest) -> None:
    missing = sorted(manifest.tensors.keys() - header.entries.keys())
    if missing:
        raise UpdateError(
            f"tensor '{missing[0]}' is missing ({len(missing)} such in all); send what the round started from"
        )
    unknown = sorted(header.entries.keys() - manifest.tensors.keys())
    if unknown:
        raise UpdateError(
            f"tensor '{unknown[0]}' is not in the round's start ({len(unknown)} such in all); leave it out"
        )


def _check_metadata(header: Header, manifest: Manifest) -> None:
    for key in sorted(header.metadata.keys() | manifest.metadata.keys()):
        if header.metadata.get(key) != manifest.metadata.get(key):
            raise UpdateError(f"metadata {_shown(key)} is not that of the round's start; send it unchanged")


def _wire_dtype(name: str, entry: Entry, wire: str) -> str:
    keeps = entry.dtype not in _FLOATS or not entry.shape or _is_alpha(name)
    return entry.dtype if keeps else WIRE_DTYPES[wire]


def _is_alpha(name: str) -> bool:
    return name.endswith(".alpha")


def _measured(path: Path, header: Header) -> tuple[float, dict[str, float]]:
    """The norm of all tensors together, and the alphas. Raises UpdateError for NaN, Inf and a file that ends early."""
    squares = 0.0
    alphas: dict[str, float] = {}
    try:
        with path.open("rb") as file, np.errstate(all="ignore"):
            for name, entry in header.entries.items():
                for values in _values(file, name, entry):
                    square = float(values @ values)
                    # A square that overflows is no NaN: it makes the norm too large.
                    if not math.isfinite(square) and not np.isfinite(values).all():
                        raise UpdateError(f"tensor '{name}' holds NaN or Inf; the training has diverged")
                    if _is_alpha(name):
                        alphas[name] = float(values[0])
                    else:
                        squares += square
    except OSError as error:
        raise UpdateError(f"{_UPDATE}: cannot be read ({error.strerror}); send it again") from None
    return math.sqrt(squares), alphas


def _values(file: BinaryIO, name: str, entry: Entry) -> Iterator[Values]:
    """A tensor's values in float64, piece by piece."""
    file.seek(entry.begin)
    left = entry.end - entry.begin
    while left:
        data = file.read(min(left, CHUNK_BYTES))
        if len(data) != min(left, CHUNK_BYTES):
            raise UpdateError(f"{_UPDATE}: ended while '{name}' was read; send it again")
        left -= len(data)
        raw: npt.NDArray[Any] = np.frombuffer(data, dtype=_NUMPY[entry.dtype])
        if entry.dtype == "BF16":
            # bfloat16 is the upper half of a float32.
            raw = (raw.astype("<u4") << 16).view("<f4")
        yield raw.astype(np.float64)


def _shown(value: object) -> str:
    """A value of a stranger's, short and in one line."""
    if type(value) is int and value.bit_length() > 128:
        return f"a number of {value.bit_length()} bits"
    text = repr(value[:SHOWN_CHARACTERS]) if isinstance(value, str) else repr(value)
    return text if len(text) <= 2 * SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
