"""A whole load on a real server: simulated participants, large uploads and timed reads at the same time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from footprint import Peaks, footprint
from load_driver import stamp
from network import Network, wait_for
from sqlalchemy import ColumnElement, Engine, create_engine, func, select
from wire import Sample

from fedflow.server.database.tables import Receipt, RunMember, Upload

DRIVER = Path(__file__).with_name("load_driver.py")
JOINED_LIMIT_S = 300
END_LIMIT_S = 300
CONTENT_SEED = b"fedflow load"


@dataclass(frozen=True)
class Load:
    """How much is asked of a server.

    training_s: the shortest and the longest pause that stands for a participant's training.
    least_rounds: the run goes on until so many rounds are committed and all uploads are over.
    """

    clients: int
    uploads: int
    upload_bytes: int
    least_rounds: int
    training_s: tuple[float, float]
    processes: int


@dataclass(frozen=True)
class Seen:
    """What came of it.

    samples: every request of every driver; window: when the uploads began and ended (`time.monotonic`).
    idle_web_mb: the web process before the first participant joined; peak_mb: the largest since, by part and 'all'.
    """

    samples: list[Sample]
    window: tuple[float, float]
    wrong_hashes: int
    handed_in: int
    receipts: int
    rounds: int
    idle_web_mb: float
    peak_mb: dict[str, float]
    server_cpu_s: dict[str, float]
    driver_cpu_s: float
    whole_s: float

    def statuses(self) -> Counter[int]:
        """How often each status was answered."""
        return Counter(sample.status for sample in self.samples)

    def faults(self) -> int:
        """Answers of 500 and more, and connections that broke before an answer."""
        return sum(count for status, count in self.statuses().items() if status >= 500 or status == 0)

    def reads(self) -> list[Sample]:
        """The GETs that began while the uploads ran."""
        began, ended = self.window
        return [sample for sample in self.samples if sample.kind.startswith("GET") and began <= sample.at <= ended]


def quantile_ms(samples: list[Sample], share: float) -> float:
    """The time that `share` of the samples stayed below."""
    times = sorted(sample.ms for sample in samples)
    return times[min(len(times) - 1, int(share * len(times)))]


def put_under_load(network: Network, load: Load, model: Path, database_url: str) -> Seen:
    """Start the server, let the load come, and stop the server when the run was stopped and all drivers are over.

    Raises AssertionError where something does not happen in time.
    """
    network.start_server()
    assert network.server is not None
    idle_web_mb = wait_for(lambda: footprint(network.server.pid)[0]["web"], 10, "the web process")  # type: ignore[union-attr]
    began = time.monotonic()
    engine = create_engine(database_url)
    names = [f"client-{number:03d}" for number in range(load.clients)]
    codes = _codes(network, [*names, *(f"uploader-{number:03d}" for number in range(load.uploads)), "reader"])
    with tempfile.TemporaryDirectory(dir=network.folder) as scratch, Peaks(network.server.pid) as peaks:
        content = _content(Path(scratch) / "content", load.upload_bytes)
        common: dict[str, Any] = {"port": network.port, "token": network.token()}
        drivers = [
            Driver(
                "clients",
                {**common, "codes": codes[first : load.clients : load.processes], "seed": 1000 * first}
                | {"training_s": load.training_s},
            )
            for first in range(load.processes)
        ]
        sending = Driver(
            "uploads",
            {**common, "codes": codes[load.clients : -1], "size_bytes": load.upload_bytes, "content": str(content)},
        )
        reading = Driver("reads", {**common, "codes": codes[-1:]})
        everybody = [*drivers, sending, reading]
        try:
            for driver in everybody:
                driver.ready()
            run = network.asked("run", "start", str(_plan(Path(scratch), model, names)))
            wait_for(lambda: network.get(f"/runs/{run}")["round"], 120, "the first round")
            reading.tell(run)
            wait_for(
                lambda: _count(engine, RunMember.run_id == run, RunMember.consent == "accepted") == load.clients,
                180,
                "the consent of everybody",
            )
            sending.tell("go")
            sent = sending.over()
            wait_for(
                lambda: network.get(f"/runs/{run}")["round"] > load.least_rounds, END_LIMIT_S, "the run's next round"
            )
            network.asked("run", "stop", run)
            rounds = network.get(f"/runs/{run}")["round"] - 1
            results = [driver.over() for driver in drivers]
            reading.tell("over")
            results += [sent, reading.over()]
        finally:
            for driver in everybody:
                driver.end()
        _, server_cpu_s = footprint(network.server.pid)
        whole_s = time.monotonic() - began
        expected = {upload: _expected(content, number, load.upload_bytes) for number, upload in enumerate(sent["ids"])}
        wrong = sum(sha256 != _on_disk(network.data / "uploads" / upload) for upload, sha256 in expected.items())
        receipts = _count(engine, Receipt.run_id == run)
        with engine.connect() as connection:
            noted = dict(connection.execute(select(Upload.id, Upload.sha256)).all())  # type: ignore[arg-type]
        engine.dispose()
        wrong += sum(noted[upload] != sha256 for upload, sha256 in expected.items())
    network.stop()
    return Seen(
        samples=[Sample(*each) for result in results for each in result["samples"]],
        window=(sent["began"], sent["ended"]),
        wrong_hashes=wrong,
        handed_in=sum(result["handed_in"] for result in results if "handed_in" in result),
        receipts=receipts,
        rounds=rounds,
        idle_web_mb=idle_web_mb,
        peak_mb=peaks.peak_mb,
        server_cpu_s=server_cpu_s,
        driver_cpu_s=sum(result["cpu_s"] for result in results),
        whole_s=whole_s,
    )


class Driver:
    """A process of `load_driver.py`."""

    def __init__(self, kind: str, task: dict[str, Any]) -> None:
        self.kind = kind
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVER), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tell(json.dumps(task))

    def tell(self, line: str) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def ready(self) -> None:
        """Until everybody of this process has joined."""
        assert self._line() == "ready", f"the driver of {self.kind} failed; its error stands above"

    def over(self) -> dict[str, Any]:
        """What it has seen, at its end."""
        seen: dict[str, Any] = json.loads(self._line())
        self._process.wait(30)
        return seen

    def end(self) -> None:
        """Whatever it is doing."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _codes(network: Network, members: list[str]) -> list[str]:
    """A join code for each."""
    with httpx.Client(base_url=f"{network.url}/api/v1", headers={"Authorization": f"Bearer {network.token()}"}) as http:
        federation = http.get("/federations").json()["items"][0]["id"]
        asked = ({"member": member, "max_examples": 100} for member in members)
        return [http.post(f"/federations/{federation}/codes", json=each).json()["code"] for each in asked]


def _count(engine: Engine, *conditions: ColumnElement[bool]) -> int:
    """How many rows there are of the kind that the conditions are about."""
    with engine.connect() as connection:
        return connection.scalar(select(func.count()).where(*conditions)) or 0


def _plan(folder: Path, model: Path, clients: list[str]) -> Path:
    path = folder / "plan.toml"
    path.write_text(
        f'name = "load"\nmodel = "{model}"\nmethod = "fedex-lora"\nrounds = 10000\nseeds = [1]\n'
        f'[data]\nroot = "{folder}"\nclients = {json.dumps(clients)}\n[lora]\nrank = 4\nalpha = 4\n'
    )
    return path


def _content(path: Path, size_bytes: int) -> Path:
    """A file that does not compress, of at least so many bytes."""
    block = b"".join(hashlib.sha512(CONTENT_SEED + bytes([n % 256, n // 256])).digest() for n in range(16_384))
    with path.open("wb") as file:
        while file.tell() < size_bytes:
            file.write(block)
    return path


def _expected(content: Path, number: int, size_bytes: int) -> str:
    head = stamp(number)
    with content.open("rb") as file:
        return hashlib.sha256(head + file.read(size_bytes - len(head))).hexdigest()


def _on_disk(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
