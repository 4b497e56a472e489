"""Which job a worker takes next."""

from __future__ import annotations

from tests.unit.server.conftest import Clock
from tests.unit.server.run_setting import Setting

from fedflow.server.services import jobs
from fedflow.server.worker.main import AHEAD


def test_what_people_wait_for_goes_before_what_is_measured(setting: Setting, clock: Clock) -> None:
    store, run = setting.store, setting.run
    with store.begin() as session:
        for number, kind in enumerate(("evaluate", "evaluate", "chart", "verify")):
            clock.now += 1
            jobs.add(session, kind, run, number, clock.now)
    with store.read() as session:
        order = [session.get_one(jobs.Job, each) for each in jobs.waiting(store, jobs.EVALUATION)]
    assert [(job.kind, job.round) for job in order] == [("chart", 2), ("verify", 3), ("evaluate", 0), ("evaluate", 1)]


def test_a_job_that_fails_keeps_no_other_from_the_queue(setting: Setting, clock: Clock) -> None:
    store, run = setting.store, setting.run
    with store.begin() as session:
        failing = {jobs.add(session, "evaluate", run, number, clock.now).id for number in range(AHEAD)}
        clock.now += 1
        later = jobs.add(session, "evaluate", run, AHEAD, clock.now).id
    for job_id in failing:
        assert jobs.claim(store, job_id, "host-1") is not None
        assert not jobs.fail(store, job_id, "host-1", "the store gives one object back no more", give_up=False)
    assert jobs.waiting(store, jobs.EVALUATION)[0] == later


def test_a_worker_that_ends_as_it_is_told_to_has_not_died_at_its_job(setting: Setting, clock: Clock) -> None:
    store = setting.store
    with store.begin() as session:
        job_id = jobs.add_alone(session, "tryout", "somebody's 1", clock.now).id
    for _ in range(jobs.MOST_DEATHS_ASIDE + 2):
        claimed = jobs.claim(store, job_id, "host-1")
        assert claimed is not None
        assert not jobs.has_died_too_often(claimed)
        jobs.leave(store, "host-1")
        assert jobs.waiting(store, jobs.EVALUATION) == [job_id], "at once, and not when a lease has ended"


def test_tryouts_do_not_keep_from_the_queue_what_they_give_way_to(setting: Setting, clock: Clock) -> None:
    store, run = setting.store, setting.run
    with store.begin() as session:
        for number in range(AHEAD + 1):
            clock.now += 1
            jobs.add_alone(session, "tryout", f"somebody's {number}", clock.now)
        jobs.add(session, "evaluate", run, 1, clock.now + 1)
    with store.read() as session:
        sent = [session.get_one(jobs.Job, each).kind for each in jobs.waiting(store, jobs.EVALUATION)[:AHEAD]]
    assert sent[0] == "evaluate", "a try-out stops where a round waits to be measured, and would be sent again for ever"
