"""Processes of FedFlow that are forked from one which has imported everything, so that a restart costs no import.

What they do is what the command does; a server's web process and workers, a simulation's and the app's are forked, too.
`KILL_AT` must be set before the first start here, as points are armed when a module is imported; see `imported_anew`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NoReturn

from network import Start, start_command, wait_for

IMPORTED = [
    "light_apps",
    "tiny_model",
    "fedflow.cli.aggregate",
    "fedflow.cli.client",
    "fedflow.cli.export",
    "fedflow.cli.simulate",
    "fedflow.cli.train",
    "fedflow.client.worker.main",
    "fedflow.cli.entry",
    "fedflow.cli.join",
    "fedflow.cli.server",
    "fedflow.evaluation.report",
    "fedflow.server.serve",
    "fedflow.server.worker.charts",
    "fedflow.server.worker.evaluation",
    "fedflow.server.worker.tasks",
    "fedflow.cli.run",
    "fedflow.cli.run_results",
    "gunicorn.app.base",
    "gunicorn.workers.gthread",
    "psycopg",
]


class WarmProcess:
    """As much of `subprocess.Popen` as FedFlow's supervisor and the tests ask for."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired(["fedflow"], timeout or 0.0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(words: list[str], environment: dict[str, str], log: Path) -> WarmProcess:
    """`fedflow WORDS` with its output appended to `log`; it is told to end when this process dies."""
    return _start(words, environment, log, log)


def start_but(*cold: str) -> Start:
    """As `start`, but for these commands, which start as a person starts them."""
    return lambda words, environment, log: (start_command if words[0] in cold else start)(words, environment, log)


def run(*words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """`fedflow WORDS` to its end, as `subprocess.run` would give it."""
    with tempfile.TemporaryDirectory() as folder:
        told, complained = Path(folder) / "told", Path(folder) / "complained"
        process = _start(list(map(str, words)), {}, told, complained)
        try:
            status = process.wait(timeout)
        finally:
            process.kill()
        return subprocess.CompletedProcess(["fedflow", *words], status, told.read_text(), complained.read_text())


def call(function: Callable[..., None], *arguments: object, timeout: float = 120) -> int:
    """The exit status of a process that calls this function of a module; minus a signal's number where one ended it."""
    process = _context().Process(target=function, args=arguments)
    process.start()
    return WarmProcess(process).wait(timeout)


@contextmanager
def imported_anew(environment: dict[str, str]) -> Iterator[None]:
    """Fork from a process that has imported everything with these variables set, until the context's end."""
    before = {name: os.environ.get(name) for name in environment}
    _forget()
    os.environ.update(environment)
    try:
        _context()
        forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    try:
        yield
    finally:
        _forget()


def _forget() -> None:
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


def _start(words: list[str], environment: dict[str, str], told: Path, complained: Path) -> WarmProcess:
    for path in {told, complained}:
        path.touch()  # who reads it finds it, however long the start takes
    process = _context().Process(target=_command, args=(words, environment, told, complained))
    process.start()
    return WarmProcess(process)


def _command(words: list[str], environment: dict[str, str], told: Path, complained: Path) -> None:
    from fedflow.cli import main  # noqa: PLC0415 - imported in the process that this one was forked from
    from fedflow.cli import server as server_command  # noqa: PLC0415
    from fedflow.client import serve  # noqa: PLC0415
    from fedflow.federation import workers  # noqa: PLC0415
    from fedflow.processes import end_with_parent  # noqa: PLC0415
    from fedflow.server import processes  # noqa: PLC0415

    end_with_parent()
    os.environ.update(environment)
    for number, path in ((0, os.devnull), (1, told), (2, complained)):
        file = os.open(path, (os.O_WRONLY if number else os.O_RDONLY) | os.O_APPEND | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr] # as PYTHONUNBUFFERED would have it
    sys.argv = ["fedflow", *words]
    processes.start = _start_kind  # type: ignore[assignment]
    server_command.become_supervisor = processes.supervise
    workers.START_METHOD = "fork"
    if words[0] == "client":
        serve.start_worker = _Nursery().start_worker  # type: ignore[assignment]
    main()


class _Forked:
    """A child of this process's own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        try:
            return wait_for(lambda: self.poll() is not None, timeout, "the end") and (self.returncode or 0)
        except AssertionError:
            raise subprocess.TimeoutExpired(["fedflow"], timeout) from None

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class _Fostered(_Forked):
    """A child of the nursery's."""

    def __init__(self, pid: int, nursery: Connection) -> None:
        super().__init__(pid)
        self._nursery = nursery

    def poll(self) -> int | None:
        if self.returncode is None:
            self._nursery.send(self.pid)
            self.returncode = self._nursery.recv()
        return self.returncode


class _Nursery:
    """A process with one thread that forks the app's workers: of many threads, one may hold a lock at a fork."""

    def __init__(self) -> None:
        self._asking, asked = multiprocessing.Pipe()
        if not os.fork():
            _become(lambda: _foster(asked))

    def start_worker(self, settings: object) -> _Forked:
        self._asking.send(settings)
        return _Fostered(self._asking.recv(), self._asking)


def _foster(asked: Connection) -> None:
    from fedflow.client import serve  # noqa: PLC0415
    from fedflow.processes import end_with_parent  # noqa: PLC0415

    end_with_parent()
    children: dict[int, _Forked] = {}
    while True:
        wanted = asked.recv()
        if isinstance(wanted, int):
            asked.send(children[wanted].poll())
            continue
        pid = os.fork()
        if not pid:
            os.environ[serve.SETTINGS] = wanted.model_dump_json()
            _become(serve.work_as_told)
        children[pid] = _Forked(pid)
        asked.send(pid)


def _start_kind(kind: str, settings: object) -> _Forked:
    from fedflow.server import processes  # noqa: PLC0415

    pid = os.fork()
    if not pid:
        os.environ[processes.SETTINGS] = settings.model_dump_json()  # type: ignore[attr-defined]
        sys.argv = ["processes", kind]
        _become(processes.main)
    return _Forked(pid)


def _become(work: Callable[[], None]) -> NoReturn:
    """Do this in a process that was forked, in a session of its own, and end."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        work()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
