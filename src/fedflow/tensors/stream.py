"""Safetensors files read tensor by tensor, with every claim of the header checked before data is read.

Format: 8 bytes header length (little endian), JSON header {name: {dtype, shape, data_offsets}}, data.
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from fedflow.errors import FedFlowError, StorageError
from fedflow.tensors.arithmetic import NamedTensors

# The largest headers of known checkpoints are some hundred kilobytes.
MAX_HEADER_BYTES = 16 * 1024 * 1024
# Names go into one-line messages.
MAX_NAME_CHARACTERS = 400

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class _Entry:
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile(Mapping[str, Tensor]):
    """A safetensors file as a mapping: a tensor is read when it is asked for, and not kept."""

    def __init__(
        self, path: Path, entries: dict[str, _Entry], metadata: dict[str, str], error: type[FedFlowError]
    ) -> None:
        self.path = path
        self.metadata = metadata
        self._entries = entries
        self._error = error

    def names(self) -> list[str]:
        """Tensor names in the order of the header."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the header alone."""
        return self._entries[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """Element type of a tensor, from the header alone."""
        return self._entries[name].dtype

    def __getitem__(self, name: str) -> Tensor:
        entry = self._entries[name]
        data = bytearray(entry.end - entry.begin)
        try:
            with self.path.open("rb") as file:
                file.seek(entry.begin)
                read = file.readinto(data)
        except OSError as error:
            raise self._error(f"{self.path}: cannot be read ({error.strerror}); check the file and try again") from None
        if read != len(data):
            raise self._error(f"{self.path}: ended while '{name}' was read; it was changed meanwhile: copy it again")
        if not data:
            return torch.empty(entry.shape, dtype=entry.dtype)
        return torch.frombuffer(data, dtype=entry.dtype).reshape(entry.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def open_tensors(path: Path, error: type[FedFlowError] = StorageError) -> TensorFile:
    """Open a safetensors file for reading on demand.

    Args:
        path: the file.
        error: what to raise for a file that is missing, damaged or of another format; a caller whose user named
            the file passes a MistakeError.

    Raises:
        error: one line with the path and what is wrong.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise error(f"{path}: is not a safetensors file, or is cut off; copy or export it again")
            if length > MAX_HEADER_BYTES:
                raise error(f"{path}: its header claims {length} bytes, {MAX_HEADER_BYTES} are allowed; refused")
            header_bytes = file.read(length)
    except OSError as os_error:
        raise error(f"{path}: cannot be opened ({os_error.strerror}); check the path") from None
    try:
        header = json.loads(header_bytes)
    except (ValueError, RecursionError):
        raise error(f"{path}: is not a safetensors file (its header is not JSON); copy or export it again") from None
    try:
        metadata, entries = _parse(header, 8 + length, size)
    except (KeyError, TypeError, ValueError) as problem:
        raise error(f"{path}: damaged safetensors header ({problem}); copy or export it again") from None
    return TensorFile(path, entries, metadata, error)


def load_tensors(path: Path, error: type[FedFlowError] = StorageError) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises as `open_tensors`."""
    return dict(open_tensors(path, error).items())


def to_bytes(tensors: NamedTensors, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file as bytes; the same tensors and metadata give the same bytes."""
    contiguous: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage().data_ptr()
        # The format has no shared storage, and its writer refuses it.
        contiguous[name] = plain.clone() if storage in storages else plain
        storages.add(storage)
    content = save(contiguous)
    if not metadata:
        return bytes(content)
    # The writer gives metadata an order of its own at each call; content hashes need one order.
    (length,) = struct.unpack_from("<Q", content)
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(content[8 : 8 + length])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((struct.pack("<Q", len(text)), text, memoryview(content)[8 + length :]))


def _parse(header: Any, data_begin: int, size: int) -> tuple[dict[str, str], dict[str, _Entry]]:
    if not isinstance(header, dict):
        raise TypeError("not a JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise TypeError("__metadata__ is not a map of strings")
    entries: dict[str, _Entry] = {}
    expected = data_begin
    for name, claim in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        dtype_name, shape = claim["dtype"], claim["shape"]
        if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
            raise ValueError(f"a tensor name of {len(name)} characters, too long or not printable")
        if dtype_name not in _DTYPES:
            raise ValueError(f"'{name}' has the unknown dtype {str(dtype_name)[:20]!r}")
        if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError(f"'{name}' has a shape that is no list of sizes")
        first, last = claim["data_offsets"]
        if type(first) is not int or type(last) is not int:
            raise TypeError(f"the offsets of '{name}' are no whole numbers")
        begin, end = data_begin + first, data_begin + last
        dtype = _DTYPES[dtype_name]
        if begin != expected or end > size or end - begin != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"the offsets of '{name}' do not fit its shape or the file")
        entries[name] = _Entry(dtype, tuple(shape), begin, end)
        expected = end
    if expected != size:
        raise ValueError(f"{size - expected} bytes belong to no tensor")
    return metadata, entries
