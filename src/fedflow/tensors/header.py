"""Safetensors headers, every claim checked before data is read. No torch, so that a server's web process can use it.

Format: 8 bytes header length (little endian), JSON header {name: {dtype, shape, data_offsets}}, data.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedflow.errors import FedFlowError, StorageError

# The largest headers of known checkpoints are some hundred kilobytes.
MAX_HEADER_BYTES = 16 * 1024 * 1024
# Names go into one-line messages.
MAX_NAME_CHARACTERS = 400
# Both torch and numpy end there; the product of more sizes is not worth forming.
MAX_DIMENSIONS = 64

ITEM_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
"""The dtypes that FedFlow reads, by their names in the header, and the bytes of one element."""


@dataclass(frozen=True)
class Entry:
    """One tensor: dtype by its name in the header, shape, and where its bytes begin and end in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A file's tensors in the order of their bytes, its metadata, and the bytes of the JSON text itself."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]
    length_bytes: int


def read_header(
    path: Path,
    error: type[FedFlowError] = StorageError,
    max_bytes: int = MAX_HEADER_BYTES,
    called: str | None = None,
) -> Header:
    """The header of a safetensors file; its tensors cover the file's data exactly, without gap or overlap.

    Args:
        path: the file.
        error: what to raise; a caller whose user named the file passes a MistakeError.
        max_bytes: a longer header is refused before it is read.
        called: what messages call the file; its path where not given.

    Raises:
        error: one line with the path and what is wrong, for a file that is missing, damaged or of another format.
    """
    name = called or str(path)
    try:
        with path.open("rb") as file:

            def part(start: int, length: int) -> bytes:
                file.seek(start)
                return file.read(length)

            return header_of(part, os.fstat(file.fileno()).st_size, name, error, max_bytes)
    except OSError as os_error:
        raise error(f"{name}: cannot be opened ({os_error.strerror}); check the path") from None


def header_of(
    part: Callable[[int, int], bytes],
    size: int,
    name: str,
    error: type[FedFlowError] = StorageError,
    max_bytes: int = MAX_HEADER_BYTES,
) -> Header:
    """The same of a file of `size` bytes wherever it lies: `part` gives bytes of it, by their start and number."""
    length = _length(part(0, 8) if size else b"", size, name, error, max_bytes)
    header_bytes = part(8, length) if length else b""
    try:
        header = json.loads(header_bytes, object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except _DamagedError as problem:
        raise error(f"{name}: damaged safetensors header ({problem}); copy or export it again") from None
    except (ValueError, RecursionError):
        raise error(f"{name}: is not a safetensors file (its header is not JSON); copy or export it again") from None
    try:
        metadata, entries = _parse(header, 8 + length, size)
    except _DamagedError as problem:
        raise error(f"{name}: damaged safetensors header ({problem}); copy or export it again") from None
    return Header(entries, metadata, length)


def check_beginning(beginning: bytes, size: int, name: str, error: type[FedFlowError] = StorageError) -> None:
    """Raises `error`, as `read_header` would, where no safetensors file of `size` bytes begins so."""
    length = _length(beginning[:8], size, name, error, MAX_HEADER_BYTES)
    if not beginning[8 : 8 + length].lstrip().startswith(b"{"):
        raise error(f"{name}: is not a safetensors file (its header is not JSON); copy or export it again")


def _length(first: bytes, size: int, name: str, error: type[FedFlowError], max_bytes: int) -> int:
    """Of the header, by the first 8 bytes of a file of `size` bytes."""
    length = int.from_bytes(first, "little")
    if size < 8 or length > size - 8:
        raise error(f"{name}: is not a safetensors file, or is cut off; copy or export it again")
    if length > max_bytes:
        raise error(f"{name}: its header claims {length} bytes, {max_bytes} are allowed; refused")
    return length


class _DamagedError(Exception):
    """What is wrong with the header, in few words. Never leaves this module."""


def _parse(header: Any, data_begin: int, size: int) -> tuple[dict[str, str], dict[str, Entry]]:
    if not isinstance(header, dict):
        raise _DamagedError("it is not a JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _DamagedError("__metadata__ is not a map of strings")
    found = [_entry(name, claim, data_begin) for name, claim in header.items()]
    entries: dict[str, Entry] = {}
    expected = data_begin
    for name, entry in sorted(found, key=lambda pair: (pair[1].begin, pair[1].end)):
        begin, end = entry.begin, entry.end
        if begin != expected or end > size or end - begin != math.prod(entry.shape) * ITEM_BYTES[entry.dtype]:
            raise _DamagedError(f"the offsets of '{name}' do not fit its shape or the file")
        entries[name] = entry
        expected = end
    if expected != size:
        raise _DamagedError(f"{size - expected} bytes belong to no tensor")
    return metadata, entries


def _entry(name: str, claim: Any, data_begin: int) -> tuple[str, Entry]:
    """One tensor's claims, each of the right kind."""
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise _DamagedError(f"a tensor name of {len(name)} characters, too long or not printable")
    if not isinstance(claim, dict) or not claim.keys() >= {"dtype", "shape", "data_offsets"}:
        raise _DamagedError(f"'{name}' lacks dtype, shape or data_offsets")
    dtype, shape, offsets = claim["dtype"], claim["shape"], claim["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise _DamagedError(f"'{name}' has the unknown dtype {_shown(dtype)}")
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise _DamagedError(f"'{name}' has a shape that is no list of sizes")
    if len(shape) > MAX_DIMENSIONS:
        raise _DamagedError(f"'{name}' has {len(shape)} dimensions, {MAX_DIMENSIONS} are allowed")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(offset) is int for offset in offsets):
        raise _DamagedError(f"the offsets of '{name}' are no whole numbers, a first and a last")
    return name, Entry(dtype, tuple(shape), data_begin + offsets[0], data_begin + offsets[1])


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that is there twice each reader would take another one."""
    read = dict(pairs)
    if len(read) != len(pairs):
        raise _DamagedError("a key is there twice")
    return read


def _no_number(_constant: str) -> Any:
    raise _DamagedError("it holds NaN or Infinity, which are no JSON")


def _shown(value: object) -> str:
    """A stranger's value, short and in one line."""
    return repr(value[:20]) if isinstance(value, str) else f"of type {type(value).__name__}"
