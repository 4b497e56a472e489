"""Federations whose processes are killed at named points, and what must be as if nobody had been.

The server's supervisor starts its own processes again; a participant, and the supervisor where it was killed, is
started again here, and nothing else is done. The measure is one `fedflow simulate` of the same plan.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from network import SETTINGS, Network, Start, simulated, start_command, wait_for
from proxy import Proxy, Weather
from sqlalchemy import create_engine, text

from fedflow.shipped import demo_folder

Who = Literal["client", "handed in", "web", "worker", "evaluator", "server"]

POINTS: dict[str, tuple[Who, str]] = {
    "client, fetching a round's start": ("client", "fedflow.client.global_state:have:during<0.8@3"),
    "client, in the training's loop": ("client", "fedflow.training.loop:_train:during<0.4@3"),
    "client, after a checkpoint": ("client", "fedflow.training.checkpoint:save_checkpoint:after@8"),
    "client, sending its update": ("client", "fedflow.client.transfer:_send:during<0.8@3"),
    "client, between upload and hand-in": ("client", "fedflow.client.connection:Connection.upload:after@3"),
    "client, after a hand-in": ("handed in", "fedflow.client.connection:Connection.hand_in:after@3"),
    "web, sending a file": ("web", "fedflow.server.services.files:path_for:after<0.2@40"),
    "web, taking in an upload": ("web", "fedflow.server.services.upload_writing:Writing.take_in:during<0.8@3"),
    "web, upload's bytes in, not noted": ("web", "fedflow.server.services.upload_writing:Writing.keep:before@3"),
    "web, between an update's blob and row": ("web", "fedflow.server.services.updates:_count:before@3"),
    "web, in the row's transaction": ("web", "fedflow.server.services.updates:_count:after@3"),
    "web, between row and answer": ("web", "fedflow.server.services.updates:hand_in:after@3"),
    "worker, preparing": ("worker", "fedflow.server.worker.tasks:_store_base:during<0.05"),
    "worker, between preparation and row": ("worker", "fedflow.server.services.runs:begin:before"),
    "worker, aggregating": ("worker", "fedflow.federation.joining:join_updates:during<0.2@2"),
    "worker, between blob and commit": ("worker", "fedflow.server.services.commits:commit:before@2"),
    "worker, between commit and its job's end": ("worker", "fedflow.server.services.commits:commit:after@2"),
    "worker, exporting": ("worker", "fedflow.federation.exports:in_layouts:during<0.005"),
    "worker, between an export's blobs and row": ("worker", "fedflow.server.services.registry:add_files:before"),
    "evaluator, between commit and evaluation": ("evaluator", "fedflow.server.services.scores:to_score:before@4"),
    "evaluator, drawing": ("evaluator", "fedflow.generation.pictures:generate:during<0.1@4"),
    "evaluator, between blobs and row": ("evaluator", "fedflow.server.services.scores:keep:before@4"),
    "evaluator, between row and its job's end": ("evaluator", "fedflow.server.services.scores:keep:after@4"),
}
WHOLE_SERVER = "supervisor and all its processes at once"
ANSWERS = "fedflow.client.transfer:_answered:told"
"""What each participant heard from the server in its transfers."""

SERVER_AFTER_S = (1.0, 40.0)
LINE = Weather(bytes_per_s=1_000_000)
ACCEPTED = "update accepted"
IN_FLIGHT_S = 0.05
"""What a participant hears so soon after the web process's death was answered before."""

COUNTS = {"client-1": 3, "client-2": 4, "client-3": 5}
ROUNDS = 3
SEED = 5


@dataclass(frozen=True)
class Strike:
    """A SIGKILL, and how long it was until what it struck had got on; `under_way`: not only at a call's end."""

    point: str
    under_way: bool
    recovered_s: float | None


@dataclass(frozen=True)
class Told:
    """A response that a participant got, see `faults/sitecustomize.py`."""

    at: float
    who: str
    method: str
    url: str
    status: int
    offset: str | None
    location: str | None
    metadata: str | None


@dataclass(frozen=True)
class Example:
    """The plan, and what `fedflow simulate` makes of it."""

    plan: Path
    pictures: Path
    committed: list[tuple[str, str | None]]
    table: list[str]
    joint: dict[str, str]


