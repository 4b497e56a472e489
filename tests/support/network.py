"""A FedFlowServer and participants as real processes, for tests: started, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import httpx

T = TypeVar("T")

FAULTS = Path(__file__).parent / "faults"

FEDFLOW = [sys.executable, "-c", "from fedflow.cli import main; main()"]
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}


class Started(Protocol):
    """What a test asks of a process."""

    pid: int

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The same, when it has ended. Raises subprocess.TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""

    def kill(self) -> None:
        """SIGKILL."""


Start = Callable[[list[str], dict[str, str], Path], Started]


def start_command(words: list[str], environment: dict[str, str], log: Path) -> Started:
    """`fedflow WORDS` as a process of its own, its output appended to `log`."""
    with log.open("ab") as file:
        return subprocess.Popen([*FEDFLOW, *words], stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def wait_for(condition: Callable[[], T | None], limit_s: float, what: str) -> T:
    """The first answer of `condition` that is true. Fails where none comes in time."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {limit_s} s")


@dataclass
class Network:
    """One server and its participants; `folder` keeps everything, logs too."""

    folder: Path
    options: tuple[str, ...] = ()
    kill_at: tuple[str, ...] = ()
    kill_seed: int = 0
    start: Start = start_command
    port: int = field(default_factory=free_port)
    server: Started | None = None
    clients: dict[str, Started] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data(self) -> Path:
        return self.folder / "server"

    def start_server(self, kind: str | None = None, *, wait: bool = True) -> Started:
        """The whole server, or its web process or a worker alone; waits until it answers where `wait`."""
        words = ["server", "--folder", str(self.data), "--port", str(self.port), *self.options]
        process = self._start("server" if kind is None else kind, [*words, *([kind] if kind else [])])
        if kind is None:
            self.server = process
        if wait and kind != "worker":
            wait_for(self.ready, 120, "the server's start")
        return process

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def token(self) -> str:
        return (self.data / "coordinator.token").read_text().strip()

    def asked(self, *words: str) -> str:
        """What a coordinator's command prints; it must succeed."""
        where = ["--server", self.url, "--token-file", str(self.data / "coordinator.token")]
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            out = Path(scratch) / "printed"
            status = self.start([*words, *where], {**os.environ, **SETTINGS}, out).wait(120)
            printed = out.read_text()
        assert status == 0, printed
        return printed.strip()

    def get(self, path: str) -> Any:
        answer = httpx.get(f"{self.url}/api/v1{path}", headers={"Authorization": f"Bearer {self.token()}"}, timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the coordinator's token makes."""
        headers = {"Authorization": f"Bearer {self.token()}", "Idempotency-Key": uuid4().hex}
        answer = httpx.post(f"{self.url}/api/v1{path}", json=body, headers=headers, timeout=30)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def join(
        self,
        member: str,
        pictures: Path,
        *words: str,
        via: str | None = None,
        home: Path | None = None,
        settings: dict[str, str] | None = None,
        once: bool = True,
    ) -> None:
        """Start a participant; the first time with a code of its own.

        Args:
            member: its name; its log has it too.
            pictures: its folder.
            words: more options.
            via: the address by which it joins, where it is not the server's own.
            home: its folder, where it is not the member's in this network's.
            settings: environment variables of its process.
            once: whether it ends with the first run that is over.
        """
        home = home or self.folder / member
        arguments = ["join"]
        if not (home / "device.json").is_file():
            arguments += [via or self.url, "--code", self.asked("server", "code", member)]
        arguments += ["--data", str(pictures), "--home", str(home), "--accept", *(["--once"] if once else []), *words]
        self.clients[member] = self._start(member, arguments, settings)

    def struck(self) -> set[str]:
        """The points of `kill_at` at which a process has died."""
        return {path.name.partition("#")[0].replace("+", ":") for path in self.killed.glob("*#*")}

    def kill_server(self) -> None:
        """SIGKILL to the supervisor and at once to all that it started, gunicorn's forks too."""
        assert self.server is not None
        children = Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        self.server.kill()
        for pid in children:
            with suppress(ProcessLookupError):
                os.killpg(int(pid), signal.SIGKILL)
        self.server.wait(30)

    def revive(self, pictures: Path) -> None:
        """Start the participants again that were killed."""
        for member, process in list(self.clients.items()):
            if process.poll() == -signal.SIGKILL:
                self.join(member, pictures / member)

    @property
    def killed(self) -> Path:
        """Where strikes leave their notes."""
        return self.folder / "killed"

    def wait_members(self, *names: str) -> None:
        """Until these have joined."""
        federation = self.get("/federations")["items"][0]["id"]

        def joined() -> bool:
            return set(names) <= {item["name"] for item in self.get(f"/federations/{federation}/members")["items"]}

        wait_for(joined, 180, f"the joining of {names}")

    def status(self, run_id: str) -> str:
        return str(self.get(f"/runs/{run_id}")["status"])

    def wait_done(self, run_id: str, limit_s: float) -> None:
        def over() -> bool:
            status = self.status(run_id) if self.ready() else ""
            assert status not in ("failed", "stopped"), self.asked("run", "explain", run_id)
            return status == "done"

        wait_for(over, limit_s, f"the end of the run ({self.log('server')[-2000:]})")

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def committed(self, run_id: str) -> list[tuple[str, str | None]]:
        """Adapter and residual of every committed round, from the event log."""
        return [(facts["adapter"], facts.get("residual")) for facts in self.events(run_id, "round committed")]

    def events(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """Facts of a run's events of one kind."""
        events = self.get(f"/federations/{self.get(f'/runs/{run_id}')['federation_id']}/events?limit=200")["items"]
        return [event["facts"] for event in events if (event["kind"], event["run"]) == (kind, run_id)]

    def stop(self) -> None:
        for process in [*self.clients.values(), self.server]:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in [*self.clients.values(), self.server]:
            if process is not None:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _start(self, name: str, arguments: list[str], settings: dict[str, str] | None = None) -> Started:
        environment = {**os.environ, **SETTINGS, **(settings or {})}
        if self.kill_at:
            self.killed.mkdir(exist_ok=True)
            environment |= {
                "KILL_AT": " ".join(self.kill_at),
                "KILLED": str(self.killed),
                "KILL_SEED": str(self.kill_seed),
                "KILL_WHO": name,
                "PYTHONPATH": with_faults(),
            }
        return self.start(arguments, environment, self.folder / f"{name}.log")


def with_faults() -> str:
    """PYTHONPATH of a process that is to die at points."""
    return os.pathsep.join([str(FAULTS), *filter(None, [os.environ.get("PYTHONPATH")])])


def simulated(run: Path, seed: int, rounds: int) -> list[tuple[str, str | None]]:
    """Adapter and residual of every round of a `fedflow simulate` run."""
    files = [run / f"seed-{seed}" / "aggregate" / f"round-{number}.json" for number in range(1, rounds + 1)]
    committed = [json.loads(path.read_text()) for path in files]
    return [(facts["adapter"], facts["residual"]) for facts in committed]
