"""What Prometheus is told, and who may ask."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from tests.unit.server.conftest import Api, Clock
from tests.unit.server.run_setting import MEMBERS, Setting, adapter

from fedflow.server.services import jobs, runs, system, uploads
from fedflow.server.services.upload_writing import Body
from fedflow.server.store import Store


def told(coordinator: Api) -> dict[tuple[str, ...], float]:
    """Every sample by its name and labels."""
    answer = coordinator("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }


def test_requests_and_the_state_of_the_server_are_told(coordinator: Api, setting: Setting) -> None:
    coordinator("GET", f"/api/v1/runs/{setting.run}")
    coordinator("GET", "/api/v1/runs/none")
    coordinator("GET", "/no/such/place")
    before = told(coordinator)
    assert before["fedflow_requests_total", "runs.facts", "GET", "200"] == 1
    assert before["fedflow_requests_total", "runs.facts", "GET", "404"] == 1
    assert before["fedflow_requests_total", "none", "GET", "404"] == 1
    assert before["fedflow_request_seconds_count", "runs.facts"] == 2
    assert before["fedflow_runs", "running"] == 1
    assert before["fedflow_members",] == len(MEMBERS)
    assert before["fedflow_disk_free_bytes",] > 0
    assert before["fedflow_database_bytes",] > 0
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    begun = uploads.create(setting.store, setting.callers["a"], 10, "", 10, 1e6)
    pieces = iter([b"half", b""])
    uploads.append(setting.store, setting.callers["a"], begun.id, 0, Body(lambda _: next(pieces), 4), None, 1e6)
    after = told(coordinator)
    assert after["fedflow_uploads_bytes",] == 4, "those that were handed in are updates by now"
    assert after["fedflow_jobs", "aggregate", "queued"] == 1
    assert after["fedflow_store_bytes", "update"] == 3 * len(adapter(1))


def test_every_time_that_a_run_fails_is_counted_from_zero_on(coordinator: Api, setting: Setting) -> None:
    before = told(coordinator)
    assert (before["fedflow_runs_failed_total",], before["fedflow_runs", "failed"]) == (0, 0)
    runs.fail(setting.store, setting.run, "the disk was full")
    assert (told(coordinator)["fedflow_runs_failed_total",], told(coordinator)["fedflow_runs", "failed"]) == (1, 1)
    runs.resume(setting.store, setting.run)
    assert (told(coordinator)["fedflow_runs_failed_total",], told(coordinator)["fedflow_runs", "failed"]) == (1, 0)
    runs.fail(setting.store, setting.run, "the disk was full")
    assert told(coordinator)["fedflow_runs_failed_total",] == 2


def test_the_oldest_job_is_told_whatever_else_is_under_way(
    coordinator: Api, setting: Setting, store: Store, clock: Clock
) -> None:
    """One export that waits for two hours beside one that has begun five seconds ago."""
    with store.begin() as session:
        jobs.add_alone(session, "export", "v1 kohya", clock.now - 7200)
        jobs.lease(jobs.add_alone(session, "export", "v2 kohya", clock.now - 5), "worker-1", clock.now)
    found = told(coordinator)
    assert found["fedflow_oldest_job_seconds", "export", "queued"] == 7200
    assert found["fedflow_oldest_job_seconds", "export", "running"] == 5


def test_a_job_that_is_done_again_has_not_waited_since_it_was_first_asked_for(
    coordinator: Api, store: Store, clock: Clock
) -> None:
    with store.begin() as session:
        jobs.add_alone(session, "export", "v1 kohya", clock.now - 9 * 86_400).status = jobs.DONE
        jobs.add_alone(session, "download", "v2", clock.now - 9 * 86_400).status = jobs.FAILED
    with store.begin() as session:
        jobs.add_alone(session, "export", "v1 kohya", clock.now - 1)
        jobs.add_alone(session, "download", "v2", clock.now - 2)
    found = told(coordinator)
    assert found["fedflow_oldest_job_seconds", "export", "queued"] == 1
    assert found["fedflow_oldest_job_seconds", "download", "queued"] == 2


def test_only_the_servers_administrators_are_told(anyone: Api, device: Api) -> None:
    assert anyone("GET", "/metrics").status_code == 401
    assert device("GET", "/metrics").status_code == 403


def test_the_system_says_what_runs(setting: Setting) -> None:
    found = system.system(setting.store)
    assert found.schema.isdecimal()
    assert found.versions["fedflow"]
    assert found.devices_seen == len(MEMBERS)
