"""Content-addressed blobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedflow.errors import StorageError
from fedflow.storage import Blobs, sha256_file

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == ABC
    with pytest.raises(StorageError, match="b: is not there"):
        sha256_file(tmp_path / "b")


def test_put_and_get(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    assert ABC not in blobs
    assert blobs.put(b"abc") == ABC
    path = blobs.get(ABC)
    assert path == tmp_path / "blobs" / "ba" / ABC
    assert path.read_bytes() == b"abc"
    assert ABC in blobs
    written = path.stat().st_mtime_ns
    assert blobs.put(b"abc") == ABC
    assert path.stat().st_mtime_ns == written


def test_a_damaged_blob_is_refused_and_put_replaces_it(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    blobs.put(b"abc")
    blobs.get(ABC).write_bytes(b"abd")
    with pytest.raises(StorageError, match="blob is damaged; remove it"):
        blobs.get(ABC)
    blobs.put(b"abc")
    assert blobs.get(ABC).read_bytes() == b"abc"


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", ABC.upper(), ABC + "\n"])
def test_what_is_no_digest_never_becomes_a_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(StorageError, match="is not a SHA-256"):
        Blobs(tmp_path).get(digest)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="blob is missing"):
        Blobs(tmp_path).get(ABC)
