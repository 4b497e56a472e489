"""Federations whose processes are killed with SIGKILL, on SQLite and on PostgreSQL: the same as if nobody had died.

The short version of `benchmarks/network_kills.py`, which strikes at more points, and ten times at each.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from cluster import NoPostgreSQL, cluster, database
from hostile import Device, hang_up
from killed_federation import ANSWERS, POINTS, WHOLE_SERVER, Example, Told, lost, make_example, play
from network import Network, with_faults

STRUCK = (
    "client, fetching a round's start",
    "client, in the training's loop",
    "client, sending its update",
    "client, after a hand-in",
    "web, taking in an upload",
    "web, between an update's blob and row",
    "web, between row and answer",
    "worker, aggregating",
    "worker, between commit and its job's end",
    "worker, exporting",
    "evaluator, between commit and evaluation",
    "evaluator, drawing",
    "evaluator, between blobs and row",
)
AT_ROWS = (
    "web, between an update's blob and row",
    "web, between row and answer",
    "worker, between commit and its job's end",
    "evaluator, between blobs and row",
)
"""The points where the other database may tell another story; the benchmark strikes at all of them on both."""
MADE = "fedflow.server.services.runs:create:after"


@pytest.fixture(scope="module")
def _armed() -> Iterator[None]:
    """A dead process's next life costs no import; as a person starts them they die in the benchmark."""
    points = [*(POINTS[name][1] for name in STRUCK), ANSWERS, MADE]
    with warm.imported_anew({"KILL_AT": " ".join(points), "PYTHONPATH": with_faults()}):
        yield


@pytest.fixture(scope="module")
def example(_armed: None, tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Example:
    return make_example(tmp_path_factory.mktemp("example"), tiny_model_folder, rounds=2, start=warm.start)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    try:
        with cluster() as url, database(url, "kills") as made:
            yield made
    except NoPostgreSQL as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def test_a_federation_whose_processes_are_killed_ends_as_if_none_had_been(
    example: Example, database_url: str | None, tmp_path: Path
) -> None:
    points = tuple(POINTS[name][1] for name in (STRUCK if database_url is None else AT_ROWS))
    played = play(example, tmp_path / "federation", database_url, 1, points=points, start=warm.start)
    assert played.faults == []
    assert {strike.point for strike in played.strikes} == {*points, WHOLE_SERVER}
    assert all(strike.recovered_s is not None for strike in played.strikes)


@pytest.mark.usefixtures("_armed")
def test_a_run_that_was_made_when_the_server_died_is_not_made_again(tiny_model_folder: Path, tmp_path: Path) -> None:
    network = Network(tmp_path, kill_at=(MADE,), start=warm.start)
    try:
        network.start_server()
        federation = network.get("/federations")["items"][0]["id"]
        device = Device(network.url, "studio")
        device.join(network.asked("server", "code", "studio")).raise_for_status()
        plan = tmp_path / "plan.toml"
        plan.write_text(f'model = "{tiny_model_folder}"\n[data]\nclients = ["studio"]\n')
        run = network.asked("run", "start", str(plan))
        assert [each["id"] for each in network.get("/runs")["items"]] == [run]
        assert network.get(f"/runs/{run}")["federation_id"] == federation
        assert network.struck() == {MADE}
    finally:
        hang_up()
        network.stop()


def test_what_the_server_acknowledged_and_has_lost_is_noticed() -> None:
    def told(method: str, upload: str, status: int, offset: int | None) -> Told:
        location = f"/uploads/{upload}" if method == "POST" else None
        of_round = "round MQ==" if method == "POST" else None
        return Told(
            0.0,
            "client-1",
            method,
            f"/uploads/{upload}",
            status,
            None if offset is None else str(offset),
            location,
            of_round,
        )

    begun = [told("POST", "a", 201, 0), told("HEAD", "a", 200, 0), told("HEAD", "a", 200, 700)]
    assert lost([*begun, told("PATCH", "a", 204, 900)]) == []
    assert lost([*begun, told("HEAD", "a", 200, 699)]) == ["client-1: 700 bytes were acknowledged, then 699"]
    assert lost([*begun, told("POST", "b", 201, 0)]) == ["client-1 had to begin anew, after 700 acknowledged bytes"]
