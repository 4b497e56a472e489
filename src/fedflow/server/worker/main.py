"""The worker process: takes jobs from the queue, keeps their leases, and sweeps what nobody is at back into it."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module

from sqlalchemy.exc import SQLAlchemyError

from fedflow import __version__
from fedflow.errors import FedFlowError, StoreAway
from fedflow.processes import is_alive
from fedflow.server.database.away import Outage, is_away, reason, who
from fedflow.server.database.tables import Job
from fedflow.server.services import (
    audit_looks,
    base_models,
    commits,
    files,
    idempotency,
    imports,
    jobs,
    processes,
    runs,
    scores,
    sign_in,
    tryout_work,
)
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker import mailing
from fedflow.server.worker.queue import DO_JOB, open_queue

SWEEP_S = 0.1
RENEW_S = jobs.LEASE_S / 3
COLLECT_S = 3600.0
"""How often files that nothing refers to are looked for."""

SENT_AGAIN_S = 2.0
"""A job that still waits after this long is sent again: its message may have died with a worker."""

AHEAD = 2
"""So many jobs of the second sort are sent at a time, as the queue keeps its order: what comes later may go before."""

EVALUATION_NICENESS = 10
"""Drawing pictures leaves the cores to the rounds."""

RENEWED_AFTER_S = 120.0
"""An evaluator that has been idle for so long, with torch in it, begins anew: it takes 80 MB then and not 900."""

Task = Callable[[Store, ServerSettings, Job], None]

log = logging.getLogger("fedflow.worker")


@dataclass(frozen=True)
class Pool:
    """Workers of one sort: the kinds of jobs that they do, each with the module here whose `TASKS` has its function.

    Most modules bring torch along, and so each is imported with the first job that wants it.
    """

    name: str
    modules: dict[str, str]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of jobs that these workers do."""
        return tuple(self.modules)

    def task(self, kind: str) -> Task:
        """The function that does jobs of this kind."""
        tasks: dict[str, Task] = import_module(f"fedflow.server.worker.{self.modules[kind]}").TASKS
        return tasks[kind]


ROUNDS = Pool("rounds", dict.fromkeys(jobs.ROUNDS, "tasks"))
EVALUATION = Pool(
    "evaluation",
    {
        "evaluate": "evaluation",
        "chart": "charts",
        "import": "imports",
        "download": "downloads",
        "tryout": "tryouts",
        "verify": "audits",
    },
)


def keep_off_the_hub(settings: ServerSettings) -> None:
    """Let this process ask the model hub only where the server is set so, for a checkpoint's settings too.

    It has to be called before the hub's library is imported, which is with the first job.
    """
    if not settings.hub_imports:
        os.environ["HF_HUB_OFFLINE"] = "1"


def work(store: Store, settings: ServerSettings, pool: Pool) -> None:
    """Do the jobs of `pool` until the process is told to end. Several workers may share one database and folder."""
    keep_off_the_hub(settings)
    if pool is ROUNDS:
        pool.task(jobs.ROUNDS[0])  # the first round waits for no import
    else:
        os.setpriority(os.PRIO_PROCESS, 0, EVALUATION_NICENESS)
    host = socket.gethostname()
    worker = f"{host}-{os.getpid()}"
    jobs.release(store, host, is_alive)
    _tell_left_behind(store)
    processes.seen(store, worker, pool.name, __version__)
    queue = open_queue(store.folder, settings.queue_url, f"fedflow-{pool.name}")
    idle = Idle()

    def do(job_id: str) -> None:
        with idle.busy():
            _carry_out(store, settings, pool, job_id, worker)

    do_job = queue.task(name=DO_JOB)(do)
    ended = threading.Event()
    sweeper = threading.Thread(target=_sweep, args=(store, settings, pool, worker, do_job, ended, idle), daemon=True)
    sweeper.start()
    post = threading.Thread(target=mailing.mail, args=(store, settings, worker, ended), daemon=True)
    if pool is ROUNDS and settings.smtp_url is not None:
        post.start()
    log.info("worker %s of %s has begun", worker, pool.name)
    try:
        queue.create_consumer(workers=1, periodic=False, initial_delay=0.05, max_delay=0.1).run()
    finally:
        ended.set()
        sweeper.join()
        if post.is_alive():
            post.join()
        with suppress(SQLAlchemyError):  # a database that is away: it is forgotten within a day, and its leases end
            jobs.leave(store, worker)
            processes.ended(store, worker)


