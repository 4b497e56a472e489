"""FedFlowServer's processes: the web process, the worker, the evaluator, and the one that keeps them alive.

`python -m fedflow.server.processes web` (or `worker`, `evaluator`, `supervisor`) reads its settings from the
environment, so that the password in a database's URL shows in no list of processes.
"""

from __future__ import annotations

import contextlib
import logging
import logging.config
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import FrameType

from fedflow.errors import FedFlowError, StoreAway
from fedflow.processes import end_with_parent
from fedflow.server.settings import ServerSettings

SETTINGS = "FEDFLOW_SERVER_SETTINGS"
KINDS = ("web", "worker", "evaluator")
SECONDS_TO_END = 20.0
RESTART_S = 1.0
LOOK_S = 0.1
LONGEST_RESTART_S = 30.0
QUICK_S = 5.0
MOST_QUICK_DEATHS = 5

log = logging.getLogger("fedflow.server")


@dataclass
class _Child:
    """A process, None while it waits for its start; `at` is when it began, or is to begin."""

    kind: str
    process: subprocess.Popen[bytes] | None
    at: float
    quick_deaths: int = 0

    def died(self) -> float:
        """Count the death and plan the next start; gives the seconds until then, more after each quick death."""
        now = time.monotonic()
        self.quick_deaths = self.quick_deaths + 1 if now - self.at < QUICK_S else 0
        pause_s = min(RESTART_S * 2.0 ** max(0, self.quick_deaths - 1), LONGEST_RESTART_S)
        self.process, self.at = None, now + pause_s
        return pause_s


def become_supervisor(settings: ServerSettings) -> int:
    """`supervise` in the place of this process, where the system can: what a start has imported would cost 90 MB."""
    if os.name == "posix":
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # until `supervise` hears it
        os.execve(sys.executable, _command("supervisor"), _environment(settings))  # noqa: S606
    return supervise(settings)


def supervise(settings: ServerSettings) -> int:
    """Run web process, worker and evaluator until SIGTERM or Ctrl-C; what dies is started again.

    The pause before that is a second, and grows while a process dies right after its start.

    Returns an exit status: 0 when told to end, 1 where the web process dies again and again right after its start, 2
    where a process ends because the settings are wrong. A worker's deaths end nothing: its jobs wait for it.
    """
    ended = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    children = [_Child(kind, start(kind, settings), time.monotonic()) for kind in KINDS]
    try:
        while not ended:
            time.sleep(LOOK_S)
            for child in children:
                if ended:
                    break
                if child.process is None:
                    if time.monotonic() >= child.at:
                        child.process, child.at = start(child.kind, settings), time.monotonic()
                    continue
                status = child.process.poll()
                if status is None:
                    continue
                if status == 2:
                    return 2
                pause_s = child.died()
                if child.kind == "web" and child.quick_deaths >= MOST_QUICK_DEATHS:
                    print(
                        f"fedflow: the web process died {child.quick_deaths} times in a row; see above", file=sys.stderr
                    )
                    return 1
                again = f"starting it again in {pause_s:.0f} s"
                print(f"fedflow: the {child.kind} process ended ({status}); {again}", file=sys.stderr, flush=True)
        return 0
    finally:
        _end([child.process for child in children if child.process is not None])


def start(kind: str, settings: ServerSettings) -> subprocess.Popen[bytes]:
    """Start the web process or a worker; it ends when this process does."""
    return subprocess.Popen(_command(kind), env=_environment(settings), start_new_session=True)


def _command(kind: str) -> list[str]:
    return [sys.executable, "-m", "fedflow.server.processes", kind]


def _environment(settings: ServerSettings) -> dict[str, str]:
    return {**os.environ, SETTINGS: settings.model_dump_json()}


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    for process in processes:
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _settings() -> ServerSettings:
    return ServerSettings.model_validate_json(os.environ[SETTINGS])


def set_up_logs() -> None:
    """Everything that this process logs goes to standard error as JSON lines."""
    from fedflow.server.api import logs  # noqa: PLC0415 - the supervisor needs no Flask

    logging.config.dictConfig(logs.configuration())


def _wait_for_store(settings: ServerSettings, kind: str) -> None:
    """Return when the store can be opened; a database or files that are away end no process, as they come back."""
    from fedflow.server.database.away import DatabaseAway, Outage  # noqa: PLC0415
    from fedflow.server.opening import try_store  # noqa: PLC0415

    outage = Outage(log, f"the start of the {kind} process")
    while True:
        try:
            try_store(settings)
        except (DatabaseAway, StoreAway) as error:
            time.sleep(outage.failed(error))
        else:
            outage.over()
            return


def main() -> None:
    """What the supervisor or one of its children does. A child's exit status is that of the error it ends with."""
    kind = sys.argv[1]
    settings = _settings()
    if kind == "supervisor":
        sys.exit(supervise(settings))
    end_with_parent()
    try:
        set_up_logs()
        _wait_for_store(settings, kind)
        if kind == "web":
            from fedflow.server.serve import serve  # noqa: PLC0415 - each process imports its own half

            serve(settings)
        else:
            from fedflow.openmp import wait_briefly  # noqa: PLC0415

            wait_briefly()
            from fedflow.server.store import open_store  # noqa: PLC0415
            from fedflow.server.worker.main import EVALUATION, ROUNDS, work  # noqa: PLC0415

            work(open_store(settings), settings, ROUNDS if kind == "worker" else EVALUATION)
            logging.shutdown()
            os._exit(0)  # torch's threads would be ended in an order of their own, and abort
    except FedFlowError as error:
        print(f"fedflow: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
