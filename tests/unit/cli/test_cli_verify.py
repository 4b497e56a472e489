"""`fedflow verify`: what it says of a released file, and of one that is not."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from fedflow.cli.verify import verify
from fedflow.errors import MistakeError
from fedflow.federation.provenance import CONTENT_DIGEST, public_key, signed, statement

SECRET = bytes(range(32))
KEY = base64.b64encode(public_key(SECRET)).decode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "foxes-v1.kohya.safetensors"
    path.write_bytes(b"weights")
    return path


def provenance_of(file: Path, examples: int | None) -> Path:
    said = statement(
        {file.name: hashlib.sha256(file.read_bytes()).hexdigest()},
        plan={"rounds": 3},
        materials={"base model": (CONTENT_DIGEST, "ab" * 32)},
        builder="urn:test",
        run="r1",
        finished="2026-11-23T10:00:00+00:00",
        facts={"round": 3, "members": 5, "examples": examples, "licence": "CC0-1.0", "trigger_words": ["fo\x1bxy"]},
    )
    path = file.with_name("provenance.json")
    path.write_bytes(signed(said, SECRET))
    return path


@pytest.fixture
def provenance(file: Path) -> Path:
    return provenance_of(file, 200)


def test_counts_that_members_keep_to_themselves_are_not_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(file, provenance_of(file, None), KEY)
    assert "Trained by 5 members\n" in capsys.readouterr().out


def test_a_released_file_is_known_with_its_origin(
    file: Path, provenance: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(file, provenance, f"{KEY}\n")
    told = capsys.readouterr().out
    assert "Round 3 of run r1, finished 2026-11-23T10:00:00+00:00" in told
    assert "Trained by 5 members on 200 pictures" in told
    assert "is as released: SHA-256" in told
    assert "\x1b" not in told


def test_an_older_release_under_a_newer_name_is_told_by_its_own(
    file: Path, provenance: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(file, provenance, KEY)
    assert "It was released as" not in capsys.readouterr().out
    newer = file.rename(file.with_name("foxes-v2.kohya.safetensors"))
    verify(newer, provenance, KEY)
    assert "It was released as foxes-v1.kohya.safetensors" in capsys.readouterr().out


def test_what_was_altered_is_refused(file: Path, provenance: Path, tmp_path: Path) -> None:
    file.write_bytes(b"weightz")
    with pytest.raises(MistakeError, match="is none of the files that this provenance is about"):
        verify(file, provenance, KEY)
    with pytest.raises(MistakeError, match="not signed by this key"):
        verify(file, provenance, base64.b64encode(public_key(b"x" * 32)).decode())
    with pytest.raises(MistakeError, match="--key: is no public key"):
        verify(file, provenance, "abc")
    with pytest.raises(MistakeError, match="cannot be read"):
        verify(file, tmp_path / "none.json", KEY)
    with pytest.raises(MistakeError, match="no such file"):
        verify(tmp_path / "none", provenance, KEY)
