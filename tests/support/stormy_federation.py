"""A federation of real processes in bad weather, each participant behind a proxy of its own, and what became of it.

In every round some participants drop out (their connections break and none is taken, or their process is killed),
in some rounds one takes ten times its usual time (its process stands still, or its line is slow), and in all rounds
requests are sent twice. Who and how is drawn from a seed before the run begins.
"""

from __future__ import annotations

import math
import random
import re
import shutil
import signal
import sqlite3
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from http_bytes import requests_in
from network import Network, wait_for
from proxy import Proxy, Weather

from fedflow.federation.joining import join_updates
from fedflow.federation.rounds import GlobalState, Receipt
from fedflow.federation.workbench import settle_torch
from fedflow.plan import read_plan
from fedflow.shipped import demo_folder
from fedflow.storage import Blobs

Fate = Literal["cut off", "killed", "stands still", "slow line"]

SLOWER = 10.0
SWEEP_S = 1.0
"""How long after its deadline a round may close: the worker looks five times a second, on a busy machine less."""


@dataclass(frozen=True)
class Storm:
    """A federation and its weather. `straggle` holds the rounds in which one participant is slow."""

    members: int
    rounds: int
    wanted: int
    quorum: int
    deadline_s: float
    drop_out: float
    repeat: float
    straggle: dict[int, Fate]
    killed_in: int
    seed: int

    @property
    def names(self) -> tuple[str, ...]:
        """The members in the federation's order."""
        return tuple(f"client-{number + 1}" for number in range(self.members))

    def fates(self, number: int) -> dict[str, Fate]:
        """What happens to whom in a round."""
        drawn = random.Random(f"{self.seed} round {number}").sample(self.names, self.members)
        dropped = max(1, math.floor(self.drop_out * self.members + 0.5))
        found: dict[str, Fate] = dict.fromkeys(drawn[:dropped], "cut off")
        if number == self.killed_in:
            found[drawn[0]] = "killed"
        if number in self.straggle:
            found[drawn[dropped]] = self.straggle[number]
        return found


@dataclass(frozen=True)
class RoundSeen:
    """A round as it went: who answered in time, when it closed after its opening, and what may be wrong with it."""

    number: int
    fates: dict[str, Fate]
    answered: tuple[str, ...]
    closed_s: float
    deadline_s: float
    faults: tuple[str, ...]


@dataclass
class Seen:
    """A whole run as it went."""

    rounds: list[RoundSeen] = field(default_factory=list)
    copies: int = 0
    late: int = 0
    server_errors: int = 0
    faults: list[str] = field(default_factory=list)


def pictures_of(names: tuple[str, ...], folder: Path) -> dict[str, int]:
    """Folders with three and more demo pictures, one per member; how many each has."""
    counts = {name: 3 + number for number, name in enumerate(names)}
    source = sorted((demo_folder() / "client-1").glob("*.png"))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for picture in source[:count]:
            for path in (picture, picture.with_suffix(".txt")):
                shutil.copyfile(path, folder / name / path.name)
    return counts


def write_plan(path: Path, storm: Storm, model: Path, pictures: Path) -> Path:
    """The run's plan."""
    path.write_text(
        f"""name = "storm"
model = "{model}"
rounds = {storm.rounds}
clients_per_round = {storm.wanted}
seeds = [{storm.seed}]
[data]
root = "{pictures}"
clients = {list(storm.names)}
[lora]
rank = 4
alpha = 8
[training]
batch_size = 2
epochs = 8
checkpoint_every = 4
[network]
quorum = {storm.quorum}
over_selection = {storm.members / storm.wanted}
deadline_s = {storm.deadline_s}
""",
        encoding="utf-8",
    )
    return path