@dataclass
class Played:
    """A federation that was carried to its end: the strikes, and all that is not as in the example."""

    strikes: list[Strike]
    faults: list[str]
    seconds: float


def make_example(
    folder: Path, model: Path, rank: int = 256, rounds: int = ROUNDS, start: Start = start_command
) -> Example:
    """Pictures and a plan in `folder`, and its simulation."""
    pictures = folder / "pictures"
    for name, count in {**COUNTS, "heldout": 4}.items():
        source = demo_folder() / ("heldout" if name == "heldout" else "client-1")
        (pictures / name).mkdir(parents=True)
        for picture in sorted(source.glob("*.png"))[:count]:
            for path in (picture, picture.with_suffix(".txt")):
                (pictures / name / path.name).write_bytes(path.read_bytes())
    plan = folder / "plan.toml"
    plan.write_text(
        f"""name = "kills"
model = "{model}"
rounds = {rounds}
seeds = [{SEED}]
[data]
root = "{pictures}"
clients = {list(COUNTS)}
[lora]
rank = {rank}
alpha = {rank}
[training]
batch_size = 2
epochs = 6
checkpoint_every = 3
[baselines]
central = false
[evaluation]
clients = true
sampler_steps = 2
[gallery]
count = 1
""",
        encoding="utf-8",
    )
    out = folder / "simulated"
    log = folder / "simulated.log"
    status = start(["simulate", str(plan), "--out", str(out)], {**os.environ, **SETTINGS}, log).wait()
    assert status == 0, log.read_text()
    joint = {
        layout: tensors_hash(out / f"seed-{SEED}" / "adapters" / f"joint.{layout}.safetensors")
        for layout in ("diffusers", "kohya")
    }
    return Example(plan, pictures, simulated(out, SEED, rounds), _table(out), joint)


def play(
    example: Example,
    folder: Path,
    database_url: str | None,
    seed: int,
    *,
    points: tuple[str, ...] = tuple(point for _, point in POINTS.values()),
    whole_server: bool = True,
    limit_s: float = 900.0,
    start: Start = start_command,
) -> Played:
    """Carry a run to its end while processes die at `points`, and compare what it left with the example."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    options = ["--pictures", str(example.pictures)]
    if database_url is not None:
        options += ["--database-url", database_url]
    network = Network(folder, tuple(options), kill_at=(*points, ANSWERS), kill_seed=seed, start=start)
    url = database_url or f"sqlite:///{network.data / 'server.db'}"
    proxies: list[Proxy] = []
    server_died: float | None = None
    with ExitStack() as stack:
        stack.callback(lambda: [proxy.close() for proxy in proxies])
        stack.callback(network.stop)
        network.start_server()
        for number, member in enumerate(COUNTS):
            proxies.append(Proxy(("127.0.0.1", network.port), LINE, seed=seed * 10 + number))
            network.join(member, example.pictures / member, via=proxies[-1].url)
        network.wait_members(*COUNTS)
        run_id = network.asked("run", "start", str(example.plan))
        strike_at = time.monotonic() + random.Random(f"{seed} server").uniform(*SERVER_AFTER_S)
        ledger = Ledger(url, run_id)
        stack.callback(ledger.close)

        def over() -> bool:
            nonlocal server_died
            network.revive(example.pictures)
            if whole_server and server_died is None and time.monotonic() >= strike_at:
                server_died = time.time()
                network.kill_server()
                network.start_server(wait=False)
            assert network.server is not None
            assert network.server.poll() is None, "the supervisor has given up"
            status = ledger.one("SELECT status FROM run WHERE id = :run")
            assert status not in ("failed", "stopped"), ledger.one("SELECT message FROM run WHERE id = :run")
            to_come = ledger.one("SELECT count(*) FROM job WHERE run_id = :run AND status != 'done'")
            ended = all(process.poll() is not None for process in network.clients.values())
            return bool(status == "done" and not to_come and ended and (server_died or not whole_server))

        try:
            wait_for(over, limit_s, "the end of the run")
        except AssertionError as error:
            return Played([], [f"{error} ({_tails(network)})"], time.monotonic() - began)
        answers = _answers(network)
        strikes = [*_strikes(network, ledger, answers)]
        if server_died is not None:
            signs = [row[0] for row in ledger.rows("SELECT at FROM event")] + [told.at for told in answers]
            later = min((sign for sign in signs if sign > server_died + IN_FLIGHT_S), default=None)
            strikes.append(Strike(WHOLE_SERVER, True, None if later is None else later - server_died))
        return Played(strikes, [*_faults(example, network, ledger), *lost(answers)], time.monotonic() - began)


class Ledger:
    """The server's database, read from outside; SQLite or PostgreSQL."""

    def __init__(self, url: str, run_id: str) -> None:
        self._engine = create_engine(url)
        self._run = run_id

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a SELECT gives; `:run` in it is the run."""
        with self._engine.connect() as connection:
            given = {"run": self._run} if ":run" in query else {}
            return [tuple(row) for row in connection.execute(text(query), given)]

    def one(self, query: str) -> Any:
        """The first row's only value."""
        return self.rows(query)[0][0]


