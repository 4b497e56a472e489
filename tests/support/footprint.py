"""What a server's processes cost: memory as proportional set size, and processor time. From /proc, so Linux only."""

from __future__ import annotations

import os
import threading
from pathlib import Path

EVERY_S = 0.5
PARTS = ("supervisor", "web", "worker", "evaluator")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def footprint(supervisor: int) -> tuple[dict[str, float], dict[str, float]]:
    """Megabytes (PSS) and processor seconds of a `fedflow server` now, of each of `PARTS`.

    'web' is gunicorn's arbiter and the process that it forks, together.
    """
    memory_mb = dict.fromkeys(PARTS, 0.0)
    cpu_s = dict(memory_mb)
    for process, kind in _processes(supervisor).items():
        try:
            memory_mb[kind] += pss_mb(process)
            cpu_s[kind] += _cpu_s(process)
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return memory_mb, cpu_s


class Peaks:
    """The largest memory of each part, and of all together, while the context lasts."""

    def __init__(self, supervisor: int) -> None:
        self.peak_mb: dict[str, float] = {}
        self._supervisor = supervisor
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(EVERY_S):
            now, _ = footprint(self._supervisor)
            now["all"] = sum(now.values())
            self.peak_mb = {kind: max(size, self.peak_mb.get(kind, 0.0)) for kind, size in now.items()}


def _processes(supervisor: int) -> dict[int, str]:
    """The supervisor and everything below it, with the part that each belongs to."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int(_stat(int(place.name))[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    kinds = {supervisor: "supervisor"}
    for process, parent in parents.items():
        if parent == supervisor:
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            kinds[process] = next((part for part in PARTS if part in words), "supervisor")
    for process, parent in parents.items():
        if parent in kinds and parent != supervisor:
            kinds[process] = kinds[parent]
    return kinds


def pss_mb(process: int) -> float:
    """A process's memory in MB, what it shares with others counted by its share."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024


def _cpu_s(process: int) -> float:
    fields = _stat(process)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may hold anything: state, parent, ..."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
