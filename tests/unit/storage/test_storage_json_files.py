"""JSON files there and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedflow.errors import StorageError
from fedflow.storage import read_json, write_json


def test_there_and_back(tmp_path: Path) -> None:
    content = {"z": 1, "a": [1.5, None, True], "caption": "grün, 猫"}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert '"grün, 猫"' in text
    assert text.endswith("}\n")
    assert list(read_json(tmp_path / "a.json")) == ["z", "a", "caption"]
    assert read_json(tmp_path / "a.json") == content


def test_a_file_name_that_is_not_utf8_survives(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "a.json", {"path": name})
    json.loads((tmp_path / "a.json").read_bytes().decode("utf-8"))
    assert read_json(tmp_path / "a.json") == {"path": name}


def test_nan_is_no_json_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,}', "a.json: is not JSON (line 1, column 9"),
        (b"", "a.json: is not JSON (line 1, column 1"),
        (b'{"a": "\xe9"}', "a.json: is not UTF-8 (byte 7); repair it or remove it"),
        (b"[" * 200_000, "a.json: is nested too deeply"),
    ],
)
def test_what_is_no_json(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(StorageError) as caught:
        read_json(tmp_path / "a.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"a.json: is not there; check the path"):
        read_json(tmp_path / "a.json")
    with pytest.raises(StorageError, match=r"cannot be read \(Is a directory"):
        read_json(tmp_path)
