from __future__ import annotations

from pathlib import Path

from fedflow.client import memory
from fedflow.federation.protocol import BaseFile, RunFacts
from fedflow.plan import Plan

MB = 1_000_000


def facts(base_mb: int, upload_mb: int) -> RunFacts:
    return RunFacts(
        id="r", federation_id="f", name="large", status="running", round=1, rounds=1, plan={}, members=("a",),
        base_hash="0" * 64, tensors={}, upload_bytes=upload_mb * MB, message="",
        base_files=(
            BaseFile(path="unet/x.safetensors", sha256="0" * 64, size_bytes=base_mb * MB),
            BaseFile(path="tokenizer/vocab.json", sha256="1" * 64, size_bytes=1),
        ),
    )  # fmt: skip


def test_a_run_that_is_too_large_for_this_machine_is_told_before_it_begins() -> None:
    plan = Plan.model_validate({"data": {"clients": ["a"]}})
    assert memory.lack(facts(1000, 10), plan, 1340 * MB) is None
    told = memory.lack(facts(1000, 10), plan, 1339 * MB)
    assert told is not None
    assert told.startswith("it needs at least 1340.0 MB of memory and this machine has 1339.0 MB free; close")
    half = Plan.model_validate({"data": {"clients": ["a"]}, "network": {"wire": "float16"}})
    assert memory.lack(facts(1000, 10), half, 1379 * MB) is not None
    assert memory.lack(facts(1000, 10), plan, None) is None


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    assert memory.available_bytes(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    2000 kB\n")
    assert memory.available_bytes(tmp_path) == 2000 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, text in (("max", "900000\n"), ("current", "500000\n"), ("stat", "anon 1\ninactive_file 100000\n")):
        (group / f"memory.{name}").write_text(text)
    assert memory.available_bytes(tmp_path) == 500_000
    (group / "memory.max").write_text("max\n")
    assert memory.available_bytes(tmp_path) == 2000 * 1024


def test_this_machines_memory_is_known() -> None:
    found = memory.available_bytes()
    assert found is not None
    assert 0 < found < 10**15
