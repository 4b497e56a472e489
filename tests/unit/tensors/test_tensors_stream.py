from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fedflow.errors import AdapterError, StorageError
from fedflow.tensors import load_tensors, open_tensors, to_bytes


def raw_file(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def test_reads_what_safetensors_writes(tmp_path: Path) -> None:
    tensors = {
        "half": torch.tensor([[1.5, -2.0]], dtype=torch.float16),
        "bf": torch.tensor([3.0], dtype=torch.bfloat16),
        "count": torch.tensor(7),
        "none": torch.zeros(0, 3),
    }
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata={"who": "me"})
    file = open_tensors(path)
    assert file.metadata == {"who": "me"}
    assert file.shape("half") == (1, 2)
    assert file.dtype("bf") == torch.bfloat16
    loaded = load_tensors(path)
    assert set(loaded) == set(file.names()) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(loaded[name], tensor)
        assert loaded[name].dtype == tensor.dtype


def test_safetensors_reads_what_we_write(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    tensors = {"a": shared.reshape(2, 3).T, "b": shared}
    path = tmp_path / "x.safetensors"
    path.write_bytes(to_bytes(tensors, {"b": "2", "a": "1"}))
    assert torch.equal(load_file(path)["a"], tensors["a"])
    assert torch.equal(load_file(path)["b"], shared)
    assert to_bytes(tensors, {"a": "1", "b": "2"}) == path.read_bytes()


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "length", "words"),
    [
        (b"", b"", 10**15, "cut off"),
        (b"x" * 9, b"", 9, "not JSON"),
        ([1], b"", None, "not a JSON object"),
        ({"a": GOOD}, b"1234", None, "offsets of 'a'"),
        ({"a": {**GOOD, "shape": [3]}}, b"12345678", None, "offsets of 'a'"),
        ({"a": {**GOOD, "shape": [-2]}}, b"12345678", None, "shape"),
        ({"a": {**GOOD, "shape": [10**30]}}, b"12345678", None, "offsets of 'a'"),
        ({"a": {**GOOD, "shape": [1] * 65}}, b"12345678", None, "65 dimensions"),
        ({"a": {**GOOD, "dtype": "F7"}}, b"12345678", None, "unknown dtype"),
        ({"a": {**GOOD, "data_offsets": [-8, 0]}}, b"12345678", None, "offsets of 'a'"),
        ({"a": {**GOOD, "data_offsets": [0.0, 8.0]}}, b"12345678", None, "no whole numbers"),
        ({"a": GOOD, "b": GOOD}, b"12345678", None, "offsets of 'b'"),
        ({"a": GOOD}, b"1234567890", None, "2 bytes belong to no tensor"),
        ({"a\nb": GOOD}, b"12345678", None, "not printable"),
        ({"a": {"dtype": "F32"}}, b"", None, "data_offsets"),
        ({"__metadata__": {"a": 1}}, b"", None, "map of strings"),
    ],
)
def test_damaged_headers_are_refused_in_one_line(
    tmp_path: Path, header: object, data: bytes, length: int | None, words: str
) -> None:
    path = raw_file(tmp_path / "x.safetensors", header, data, length)
    with pytest.raises(StorageError, match=words) as caught:
        open_tensors(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_bomb_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((50 * 1024**2).to_bytes(8, "little"))
        file.truncate(60 * 1024**2)
    with pytest.raises(StorageError, match="header claims 52428800 bytes"):
        open_tensors(path)


def test_the_callers_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"missing.safetensors: cannot be opened"):
        open_tensors(tmp_path / "missing.safetensors", AdapterError)


def test_a_file_cut_off_after_opening_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(to_bytes({"a": torch.ones(100)}, {}))
    file = open_tensors(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(StorageError, match="ended while 'a' was read"):
        file["a"]


def test_the_same_content_gives_the_same_bytes_however_metadata_is_ordered(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, dtype=torch.float16)}
    metadata = {f"key-{number}": f"value {number} é" for number in range(20)}
    wanted = to_bytes(tensors, metadata)
    assert all(to_bytes(tensors, dict(reversed(metadata.items()))) == wanted for _ in range(5))
    path = tmp_path / "file.safetensors"
    path.write_bytes(wanted)
    with safe_open(path, "pt") as file:
        assert file.metadata() == metadata
        assert torch.equal(file.get_tensor("b"), tensors["b"])


def test_a_header_is_read_without_torch() -> None:
    program = "import sys, fedflow.tensors.header; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