def carry(storm: Storm, network: Network, model: Path) -> Seen:
    """Carry the run to its end, and look at what it left."""
    counts = pictures_of(storm.names, network.folder / "pictures")
    plan = write_plan(network.folder / "plan.toml", storm, model, network.folder / "pictures")
    network.start_server()
    target = ("127.0.0.1", network.port)
    calm = Weather(repeat=storm.repeat, later_s=storm.deadline_s / 4)
    proxies = {
        name: Proxy(target, calm, network.folder / "sent" / name, seed=storm.seed * 100 + number)
        for number, name in enumerate(storm.names)
    }
    weather = _Forecast(storm, network, proxies, calm)
    try:
        for name, proxy in proxies.items():
            network.join(name, network.folder / "pictures" / name, via=proxy.url)
        network.wait_members(*storm.names)
        weather.turn(1)
        run_id = network.asked("run", "start", str(plan))
        wait_for(lambda: weather.look(run_id), storm.rounds * 2 * storm.deadline_s + 120, "the end of the run")
        weather.clear()
        for name, process in network.clients.items():
            if process.wait(120) != 0:
                raise AssertionError(f"{name} ended with an error: {network.log(name)[-500:]}")
        seen = look_back(storm, network, run_id, counts)
        seen.copies = sum(len(proxy.copies) for proxy in proxies.values())
        seen.server_errors = sum(copy.status >= 500 for proxy in proxies.values() for copy in proxy.copies)
        seen.faults += replayed(network, proxies)
        return seen
    finally:
        for proxy in proxies.values():
            proxy.close()


class _Forecast:
    """Gives each round its weather, from the moment on at which the one before has closed."""

    def __init__(self, storm: Storm, network: Network, proxies: dict[str, Proxy], calm: Weather) -> None:
        self.storm = storm
        self.network = network
        self.proxies = proxies
        self.calm = calm
        self.number = 0
        self.stopped: dict[str, float] = {}
        self.usual_s: list[float] = []

    def turn(self, number: int) -> None:
        """The weather of round `number`: who was away comes back, others go."""
        self.number = number
        fates = self.storm.fates(number)
        for name, proxy in self.proxies.items():
            fate = fates.get(name)
            if fate == "killed":
                self.network.clients[name].kill()
            delay_s = SLOWER * self.usual_s_each / REQUESTS_OF_A_ROUND if fate == "slow line" else 0.0
            away = fate in ("cut off", "killed")
            proxy.change(Weather(away=away, delay_s=delay_s, repeat=self.calm.repeat, later_s=self.calm.later_s))
        for name in self.proxies:
            process = self.network.clients[name]
            if process.poll() == -signal.SIGKILL and fates.get(name) != "killed":
                self.network.join(name, self.network.folder / "pictures" / name)

    @property
    def usual_s_each(self) -> float:
        """What a participant took from the last round's opening to its answer, the median."""
        return statistics.median(self.usual_s) if self.usual_s else 2.0

    def look(self, run_id: str) -> bool:
        """Whether the run is over; gives the next round its weather where one has closed."""
        found = rows(self.network, "SELECT opened_at, closed_at FROM round WHERE number = ?", self.number)
        if found and found[0][1] is not None and self.number < self.storm.rounds:
            query = "SELECT received_at - ? FROM receipt WHERE round = ?"
            self.usual_s = [row[0] for row in rows(self.network, query, found[0][0], self.number)]
            self.turn(self.number + 1)
        self._stand_still()
        status = self.network.status(run_id)
        assert status in ("preparing", "running", "done"), self.network.asked("run", "explain", run_id)
        return status == "done"

    def _stand_still(self) -> None:
        """Stop who is to stand still once it trains; let go on who has stood long enough."""
        for name, fate in self.storm.fates(self.number).items():
            begun = f"round {self.number} of {self.storm.rounds}: training" in self.network.log(name)
            if fate == "stands still" and begun and (name not in self.stopped):
                self.network.clients[name].send_signal(signal.SIGSTOP)
                self.stopped[name] = time.monotonic() + SLOWER * self.usual_s_each
        for name, until in self.stopped.items():
            if time.monotonic() >= until:
                self.network.clients[name].send_signal(signal.SIGCONT)

    def clear(self) -> None:
        """The sun comes out."""
        for name, proxy in self.proxies.items():
            proxy.change(self.calm)
            process = self.network.clients[name]
            if process.poll() == -signal.SIGKILL:
                self.network.join(name, self.network.folder / "pictures" / name)
            elif process.poll() is None:
                process.send_signal(signal.SIGCONT)


REQUESTS_OF_A_ROUND = 12
"""Pieces that wait in turn while a participant fetches the round's start and sends its update."""


