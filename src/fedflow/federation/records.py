"""What a run's folder says of the run: `run.json`, and the lock that keeps two commands apart. No torch."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedflow import __version__
from fedflow.errors import MistakeError, RunError, StorageError
from fedflow.federation.jobs import Committed
from fedflow.federation.places import RunFolder
from fedflow.plan import Plan
from fedflow.storage import read_json, write_json

PACKAGES = ("torch", "diffusers", "transformers", "peft", "numpy")
RUNNING, STOPPED, FINISHED = "running", "stopped", "finished"


@dataclass(frozen=True)
class Record:
    """A run as its folder tells it.

    `seconds` of work over all commands that went on with it; `data` the content hash of all pictures and captions;
    `extractor` what was asked for, `measured_with` what the figures were measured with.
    """

    plan: Plan
    status: str
    started: str
    seconds: float
    threads: int
    extractor: str
    data: str
    machine: str
    versions: dict[str, str]
    measured_with: str = ""


def claim(out: Path, plan: Plan, threads: int, extractor: str, data: str) -> Record:
    """The record of a new run in `out`, or that of the same run which goes on there. `data` is the pictures' hash.

    A run of which nothing was done yet gives way to another.

    Raises:
        MistakeError: the folder holds another plan's run, other files, or a run with other threads,
            extractor or pictures.
    """
    path = out / "run.json"
    if not path.is_file() or not _begun(out):
        if not path.is_file() and out.is_dir() and any(entry.name != ".lock" for entry in out.iterdir()):
            raise MistakeError(f"{out}: is not empty and holds no run; choose another --out")
        started = datetime.now(UTC).isoformat(timespec="seconds")
        versions = {"fedflow": __version__, "python": platform.python_version()}
        versions |= {package: metadata.version(package) for package in PACKAGES}
        return Record(plan, RUNNING, started, 0.0, threads, extractor, data, _machine(), versions)
    record = read_record(out)
    if record.data != data:
        raise MistakeError(
            f"{out}: the pictures or captions have changed since this run was begun; put them back, or choose "
            "another --out"
        )
    if record.plan != plan:
        raise MistakeError(f"{out}: holds a run of another plan ('{record.plan.name}'); choose another --out")
    if (record.threads, record.extractor) != (threads, extractor):
        raise MistakeError(
            f"{out}: its run was begun with --threads {record.threads} --extractor {record.extractor}; "
            "go on with the same, or choose another --out"
        )
    for partial in out.rglob("*.partial"):  # what a killed process was writing
        partial.unlink()
    return record


def _begun(out: Path) -> bool:
    """Whether any job of the run in `out` has left an outcome."""
    return any(out.glob("seed-*/*/*.json")) or (out / "real").is_dir()


def write_record(out: Path, record: Record) -> None:
    """Write `run.json`."""
    content: dict[str, Any] = {name: getattr(record, name) for name in record.__dataclass_fields__}
    write_json(out / "run.json", content | {"plan": record.plan.model_dump(mode="json")})


def read_record(out: Path) -> Record:
    """The record of the run in `out`. Raises MistakeError where there is none, or one that cannot be read."""
    path = out / "run.json"
    if not path.is_file():
        raise MistakeError(f"{out}: holds no run (no run.json); give the --out folder of 'fedflow simulate' or 'demo'")
    content = read_json(path)
    try:
        return Record(**{**content, "plan": Plan.model_validate(content["plan"])})
    except (KeyError, TypeError, ValidationError) as error:
        raise MistakeError(f"{path}: is no record of this version of FedFlow; choose another folder") from error


def last_round(out: Path, seed: int, number: int) -> Committed:
    """What round `number` of `seed` committed. Raises MistakeError where it has not yet."""
    path = RunFolder(out).aggregate(seed, number)
    if not path.is_file():
        raise MistakeError(f"{out}: round {number} of seed {seed} is not done; run 'fedflow simulate' to the end first")
    return Committed(**read_json(path))


def base_resolution(out: Path) -> int:
    """The resolution of the base model of the run in `out`, in pixels, as it was noted when the run began."""
    return int(read_json(RunFolder(out).base)["resolution"])


def with_work(record: Record, status: str, seconds: float) -> Record:
    """The record after `seconds` more of work."""
    return replace(record, status=status, seconds=record.seconds + seconds)


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Hold the run's folder for one command.

    Raises:
        MistakeError: the folder cannot be made or written to.
        RunError: another command is at work there, or the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = open(out / ".lock", "w", encoding="ascii")  # noqa: SIM115 - closed below, where errors are others'
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(f"{out}: disk full; free space and run the same command again") from None
        raise MistakeError(f"{out}: cannot be a run's folder ({error.strerror}); choose another --out") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{out}: another fedflow command is at work there; wait for it, or choose another --out"
            ) from None
        yield


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
