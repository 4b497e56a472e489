"""What a participant fetches before a round: never more bytes than it must, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedflow.client.global_state import have, merged_worth_fetching
from fedflow.federation.jobs import TrainJob
from fedflow.federation.places import RunFolder
from fedflow.federation.protocol import MergedBase, Work
from fedflow.federation.rounds import Merged
from fedflow.storage import Blobs

CONTENT = {name: name.encode() * size for name, size in {"r1": 40, "r2": 40, "r3": 40, "m2": 50, "adapter": 10}.items()}


@pytest.fixture
def server(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "server")


@pytest.fixture
def digests(server: Blobs) -> dict[str, str]:
    return {name: server.put(content) for name, content in CONTENT.items()}


class Fetches:
    """A server's files, and the names of what was fetched."""

    def __init__(self, server: Blobs, digests: dict[str, str]) -> None:
        self.server = server
        self.names = {digest: name for name, digest in digests.items()}
        self.fetched: list[str] = []

    def __call__(self, digest: str, target: Path) -> None:
        self.fetched.append(self.names[digest])
        target.write_bytes(self.server.get(digest).read_bytes())


def work_of(digests: dict[str, str], residuals: int) -> Work:
    names = [f"r{number}" for number in range(1, residuals + 1)]
    merged = MergedBase(weights=digests["m2"], size_bytes=len(CONTENT["m2"]), count=2) if residuals >= 2 else None
    return Work(
        action="train",
        text="",
        poll_after_s=0.0,
        run="run",
        round=residuals + 1,
        adapter=digests["adapter"],
        residuals=tuple(digests[name] for name in names),
        residual_bytes=tuple(len(CONTENT[name]) for name in names),
        merged=merged,
    )


def brought(
    folder: RunFolder, server: Blobs, digests: dict[str, str], residuals: int, in_memory: tuple[str, ...] = ()
) -> tuple[Merged | None, list[str]]:
    """Get ready for the round after `residuals` residuals: what was begun with, and what was fetched for it."""
    work = work_of(digests, residuals)
    merged = merged_worth_fetching(work, folder.blobs, in_memory)
    fetches = Fetches(server, digests)
    have(
        folder,
        TrainJob(1, "a", work.round, ("a",), 1, work.adapter, work.residuals, merged),
        in_memory,
        "pictures",
        fetches,
    )
    return merged, fetches.fetched


def test_who_lacks_all_begins_with_the_merged_base(tmp_path: Path, server: Blobs, digests: dict[str, str]) -> None:
    merged, fetched = brought(RunFolder(tmp_path / "run"), server, digests, 3)
    assert merged == Merged(digests["m2"], 2)
    assert fetched == ["adapter", "m2", "r3"]


def test_who_was_there_takes_the_newest_residual(tmp_path: Path, server: Blobs, digests: dict[str, str]) -> None:
    folder = RunFolder(tmp_path / "run")
    fetched = [brought(folder, server, digests, residuals)[1] for residuals in (0, 1)]
    assert fetched == [["adapter"], ["r1"]]
    assert brought(folder, server, digests, 2, in_memory=(digests["r1"],)) == (None, ["r2"])
    # After a restart everything is still on the disk.
    assert brought(folder, server, digests, 2) == (None, [])


def test_what_the_open_model_holds_is_not_fetched(tmp_path: Path, server: Blobs, digests: dict[str, str]) -> None:
    folder = RunFolder(tmp_path / "run")
    brought(folder, server, digests, 2)  # began with the merged base
    in_memory = (digests["r1"], digests["r2"])
    merged, fetched = brought(folder, server, digests, 3, in_memory)
    assert fetched == ["r3"]
    assert merged == Merged(digests["m2"], 2)  # still here, for a restart
    assert brought(folder, server, digests, 3) == (merged, [])


def test_nothing_is_kept_that_serves_no_more(tmp_path: Path, server: Blobs, digests: dict[str, str]) -> None:
    folder = RunFolder(tmp_path / "run")
    stale = folder.blobs.put(b"of an earlier round")
    brought(folder, server, digests, 1)
    assert stale not in folder.blobs
    assert digests["r1"] in folder.blobs