def look_back(storm: Storm, network: Network, run_id: str, counts: dict[str, int]) -> Seen:
    """Every round by the event log and the receipts, and its adapter joined anew from exactly the accepted updates."""
    settle_torch(1)
    plan = read_plan(network.folder / "plan.toml")
    events = all_events(network, run_id)
    shutil.copytree(network.data / "blobs", network.folder / "again")
    blobs = Blobs(network.folder / "again")
    initial = rows(network, "SELECT initial FROM run")[0][0]
    state = GlobalState(initial)
    seen = Seen()
    for number in range(1, storm.rounds + 1):
        of_round = [event for event in events if event["facts"].get("round") == number]
        receipts = _receipts(network, number, storm.names)
        answered = tuple(receipt.client for receipt in receipts)
        opened, deadline, closed = rows(
            network, "SELECT opened_at, deadline_at, closed_at FROM round WHERE number = ?", number
        )[0]
        told = sorted(_told(of_round, "update accepted", lambda facts: (facts["member"], facts["num_examples"])))
        closings = _told(of_round, "round closed", lambda facts: facts["accepted"])
        commits = _told(of_round, "round committed", lambda facts: (facts["adapter"], facts["residual"]))
        joined = join_updates(blobs, plan, receipts, state)
        checks = {
            "it closed late": closed - deadline <= SWEEP_S,
            "its deadline was moved": not _told(of_round, "deadline moved", lambda facts: facts),
            "it closed without quorum": len(receipts) >= storm.quorum,
            "it closed too early": len(receipts) >= storm.wanted or closed >= deadline,
            "events and receipts differ": told == sorted((r.client, r.num_examples) for r in receipts),
            "example counts are wrong": all(r.num_examples == counts[r.client] for r in receipts),
            "it closed more than once, or with others": closings == [list(answered)],
            "its commit is another than the accepted updates give": commits == [(joined.adapter, joined.residual)],
        }
        faults = tuple(fault for fault, right in checks.items() if not right)
        seen.rounds.append(RoundSeen(number, storm.fates(number), answered, closed - opened, deadline - opened, faults))
        residuals = state.residuals if joined.residual is None else (*state.residuals, joined.residual)
        state = GlobalState(joined.adapter, residuals)
    logs = [network.log(name) for name in storm.names]
    seen.late = sum(len(re.findall(r"takes no updates", log)) for log in logs)
    return seen


def replayed(network: Network, proxies: dict[str, Proxy]) -> list[str]:
    """Send every answer of every participant once more, after the end; what changed that belongs to more than it."""
    before = _ledger(network)
    faults = []
    for name, proxy in proxies.items():
        for recording in proxy.recordings():
            for request in requests_in(recording):
                target = request.head.target
                if not request.whole or request.head.method not in ("POST", "PATCH") or "/devices/" in target:
                    continue
                raw = request.head.raw + request.body
                copy = proxy.send_again(raw)
                if not 200 <= copy.status < 500:
                    faults.append(f"{name}: {copy.what} again gives {copy.status}")
    after = _ledger(network)
    faults += [
        f"answers that came late changed the table '{table}'" for table in before if before[table] != after[table]
    ]
    return faults


def all_events(network: Network, run_id: str) -> list[dict[str, Any]]:
    """The federation's whole event log."""
    federation = network.get(f"/runs/{run_id}")["federation_id"]
    found: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = network.get(f"/federations/{federation}/events?limit=200&after={after}")
        found += page["items"]
        after = page["next"]
    return found


def _told(events: list[dict[str, Any]], kind: str, what: Callable[[dict[str, Any]], Any]) -> list[Any]:
    return [what(event["facts"]) for event in events if event["kind"] == kind]


def _receipts(network: Network, number: int, names: tuple[str, ...]) -> tuple[Receipt, ...]:
    query = "SELECT member.name, sha256, num_examples FROM receipt JOIN member ON member.id = member_id WHERE round = ?"
    found = [Receipt(name, number, sha256, examples) for name, sha256, examples in rows(network, query, number)]
    return tuple(sorted(found, key=lambda receipt: names.index(receipt.client)))


LEDGER = ("run", "run_member", "round", "receipt", "refusal", "event", "member", "job", "file")


def _ledger(network: Network) -> dict[str, list[tuple[Any, ...]]]:
    return {table: rows(network, f"SELECT * FROM {table} ORDER BY 1, 2") for table in LEDGER}  # noqa: S608 - ours


def rows(network: Network, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What the server's database answers; it is only read."""
    database = sqlite3.connect(f"file:{network.data / 'server.db'}?mode=ro", uri=True, timeout=30)
    try:
        return database.execute(query, values).fetchall()
    finally:
        database.close()
