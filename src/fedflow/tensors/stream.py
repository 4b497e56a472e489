"""Safetensors files read tensor by tensor, with every claim of the header checked before data is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from fedflow.errors import FedFlowError, StorageError
from fedflow.tensors.arithmetic import NamedTensors
from fedflow.tensors.header import Header, read_header

# By the names of `header.ITEM_BYTES`.
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


class TensorFile(Mapping[str, Tensor]):
    """A safetensors file as a mapping: a tensor is read when it is asked for, and not kept."""

    def __init__(self, path: Path, header: Header, error: type[FedFlowError]) -> None:
        self.path = path
        self.metadata = header.metadata
        self._entries = header.entries
        self._error = error

    def names(self) -> list[str]:
        """Tensor names in the order of the header."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor, from the header alone."""
        return self._entries[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """Element type of a tensor, from the header alone."""
        return _DTYPES[self._entries[name].dtype]

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
        dtype = _DTYPES[entry.dtype]
        if not data:
            return torch.empty(entry.shape, dtype=dtype)
        return torch.frombuffer(data, dtype=dtype).reshape(entry.shape)

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
    return TensorFile(path, read_header(path, error), error)


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
