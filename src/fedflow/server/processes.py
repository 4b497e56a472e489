"""FedFlowServer's processes: the web process, the worker, the evaluator, and the one that keeps them alive.

`python -m fedflow.server.processes web` (or `worker`, `evaluator`) reads its settings from the environment, so that
the password in a database's URL shows in no list of processes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from types import FrameType

from fedflow.errors import FedFlowError
from fedflow.processes import end_with_parent
from fedflow.server.settings import ServerSettings

SETTINGS = "FEDFLOW_SERVER_SETTINGS"
KINDS = ("web", "worker", "evaluator")
SECONDS_TO_END = 20.0
RESTART_S = 1.0
LOOK_S = 0.1
QUICK_S = 5.0
MOST_QUICK_DEATHS = 5


def supervise(settings: ServerSettings) -> int:
    """Run web process, worker and evaluator until SIGTERM or Ctrl-C; what dies is started again, after a second.

    Returns an exit status: 0 when told to end, 1 where a process dies again and again right after its start.
    """
    ended = False

    def end(_signal: int, _frame: FrameType | None) -> None:
        nonlocal ended
        ended = True

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    running = {kind: (start(kind, settings), time.monotonic()) for kind in KINDS}
    quick_deaths = dict.fromkeys(KINDS, 0)
    try:
        while not ended:
            time.sleep(LOOK_S)
            for kind, (process, began) in running.items():
                status = process.poll()
                if status is None or ended:
                    continue
                if status == 2:
                    return 2
                quick_deaths[kind] = quick_deaths[kind] + 1 if time.monotonic() - began < QUICK_S else 0
                if quick_deaths[kind] >= MOST_QUICK_DEATHS:
                    died = f"died {quick_deaths[kind]} times in a row"
                    print(f"fedflow: the {kind} process {died}; see above", file=sys.stderr)
                    return 1
                print(f"fedflow: the {kind} process ended ({status}); starting it again", file=sys.stderr, flush=True)
                time.sleep(RESTART_S)
                running[kind] = (start(kind, settings), time.monotonic())
        return 0
    finally:
        _end([process for process, _ in running.values()])


def start(kind: str, settings: ServerSettings) -> subprocess.Popen[bytes]:
    """Start the web process or a worker; it ends when this process does."""
    environment = {**os.environ, SETTINGS: settings.model_dump_json()}
    return subprocess.Popen(
        [sys.executable, "-m", "fedflow.server.processes", kind], env=environment, start_new_session=True
    )


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


def main() -> None:
    """What a child process does. Its exit status is that of the error it ends with."""
    end_with_parent()
    kind = sys.argv[1]
    settings = _settings()
    try:
        if kind == "web":
            from fedflow.server.serve import serve  # noqa: PLC0415 - each process imports its own half

            serve(settings)
        else:
            from fedflow.openmp import wait_briefly  # noqa: PLC0415

            wait_briefly()
            from fedflow.server.store import open_store  # noqa: PLC0415
            from fedflow.server.worker.main import EVALUATION, ROUNDS, work  # noqa: PLC0415

            work(open_store(settings), settings, ROUNDS if kind == "worker" else EVALUATION)
    except FedFlowError as error:
        print(f"fedflow: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
