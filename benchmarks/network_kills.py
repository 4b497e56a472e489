"""SIGKILL at every point of a federation, again and again, and the same bits as if nobody had died.

    python benchmarks/network_kills.py [--quick] [--times 10] [--cold 1] [--database sqlite|postgresql|both] [--seed 1]

Federations of three participants and three rounds (FedEx-LoRA, scored, exported; a tiny model with an adapter of a
MB, lines of 1 MB/s) are played one after another, on SQLite and on a throw-away PostgreSQL side by side. In each, a
process dies once at every point below, at a call and a moment that are drawn from the seed, and once the whole server.
Nobody helps but by starting dead participants (and the supervisor) again. It ends when each point has struck --times
times on each database. What was played is kept in --state: the same command goes on from there.

How to read: 'under way' counts strikes inside a call of which a moment was drawn, and not at its end. Recovery is
measured from the strike, restart included, to the next work of its kind that is done: a job's end for a worker (or its
next death at one), an answer for the rest, or an event in the run. A dead worker's job is nobody else's for 10 s, by
its lease. The first --cold federations on each database run as a person starts them; in the
others, processes are forked from one that has imported torch ('warm'), which saves the import at every restart.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from killed_federation import ANSWERS, POINTS, WHOLE_SERVER, Example, as_line, make_example, play
from network import SETTINGS, start_command, with_faults
from tiny_model import make_tiny_model
from warm import start as start_warm

GOAL_S = 30.0
MOST_FEDERATIONS = 3
"""So many times --times federations at most on a database: a point that does not strike must end somewhere."""

NAMES = {point: name for name, (_, point) in POINTS.items()} | {WHOLE_SERVER: WHOLE_SERVER}


class State:
    """What was played so far, a line each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def lines(self, database: str) -> list[dict[str, Any]]:
        with self._lock:
            kept = self.path.read_text() if self.path.is_file() else ""
        found = [json.loads(line) for line in kept.splitlines()]
        return [line for line in found if line["database"] == database]

    def keep(self, line: dict[str, Any]) -> None:
        with self._lock, self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def strikes(self, database: str, point: str) -> list[dict[str, Any]]:
        return [strike for line in self.lines(database) for strike in line["strikes"] if strike["point"] == point]


@contextmanager
def databases(kind: str) -> Iterator[Any]:
    """Gives the address of an empty database by its name; None stands for SQLite in the server's folder."""
    if kind == "sqlite":
        yield lambda _stack, _name: None
        return
    from cluster import cluster, database  # noqa: PLC0415

    with cluster() as url:
        yield lambda stack, name: stack.enter_context(database(url, name))


class Series:
    """Federations on one kind of database until every point has struck often enough."""

    def __init__(
        self, kind: str, example: Example, folder: Path, state: State, times: int, cold: int, seed: int
    ) -> None:
        self.kind, self.example, self.folder, self.state = kind, example, folder, state
        self.times, self.cold = times, cold
        self.begun = len(state.lines(kind))
        self.first = seed * 1000
        self.under_way = 0
        self._lock = threading.Lock()

    def lacks(self) -> bool:
        """Whether a point has struck too seldom, and there is patience yet."""
        enough = all(len(self.state.strikes(self.kind, point)) >= self.times for point in NAMES)
        return not enough and self.begun < MOST_FEDERATIONS * self.times

    def play_on(self, new: Any) -> None:
        """Play one after another, as many as are lacking when those that others play have ended well."""
        while True:
            with self._lock:
                fewest = min(len(self.state.strikes(self.kind, point)) for point in NAMES)
                if fewest + self.under_way >= self.times or not self.lacks():
                    return
                number = self.first + self.begun
                cold = self.begun < self.cold
                self.begun += 1
                self.under_way += 1
            try:
                self._play(new, number, cold=cold)
            finally:
                with self._lock:
                    self.under_way -= 1

    def _play(self, new: Any, number: int, *, cold: bool) -> None:
        folder = self.folder / f"{self.kind}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        with ExitStack() as stack:
            url = new(stack, f"kills_{number}")
            start = start_command if cold else start_warm
            played = play(self.example, folder, url, number, start=start)
        self.state.keep(as_line(self.kind, number, "cold" if cold else "warm", os.getloadavg()[0], played))
        told = "; ".join(played.faults) or "as the simulation"
        print(f"{self.kind} {number}: {played.seconds:.0f} s, {len(played.strikes)} strikes, {told}", file=sys.stderr)
        if not played.faults:
            shutil.rmtree(folder, ignore_errors=True)


