"""Blobs in an S3-compatible store, with copies in a folder, against a real S3 server over HTTP."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, S3Server, s3_server

from fedflow.errors import MistakeError, StorageError, StoreAway
from fedflow.storage import Blobs, CachedBlobs, Objects
from fedflow.storage.objects import PART_BYTES

PREFIXES = itertools.count()
MISSING = "0" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as made:
        yield made


@pytest.fixture
def url(server: S3Server) -> str:
    return f"s3://{BUCKET}/test-{next(PREFIXES)}"


@pytest.fixture
def blobs(url: str, tmp_path: Path) -> CachedBlobs:
    return CachedBlobs(Objects(url), tmp_path / "cache", 1_000_000)


def other(blobs: CachedBlobs, tmp_path: Path, most_bytes: int = 1_000_000) -> CachedBlobs:
    """The same store as another machine sees it."""
    return CachedBlobs(blobs.objects, tmp_path / "other", most_bytes)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_what_one_machine_puts_another_reads(blobs: CachedBlobs, tmp_path: Path) -> None:
    large = os.urandom(2 * PART_BYTES + 5)  # in several parts, up and down
    (tmp_path / "large").write_bytes(large)
    (tmp_path / "moved").write_bytes(b"moved")
    digests = [blobs.put(b""), blobs.put(b"bytes"), blobs.copy(tmp_path / "large")]
    blobs.adopt(tmp_path / "moved", sha256(b"moved"))
    assert not (tmp_path / "moved").exists()
    there = other(blobs, tmp_path)
    read = [there.get(digest).read_bytes() for digest in [*digests, sha256(b"moved")]]
    assert read == [b"", b"bytes", large, b"moved"]
    assert there.size(digests[2]) == len(large)
    assert {each.digest: each.size_bytes for each in there.listed()} == {sha256(each): len(each) for each in read}
    assert all(digest in there for digest in digests)
    assert MISSING not in there


def test_the_cache_may_go_at_any_time_and_is_never_trusted(blobs: CachedBlobs, tmp_path: Path) -> None:
    digest = blobs.put(b"content")
    copy = blobs.get(digest)
    copy.write_bytes(b"damaged")
    assert blobs.get(digest).read_bytes() == b"content"
    shutil.rmtree(tmp_path / "cache")
    assert blobs.local(digest).read_bytes() == b"content"
    blobs.objects.remove([f"blobs/{digest[:2]}/{digest}"])
    assert digest not in blobs
    with pytest.raises(StorageError, match="blob is missing; send it again"):
        blobs.size(digest)
    blobs.put(b"content")
    assert digest in blobs


def test_what_is_damaged_in_the_store_is_told_and_not_given(blobs: CachedBlobs, tmp_path: Path) -> None:
    digest = blobs.put(b"content")
    blobs.objects.put(f"blobs/{digest[:2]}/{digest}", b"damaged")
    with pytest.raises(StorageError, match=rf"{digest}: blob is damaged; remove it and run the step"):
        other(blobs, tmp_path).get(digest)
    assert not list((tmp_path / "other").rglob("*.partial"))
    with pytest.raises(StorageError, match="blob is missing"):
        blobs.get(MISSING)


def test_what_is_removed_is_gone_here_and_there(blobs: CachedBlobs) -> None:
    digests = [blobs.put(content) for content in (b"a", b"b", b"c")]
    blobs.remove(*digests[:2], MISSING)
    blobs.remove()
    assert [each.digest for each in blobs.listed()] == digests[2:]
    with pytest.raises(StorageError, match="blob is missing"):
        blobs.get(digests[0])


def test_the_cache_is_bounded_but_for_what_is_in_use(blobs: CachedBlobs, tmp_path: Path) -> None:
    digests = [blobs.put(bytes([number]) * 100_000) for number in range(30)]
    small = other(blobs, tmp_path)
    folder = Blobs(tmp_path / "other")
    for digest in digests[:20]:
        path = small.get(digest)
        os.utime(path, (1.0, 1.0))
    for digest in digests[20:]:
        small.get(digest)
    held = [each.digest for each in folder.listed()]
    assert len(held) <= 11  # a tenth more than the limit, as it is looked at when so much was added
    assert set(digests[20:]) <= {*held, *digests[20:]}
    assert digests[-1] in held
    assert all(digest in small for digest in digests)


def test_many_who_want_the_same_blob_get_it(blobs: CachedBlobs, tmp_path: Path) -> None:
    content = os.urandom(PART_BYTES)
    digest = blobs.put(content)
    there = other(blobs, tmp_path, 100_000_000)
    read: list[bytes] = []
    threads = [threading.Thread(target=lambda: read.append(there.get(digest).read_bytes())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert read == [content] * 8


def test_a_file_that_changes_while_it_is_copied_is_no_blob(
    blobs: CachedBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"before")
    monkeypatch.setattr("fedflow.storage.blobs.sha256_file", lambda path: sha256(b"earlier"))
    with pytest.raises(StorageError, match="changed while it was copied"):
        blobs.copy(tmp_path / "a")
    assert list(blobs.listed()) == []


def test_what_is_wrong_with_the_store_is_one_line_without_secrets(
    server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = CachedBlobs(Objects("s3://no-such-bucket/a"), tmp_path, 1)
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket/a: the bucket or 'ready' is not there; check"):
        nowhere.check()
    with pytest.raises(MistakeError, match="give s3://BUCKET"):
        Objects("s3://user:secret@host/bucket")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StoreAway, match=r"^s3://fedflow-test: the store does not answer \(") as away:
        Objects(f"s3://{BUCKET}").check()
    assert "hush" not in str(away.value)
    assert "\n" not in str(away.value)


def test_without_its_library_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(
        MistakeError, match=r"'obstore' is not installed; run in FedFlow's checkout: pip install '\.\[s3\]'"
    ):
        Objects(f"s3://{BUCKET}")
