"""What Prometheus is told, and who may ask."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from tests.unit.server.conftest import Api
from tests.unit.server.run_setting import MEMBERS, Setting, adapter

from fedflow.server.services import system


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
    after = told(coordinator)
    assert after["fedflow_jobs", "aggregate", "queued"] == 1
    assert after["fedflow_store_bytes", "update"] == 3 * len(adapter(1))


def test_only_the_servers_administrators_are_told(anyone: Api, device: Api) -> None:
    assert anyone("GET", "/metrics").status_code == 401
    assert device("GET", "/metrics").status_code == 403


def test_the_system_says_what_runs(setting: Setting) -> None:
    found = system.system(setting.store)
    assert found.schema.isdecimal()
    assert found.versions["fedflow"]
    assert found.devices_seen == len(MEMBERS)
