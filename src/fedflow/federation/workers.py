"""Worker processes of one machine: each keeps a workbench and does one job after another.

Two processes with one thread each draw and train nearly twice as fast as one process with two threads, and with
the number of threads fixed the bits do not depend on the number of workers.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fedflow.errors import RunError
from fedflow.federation.places import data_folder
from fedflow.openmp import wait_briefly
from fedflow.plan import Plan
from fedflow.processes import end_with_parent

if TYPE_CHECKING:
    from fedflow.federation.workbench import Workbench

T = TypeVar("T")

START_METHOD = "spawn"
SECONDS_TO_END = 5.0


@dataclass(frozen=True)
class Machine:
    """How many workers do jobs at once, and with how many threads each."""

    workers: int
    threads: int


class Workers:
    """Does jobs on workbenches, as many at once as there are workers."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, job: Callable[[Workbench], T]) -> Future[T]:
        """Have a worker call `job` with its workbench."""
        return self._pool.submit(_do, job)


@contextmanager
def workers(machine: Machine, plan: Plan, out: Path, extractor: str, inception: Path | None) -> Iterator[Workers]:
    """Workers for as long as the context lasts; on the way out under an error, jobs under way are stopped.

    Raises:
        RunError: a worker died, as the system's out-of-memory killer makes it.
    """
    wait_briefly()
    pool = ProcessPoolExecutor(
        machine.workers,
        mp_context=multiprocessing.get_context(START_METHOD),
        initializer=_begin,
        initargs=(machine.threads, plan, out, extractor, inception),
    )
    try:
        yield Workers(pool)
        pool.shutdown()
    except BaseException as error:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(SECONDS_TO_END)
            process.kill()
        pool.shutdown()
        if isinstance(error, BrokenProcessPool):
            raise RunError(
                "a worker process died, most likely for want of memory; run the same command again with --workers 1, "
                "it goes on where it was"
            ) from error
        raise


_workbench: Workbench | None = None


def _begin(threads: int, plan: Plan, out: Path, extractor: str, inception: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and sends SIGTERM
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    from fedflow.federation.workbench import Workbench, settle_torch

    settle_torch(threads)
    root = data_folder(plan)
    folders = {name: root / name for name in (*plan.data.clients, plan.data.heldout)}
    global _workbench  # noqa: PLW0603 - one workbench per process is what a worker is
    _workbench = Workbench(plan, out, folders, extractor, inception)


def _do(job: Callable[[Workbench], T]) -> T:
    assert _workbench is not None
    return job(_workbench)
