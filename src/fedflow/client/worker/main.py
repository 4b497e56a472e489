"""The worker process: takes jobs from the queue, one at a time, and keeps the model open from one to the next."""

from __future__ import annotations

import fcntl
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import ModuleType

from huey import SqliteHuey
from sqlalchemy.exc import OperationalError

from fedflow.client.database.tables import Job
from fedflow.client.memory import note_gpu
from fedflow.client.services import arrivals, datasets_journal, jobs, leftovers, memberships
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store, open_store
from fedflow.errors import FedFlowError, MistakeError

SWEEP_S = 0.2
RETRY_S = 1.0
LOCK = ".worker.lock"
CLEARED_EVERY_S = 3600.0
SENT_AGAIN_S = 2.0
"""A job that still waits after this long is sent again: its message may have died with a worker."""

KINDS = {
    "draw": "drawing",
    "index": "indexing",
    "train": "training",
    "import": "shelving",
    "merge": "shelving",
    "export": "shelving",
    "join": "joining",
    "fetch": "fetching",
    "captions": "captions",
    "tag": "tagging",
    "check": "checking",
    "unpack": "unpacking",
}
"""Each kind of job, and the module here whose `do` does it; that of drawing brings torch along with the first job."""

Task = Callable[[Store, ClientSettings, Job], None]

importing = threading.Lock()

log = logging.getLogger("fedflow.client")


class Interrupted(Exception):  # noqa: N818 - nothing went wrong
    """The owner wants the job paused or stopped: `wanted` is 'pause' or 'stop'."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.wanted = wanted


class RefusedError(MistakeError):
    """What a job asks for cannot be done, however often it is tried; the text says why."""


def work(settings: ClientSettings) -> None:
    """Do jobs until the process is told to end. Of several workers of one folder the others wait until it has."""
    store = open_store(settings.folder)
    with (settings.folder / LOCK).open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _work(store, settings)


def _work(store: Store, settings: ClientSettings) -> None:
    settle(store)
    queue = SqliteHuey("fedflow", filename=str(settings.folder / "queue.db"), results=False, fsync=True)

    busy = threading.Lock()

    def do(job_id: str) -> None:
        with busy:
            carry_out(store, settings, job_id)

    send = queue.task(name="do")(do)
    ended = threading.Event()
    sweeper = threading.Thread(target=_sweep, args=(store, send, busy, ended), daemon=True)
    sweeper.start()
    threading.Thread(target=_federate, args=(store, settings, busy, ended), daemon=True).start()
    try:
        queue.create_consumer(workers=1, periodic=False, initial_delay=0.05, max_delay=0.1).run()
    finally:
        ended.set()
        sweeper.join()


def settle(store: Store) -> None:
    """Put in order what dead workers have left, as the only one that there is."""
    for job in jobs.bury(store):
        memberships.unsay(store, job.asked["membership"], job.asked["run"])  # it was said of what goes on no more
    datasets_journal.settle(store)
    leftovers.sweep(store)


def _federate(store: Store, settings: ClientSettings, busy: threading.Lock, ended: threading.Event) -> None:
    """Take part in federations as soon as there is one; only then is torch brought along."""
    while not _has_joined(store):
        if ended.wait(SWEEP_S):
            return
    _module("federating").Federating(store, settings, busy, ended).run()


def _module(name: str) -> ModuleType:
    """A module of this folder. Only one thread at a time brings torch and diffusers along: two get them half made."""
    with importing:
        return import_module(f"fedflow.client.worker.{name}")


def _has_joined(store: Store) -> bool:
    try:
        return bool(memberships.listed(store))
    except OperationalError:
        log.exception("the federations could not be looked for")
        return False


def carry_out(store: Store, settings: ClientSettings, job_id: str) -> None:
    """Do one job, unless it waits no longer; what became of it stands in its row."""
    job = jobs.claim(store, job_id)
    if job is None:
        return
    ended = _done(store, settings, job)
    if "torch" in sys.modules:
        with suppress(FedFlowError, OSError, RuntimeError):  # a full disk, a card that is in trouble
            note_gpu(store.folder)
    end(store, job_id, *ended)


def end(store: Store, job_id: str, status: str, message: str = "") -> None:
    """Write what became of a job, on a full disk as soon as there is room."""
    is_told = False
    while True:
        try:
            return jobs.end(store, job_id, status, message)
        except OperationalError as error:
            if not is_told:
                log.error("the end of job %s cannot be written yet, and is tried again: %s", job_id, error.orig)
            is_told = True
            time.sleep(RETRY_S)


def _done(store: Store, settings: ClientSettings, job: Job) -> tuple[str, str]:
    """Do a job; what became of it, and why where it did not end well."""
    try:
        task: Task = _module(KINDS[job.kind]).do
        task(store, settings, job)
    except Interrupted as interruption:
        return (jobs.PAUSED if interruption.wanted == jobs.PAUSE else jobs.STOPPED), ""
    except RefusedError as error:
        return jobs.REFUSED, str(error)
    except FedFlowError as error:
        return jobs.FAILED, str(error)
    except OperationalError as error:
        log.exception("job %s failed", job.id)
        return jobs.FAILED, f"{store.folder}: cannot be written ({error.orig}); free space on its disk, then resume"
    except Exception as error:
        log.exception("job %s failed", job.id)
        return jobs.FAILED, f"{type(error).__name__}: {error}"
    return jobs.DONE, ""


def _sweep(store: Store, send: Callable[[str], object], busy: threading.Lock, ended: threading.Event) -> None:
    """Put jobs that nobody is at into the queue, and again where the worker is idle and has not taken them.

    Now and then it removes files that nobody goes on sending.
    """
    sent: dict[str, float] = {}
    cleared_at = time.monotonic()
    while not ended.wait(SWEEP_S):
        try:
            waiting = jobs.waiting(store)
            now = time.monotonic()
            sent = {job_id: at for job_id, at in sent.items() if job_id in waiting}
            for job_id in waiting:
                if job_id not in sent or (now - sent[job_id] >= SENT_AGAIN_S and not busy.locked()):
                    sent[job_id] = now
                    send(job_id)
            if now - cleared_at >= CLEARED_EVERY_S:
                cleared_at = now
                arrivals.clear(store)
        except Exception:  # a full disk empties again; the sweep must still be there then
            log.exception("the queue could not be looked at")
