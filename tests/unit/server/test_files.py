"""Files by content: kept, given to those who may have them, collected when nothing refers to them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from tests.unit.server.conftest import Clock, Machine

from fedflow.errors import StorageError
from fedflow.server.database.tables import Artifact, File, Receipt, Round, Run, Score, Upload, Version
from fedflow.server.errors import NotFound
from fedflow.server.services import federations, files, identity
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

DAY_S = 86_400


@pytest.fixture
def caller(store: Store, machine: Machine) -> Caller:
    return identity.authenticate(store, machine.token())


def _add_run(store: Store, federation_id: str, **columns: object) -> None:
    run = Run(id=f"run of {federation_id}", federation_id=federation_id, name="a", plan={}, status="running", round=1)
    run.message, run.created_at = "", store.clock()
    for name, value in columns.items():
        setattr(run, name, value)
    with store.begin() as session:
        session.add(run)


def _add_round(store: Store, federation_id: str, number: int, committed_at: float | None, adapter: str) -> None:
    row = Round(run_id=f"run of {federation_id}", number=number, phase="done", selected=[], opened_at=0.0)
    row.deadline_at, row.committed_at, row.adapter = 0.0, committed_at, adapter
    with store.begin() as session:
        session.add(row)


def _add_version(store: Store, federation_id: str, content: str, export: str) -> None:
    artifact = Artifact(id="artifact", federation_id=federation_id, kind="adapter", name="a", created_at=0.0)
    version = Version(id="version", artifact_id="artifact", number=1, content=content, facts={}, created_at=0.0)
    version.files = {"kohya": export}
    with store.begin() as session:
        session.add(artifact)
        session.flush()
        session.add(version)


def _add_score(store: Store, federation_id: str, features: str, picture: str) -> None:
    score = Score(run_id=f"run of {federation_id}", round=1, who="aggregated", num_examples=1, steps=1, prompts=["a"])
    score.fid = score.kid = score.kid_low = score.kid_high = score.seconds = score.scored_at = 0.0
    score.resize, score.num_heldout = "as it is", 2
    score.extractor, score.features, score.gallery = "icons-v1", features, [picture]
    with store.begin() as session:
        session.add(score)


def _may_have(store: Store, caller: Caller, sha256: str) -> bool:
    try:
        return files.path_for(store, caller, sha256).is_file()
    except NotFound:
        return False


def _age(store: Store, sha256: str, clock: Clock) -> None:
    """Let a blob be as old as the test's clock says."""
    path = store.blobs.folder / sha256[:2] / sha256
    os.utime(path, (clock.now, clock.now))