class Idle:
    """Since when a worker has had nothing to do; one that grew large begins anew by and by."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = time.monotonic()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """A job is done within the block; no process begins anew meanwhile."""
        with self._lock:
            try:
                yield
            finally:
                self._since = time.monotonic()

    def begin_anew(self, store: Store, kind: str) -> None:
        """Let the process `kind` begin anew in its place where it has been idle for RENEWED_AFTER_S with torch in it.

        A job that is taken from the queue at that moment is sent again by the next sweep.
        """
        if os.name != "posix" or "torch" not in sys.modules or time.monotonic() - self._since < RENEWED_AFTER_S:
            return
        if self._lock.acquire(blocking=False):
            store.engine.dispose()
            log.info("idle for %.0f s: the %s process begins anew", RENEWED_AFTER_S, kind)
            words = [sys.executable, "-m", "fedflow.server.processes", kind]
            os.execve(sys.executable, words, os.environ)  # noqa: S606


def _carry_out(store: Store, settings: ServerSettings, pool: Pool, job_id: str, worker: str) -> None:
    try:
        carry_out(store, settings, pool, job_id, worker)
    except Exception as error:
        if not is_away(error):
            raise
        log.warning("job %s: %s does not answer (%s); done again when it does", job_id, who(error), reason(error))


def carry_out(store: Store, settings: ServerSettings, pool: Pool, job_id: str, worker: str) -> None:
    """Do one job, unless it is done or another worker's. What fails is noted and tried again.

    Raises SQLAlchemy's errors where the database is away, StoreAway where the files are.
    """
    job = jobs.claim(store, job_id, worker)
    if job is None:
        return
    if jobs.has_died_too_often(job):
        times = job.attempts - job.errors - 1
        died = f"the worker died at it {times} times, perhaps for want of memory; its log says more"
        _failed(store, job, died, give_up=True)
        return
    began = time.monotonic()
    try:
        with _lease(store, job_id, worker):
            pool.task(job.kind)(store, settings, job)
    except jobs.GivesWay:
        jobs.put_back(store, job_id, worker)
        return
    except Exception as error:
        is_refused = isinstance(error, StoreAway) and pool is EVALUATION and _answers(store)
        if isinstance(error, StoreAway) and not is_refused:
            jobs.put_back(store, job_id, worker)
        if is_away(error) and not is_refused:
            raise  # it is no fault of the job: the sweep sends it again, when its lease has ended
        if isinstance(error, FedFlowError):
            _failed(store, job, str(error), give_up=error.exit_status == 2)
            return
        log.exception("job %s failed", job.key)
        _failed(store, job, f"{type(error).__name__}: {error}", give_up=False)
        return
    jobs.finish(store, job_id)
    log.info("job '%s' done in %.2f s", job.key, time.monotonic() - began)


def _answers(store: Store) -> bool:
    """Whether the store of files does, so that it is one object which it does not give."""
    try:
        store.blobs.check()
    except FedFlowError:
        return False
    return True


def _failed(store: Store, job: Job, reason: str, *, give_up: bool) -> None:
    if not jobs.fail(store, job.id, job.worker or "", reason, give_up=give_up):
        return
    if job.kind == "import":
        imports.fail(store, job.subject, reason)
    elif job.kind == tryout_work.KIND:
        tryout_work.fail(store, job.subject, reason)
    elif job.run_id is None:
        return  # who asked reads the job's error
    elif job.kind in jobs.NEEDED:
        runs.fail(store, job.run, reason)
    else:
        runs.note(store, job.run, f"{job.kind} failed", round=job.round, model=job.subject, message=reason)


def _tell_left_behind(store: Store) -> None:
    """Tell runs and imports of jobs that were given up by a worker that died right then."""
    runs.fail_left_behind(store)
    imports.fail_left_behind(store)


@contextmanager
def _lease(store: Store, job_id: str, worker: str) -> Iterator[None]:
    """Renew the job's lease in the background for as long as the context lasts."""
    ended = threading.Event()
    outage = Outage(log, f"the lease of job {job_id}")

    def renew() -> None:
        while not ended.wait(RENEW_S):
            try:
                jobs.renew(store, job_id, worker)
            except SQLAlchemyError as error:
                outage.failed(error)
            else:
                outage.over()

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _sweep(
    store: Store,
    settings: ServerSettings,
    pool: Pool,
    worker: str,
    do_job: object,
    ended: threading.Event,
    idle: Idle,
) -> None:
    """Close what the clock closes, put every job that nobody is at into the queue, and give a sign of life."""
    sent: dict[str, float] = {}
    collected = seen = time.monotonic()
    outage = Outage(log, f"the sweep of {pool.name}")
    pause_s = SWEEP_S
    while not ended.wait(pause_s):
        try:
            if pool is ROUNDS:
                commits.tick(store)
            if time.monotonic() - collected >= COLLECT_S:
                collected = time.monotonic()
                scores.drop_scratch(store)  # of this machine, as the next
                base_models.drop_unused(store)
                _tell_left_behind(store)
                if pool is ROUNDS:
                    tryout_work.collect(store, settings.tryout_ttl_s)
                    files.collect(store, upload_ttl_s=settings.upload_ttl_s)
                    idempotency.forget(store)
                    sign_in.forget(store)
                    audit_looks.once_a_day(store)
            if time.monotonic() - seen >= processes.SEEN_EVERY_S:
                seen = time.monotonic()
                processes.seen(store, worker, pool.name, __version__)
                if pool is ROUNDS:
                    audit_looks.note(store)
            waiting = jobs.waiting(store, pool.kinds)
            now = time.monotonic()
            sent = {job_id: at for job_id, at in sent.items() if job_id in waiting}
            for job_id in waiting if pool is ROUNDS else waiting[:AHEAD]:
                if now - sent.get(job_id, -SENT_AGAIN_S) >= SENT_AGAIN_S:
                    sent[job_id] = now
                    do_job(job_id)  # type: ignore[operator]
            if pool is EVALUATION and not waiting:
                idle.begin_anew(store, "evaluator")
        except Exception as error:  # a database that is gone comes back; the sweep must still be there then
            pause_s = outage.failed(error)
        else:
            outage.over()
            pause_s = SWEEP_S