def lost(answers: list[Told]) -> list[str]:
    """Bytes of uploads that the server had acknowledged and did not have any more when it was asked again."""
    faults: list[str] = []
    acknowledged: dict[str, int] = {}
    of_round: dict[tuple[str, str | None], str] = {}
    for told in answers:
        if told.method == "POST" and told.status == 201 and told.location is not None:
            upload = told.location.rpartition("/")[2]
            earlier = of_round.get((told.who, told.metadata))
            if earlier is not None and acknowledged.get(earlier, 0) > 0:
                faults.append(f"{told.who} had to begin anew, after {acknowledged[earlier]} acknowledged bytes")
            of_round[told.who, told.metadata] = upload
        elif told.method in ("HEAD", "PATCH") and told.offset is not None and told.status < 300:
            upload = told.url.rpartition("/")[2]
            if int(told.offset) < acknowledged.get(upload, 0):
                faults.append(f"{told.who}: {acknowledged[upload]} bytes were acknowledged, then {told.offset}")
            acknowledged[upload] = max(int(told.offset), acknowledged.get(upload, 0))
    return faults


def tensors_hash(path: Path) -> str:
    """SHA-256 of a safetensors file's tensors, without the header's notes."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header.pop("__metadata__", None)
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode() + content[end:]).hexdigest()


def _faults(example: Example, network: Network, ledger: Ledger) -> list[str]:
    """What differs from a federation in which nobody died."""
    rounds = range(1, len(example.committed) + 1)
    members = sorted(COUNTS)
    each = {(number, member): 1 for number in rounds for member in members}
    scored = {(number, who): 1 for number in rounds for who in (*members, "aggregated")} | {(0, "base"): 1}
    query = "SELECT round, adapter, residual FROM (SELECT number AS round, adapter, residual FROM round) AS r"
    committed = [(row[1], row[2]) for row in sorted(ledger.rows(query))]
    receipts = ledger.rows("SELECT round, name, sha256 FROM receipt JOIN member ON member.id = member_id")
    told = [(kind, _json(facts)) for kind, facts in ledger.rows("SELECT kind, facts FROM event ORDER BY id")]

    def count(kind: str, what: Callable[[dict[str, Any]], Any]) -> dict[Any, int]:
        return dict(Counter(what(facts) for each_kind, facts in told if each_kind == kind))

    run_id = ledger.one("SELECT id FROM run")
    report, export = network.folder / "report", network.folder / "export"
    network.asked("run", "report", run_id, "--out", str(report))
    exports = {}
    for layout in example.joint:
        path = export / f"{layout}.safetensors"
        export.mkdir(exist_ok=True)
        network.asked("run", "export", run_id, "--out", str(path), "--format", layout)
        exports[layout] = tensors_hash(path)
    taken_home = [
        (network.folder / member / "runs" / run_id / f"joint.{layout}.safetensors").read_bytes()
        == (export / f"{layout}.safetensors").read_bytes()
        for member in members
        for layout in exports
        if (network.folder / member / "runs" / run_id / f"joint.{layout}.safetensors").is_file()
    ]
    blobs = network.data / "blobs"
    checks = {
        "adapters or residuals are others": committed == example.committed,
        "the scores are others": _table(report) == [row for row in example.table if ",floor," not in row],
        "the exports are others": exports == example.joint,
        "a participant has another joint model, or none": len(taken_home) >= len(members) and all(taken_home),
        "a receipt is missing or double": Counter((row[0], row[1]) for row in receipts) == each,
        "an update was counted twice or never": count(ACCEPTED, lambda f: (f["round"], f["member"])) == each,
        **{
            f"a round was {done} twice or never": count(f"round {done}", lambda f: f["round"])
            == dict.fromkeys(rounds, 1)
            for done in ("opened", "closed", "committed")
        },
        "a model was scored twice or never": count("scored", lambda f: (f["round"], f["model"])) == scored,
        "the run ended twice or never": count("run done", lambda _: 0) == {0: 1},
        "something failed or was refused": not {kind for kind, _ in told if "failed" in kind or "refused" in kind},
        "a killed worker's scratch folder lies where none is collected": not list(network.data.glob("tmp*")),
        "an accepted update's bytes are lost": all(
            hashlib.sha256((blobs / sha256[:2] / sha256).read_bytes()).hexdigest() == sha256 for *_, sha256 in receipts
        ),
    }
    faults = [fault for fault, right in checks.items() if not right]
    for member, process in network.clients.items():
        if process.poll() != 0:
            faults.append(f"{member} ended with {process.poll()}: {network.log(member)[-300:]}")
    return faults


def _strikes(network: Network, ledger: Ledger, answers: list[Told]) -> list[Strike]:
    """Every strike with its time until the struck process's own kind of work had got on.

    A participant: its next answer of the server's in a transfer, or its update's acceptance; after a hand-in, which
    leaves it nothing to do, the run's next event. The web process: the next answer to a request that is short, or the
    next update's acceptance. A worker: the next end of a job of its kind, or its own next death, since it was at such a
    job again.
    """
    notes = {path: json.loads(path.read_text()) for path in network.killed.glob("*#*")}
    points = {path: path.name.partition("#")[0].replace("+", ":") for path in notes}
    kinds: dict[str, Who] = {point: who for who, point in POINTS.values()}
    pools = {"worker": "('prepare', 'aggregate', 'export')", "evaluator": "('evaluate', 'merge')"}
    events = [(at, kind, _json(facts)) for at, kind, facts in ledger.rows("SELECT at, kind, facts FROM event")]
    found = []
    for path, note in sorted(notes.items(), key=lambda each: float(each[1]["at"])):
        who, at = kinds[points[path]], float(note["at"])
        if who in pools:
            query = f"SELECT finished_at FROM job WHERE finished_at IS NOT NULL AND kind IN {pools[who]}"  # noqa: S608
            signs = [row[0] for row in ledger.rows(query)]
            signs += [other["at"] for each, other in notes.items() if kinds[points[each]] == who]
        elif who == "client":
            signs = [when for when, kind, facts in events if (kind, facts.get("member")) == (ACCEPTED, note["who"])]
            signs += [told.at for told in answers if told.who == note["who"] and told.status < 300]
        elif who == "handed in":
            signs = [when for when, _, _ in events]
        else:
            at += IN_FLIGHT_S
            signs = [when for when, kind, _ in events if kind == ACCEPTED]
            signs += [told.at for told in answers if told.method != "PATCH" and told.status < 300]
        later = min((sign for sign in signs if sign > at), default=None)
        recovered_s = None if later is None else later - float(note["at"])
        found.append(Strike(points[path], bool(note["under_way"]), recovered_s))
    return found


def _answers(network: Network) -> list[Told]:
    path = network.killed / "answers"
    return [Told(**json.loads(line)) for line in path.read_text().splitlines()]


def _json(value: Any) -> Any:
    """JSON of a database's: text in SQLite, already read by psycopg."""
    return json.loads(value) if isinstance(value, str) else value


def _table(folder: Path) -> list[str]:
    with (folder / "table.csv").open(newline="") as file:
        return [",".join(row) for row in csv.reader(file)]


def _tails(network: Network) -> str:
    return " | ".join(
        f"{path.stem}: {path.read_text(errors='replace')[-600:]}" for path in network.folder.glob("*.log")
    )


def as_line(database: str, seed: int, how: str, load: float, played: Played) -> dict[str, Any]:
    """A federation as it is kept between two runs of the benchmark."""
    return {"database": database, "seed": seed, "how": how, "load": load, **asdict(played)}