def test_bytes_and_files_are_kept_under_their_hash(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content" * 1_000_000)
    digest = files.put(store, tmp_path / "a", "update")
    assert digest == hashlib.sha256(b"content" * 1_000_000).hexdigest()
    assert files.put(store, b"content" * 1_000_000, "adapter") == digest
    assert store.blobs.get(digest).stat().st_size == 7_000_000
    assert (tmp_path / "a").exists()
    with store.read() as session:
        row = session.get_one(File, digest)
        assert (row.size_bytes, row.kind) == (7_000_000, "adapter")


def test_a_row_needs_its_blob(store: Store) -> None:
    with pytest.raises(StorageError, match="blob is missing; send it again"), store.begin() as session:
        files.record(session, store, "a" * 64, "update")
    with store.read() as session:
        assert session.get(File, "a" * 64) is None


def test_a_device_gets_what_is_shared_in_its_federation_and_nothing_else(
    store: Store, federation_id: str, caller: Caller
) -> None:
    put = {name: files.put(store, name.encode(), "any") for name in ("ours", "theirs", "both", "update")}
    other = federations.create(store, "other")
    with store.begin() as session:
        files.share(session, federation_id, put["ours"], None, put["both"])
        files.share(session, federation_id, put["ours"])
        files.share(session, other, put["theirs"], put["both"])
    assert {name for name, digest in put.items() if _may_have(store, caller, digest)} == {"ours", "both"}
    person = Caller("person", "p", is_admin=True)
    assert all(_may_have(store, person, digest) for digest in put.values())
    assert not _may_have(store, person, "0" * 64)


def test_collection_keeps_what_is_in_use_and_what_is_young(
    store: Store, federation_id: str, caller: Caller, clock: Clock
) -> None:
    weights = files.put(store, b"weights", "base")
    base = files.put(store, json.dumps([{"path": "a", "sha256": weights, "size_bytes": 7}]).encode(), "base")
    adapter, unused = files.put(store, b"adapter", "adapter"), files.put(store, b"unused", "update")
    update, merged = files.put(store, b"update", "update"), files.put(store, b"merged", "merged")
    export, features, picture = (files.put(store, name, "any") for name in (b"export", b"features", b"picture"))
    _add_run(store, federation_id, base=base)
    _add_round(store, federation_id, 1, 1.0, adapter)
    _add_version(store, federation_id, adapter, export)
    _add_score(store, federation_id, features, picture)
    with store.begin() as session:
        session.get_one(Round, (f"run of {federation_id}", 1)).merged = merged
        files.share(session, federation_id, unused, adapter)
        key = {"run_id": f"run of {federation_id}", "member_id": caller.member_id, "device_id": caller.id}
        session.add(Receipt(**key, round=1, sha256=update, num_examples=1, metrics={}, received_at=0.0))
    used = {weights, base, adapter, update, merged, export, features, picture}
    assert files.collect(store, upload_ttl_s=DAY_S) == 0
    clock.now += DAY_S + 1
    young = files.put(store, b"young", "update")
    for digest in used | {unused, young}:
        _age(store, digest, clock)
    assert files.collect(store, upload_ttl_s=DAY_S) == 1
    assert unused not in store.blobs
    assert all(digest in store.blobs for digest in used | {young})
    assert files.collect(store, upload_ttl_s=DAY_S) == 0


def test_what_is_noted_anew_is_young_again(store: Store, clock: Clock) -> None:
    digest = files.put(store, b"update", "update")
    clock.now += DAY_S + 1
    with store.begin() as session:
        files.record(session, store, digest, "update")
    assert files.collect(store, upload_ttl_s=DAY_S) == 0
    assert digest in store.blobs


def test_a_blob_whose_row_was_never_written_is_collected(store: Store, clock: Clock) -> None:
    orphan, recent = store.blobs.put(b"crashed between blob and row"), store.blobs.put(b"on its way")
    partial = store.blobs.folder / orphan[:2] / ".0123.partial"
    partial.touch()
    os.utime(partial, (clock.now - DAY_S - 1,) * 2)
    for digest, age_s in ((orphan, DAY_S + 1), (recent, 10)):
        path = store.blobs.folder / digest[:2] / digest
        os.utime(path, (clock.now - age_s,) * 2)
    assert files.collect(store, upload_ttl_s=DAY_S) == 1
    assert orphan not in store.blobs
    assert recent in store.blobs
    assert not partial.exists()


def test_nothing_is_collected_while_a_base_models_list_cannot_be_read(
    store: Store, federation_id: str, clock: Clock
) -> None:
    unused = files.put(store, b"unused", "update")
    base = files.put(store, b"[]", "base")
    _add_run(store, federation_id, base=base)
    store.blobs.get(base).write_bytes(b"damaged")
    clock.now += DAY_S + 1
    with pytest.raises(StorageError, match="blob is damaged"):
        files.collect(store, upload_ttl_s=DAY_S)
    assert unused in store.blobs


def test_uploads_that_nobody_goes_on_with_are_dropped(store: Store, machine: Machine, clock: Clock) -> None:
    for name, age_s in (("old", DAY_S + 1), ("young", 10)):
        path = store.folder / "uploads" / name
        path.write_bytes(b"part")
        os.utime(path, (clock.now - age_s,) * 2)
        with store.begin() as session:
            row = Upload(id=name, device_id=machine.device_id, length_bytes=9, offset_bytes=4, upload_metadata="")
            row.created_at = row.touched_at = clock.now - age_s
            session.add(row)
    files.collect(store, upload_ttl_s=DAY_S)
    assert [path.name for path in (store.folder / "uploads").iterdir()] == ["young"]
    with store.read() as session:
        assert session.get(Upload, "old") is None
        assert session.get(Upload, "young") is not None
