"""Processes of FedFlow that are forked from one which has imported everything, so that a restart costs no import.

What they do is what the command does; a server's web process and workers are forked from its supervisor, too.
`KILL_AT` must be set before the first start here, as points are armed when a module is imported.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

IMPORTED = [
    "tiny_model",
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
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    process = context.Process(target=_command, args=(words, environment, log))
    process.start()
    return WarmProcess(process)


def _command(words: list[str], environment: dict[str, str], log: Path) -> None:
    from fedflow.cli import main  # noqa: PLC0415 - imported in the process that this one was forked from
    from fedflow.cli import server as server_command  # noqa: PLC0415
    from fedflow.processes import end_with_parent  # noqa: PLC0415
    from fedflow.server import processes  # noqa: PLC0415

    end_with_parent()
    os.environ.update(environment)
    for number, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        file = os.open(os.devnull if number == 0 else log, flags | os.O_APPEND | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["fedflow", *words]
    processes.start = _start_kind  # type: ignore[assignment]
    server_command.become_supervisor = processes.supervise
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
        from network import wait_for  # noqa: PLC0415

        try:
            return wait_for(lambda: self.poll() is not None, timeout, "the end") and (self.returncode or 0)
        except AssertionError:
            raise subprocess.TimeoutExpired(["fedflow"], timeout) from None

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def _start_kind(kind: str, settings: object) -> _Forked:
    from fedflow.server import processes  # noqa: PLC0415

    pid = os.fork()
    if pid:
        return _Forked(pid)
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        os.environ[processes.SETTINGS] = settings.model_dump_json()  # type: ignore[attr-defined]
        sys.argv = ["processes", kind]
        processes.main()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