def carry(series: Series, beside: int) -> None:
    """Play the series, so many federations at once."""
    with databases(series.kind) as new:
        while series.lacks():
            with ThreadPoolExecutor(beside) as pool:
                for playing in [pool.submit(series.play_on, new) for _ in range(beside)]:
                    playing.result()


def tell(kinds: list[str], state: State, times: int) -> bool:
    """Print the tables; whether every goal was met."""
    met = True
    print("| struck | database | strikes (under way), goal | median recovery | longest, goal 30 s |")
    print("|---|---|---|---|---|")
    for point, name in NAMES.items():
        for kind in kinds:
            strikes = state.strikes(kind, point)
            seconds = [strike["recovered_s"] for strike in strikes if strike["recovered_s"] is not None]
            under_way = sum(strike["under_way"] for strike in strikes)
            met &= len(strikes) >= times and len(seconds) == len(strikes) and max(seconds, default=0.0) <= GOAL_S
            took = f"{statistics.median(seconds):.1f} s | {max(seconds):.1f} s" if seconds else "- | -"
            print(f"| {name} | {kind} | {len(strikes)} ({under_way}), {times} | {took} |")
    print("\n| database | federations | as the simulation, goal all | seconds each | load of the machine |")
    print("|---|---|---|---|---|")
    for kind in kinds:
        lines = state.lines(kind)
        right = sum(not line["faults"] for line in lines)
        met &= right == len(lines) > 0
        each = [line["seconds"] for line in lines]
        loads = [line["load"] for line in lines]
        print(
            f"| {kind} | {len(lines)} ({sum(line['how'] == 'cold' for line in lines)} cold) | {right} | "
            f"{min(each):.0f} to {max(each):.0f} | {min(loads):.1f} to {max(loads):.1f} |"
        )
        for line in lines:
            for fault in line["faults"]:
                print(f"\n{kind}, seed {line['seed']}: {fault}")
    cold = [
        s["recovered_s"]
        for kind in kinds
        for line in state.lines(kind)
        if line["how"] == "cold"
        for s in line["strikes"]
        if s["recovered_s"] is not None
    ]
    if cold:
        print(
            f"\nOf cold restarts alone: {len(cold)} strikes, median {statistics.median(cold):.1f} s, "
            f"longest {max(cold):.1f} s."
        )
    return met


def main() -> int:
    """Play; 0 where every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one federation on each database, all warm")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--cold", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--beside", type=int, default=1, help="federations at once on each database")
    parser.add_argument("--state", type=Path, default=Path("network-kills.jsonl"))
    parser.add_argument("--folder", type=Path, help="where the federations' files go; those that went wrong stay")
    options = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    times, cold = (1, 0) if options.quick else (options.times, options.cold)
    os.environ.update(SETTINGS)
    with tempfile.TemporaryDirectory(prefix="fedflow-kills-") as scratch:
        state = State(Path(scratch) / "state" if options.quick else options.state)
        folder = options.folder or Path(scratch) / "federations"
        make_tiny_model(Path(scratch) / "model")
        example = make_example(Path(scratch), Path(scratch) / "model")
        # Points are armed where modules are imported: once, in the process that all others are forked from.
        os.environ["KILL_AT"] = " ".join([*(point for _, point in POINTS.values()), ANSWERS])
        os.environ["PYTHONPATH"] = with_faults()
        series = [Series(kind, example, folder, state, times, cold, options.seed) for kind in kinds]
        with ThreadPoolExecutor(len(kinds)) as pool:
            for playing in [pool.submit(carry, each, options.beside) for each in series]:
                playing.result()
        met = tell(kinds, state, times)
    print("\nall goals met" if met else "\nA GOAL IS MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
