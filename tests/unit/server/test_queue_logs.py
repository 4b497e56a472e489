"""What huey says of a queue that is away."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from fedflow.server.database.away import Outage
from fedflow.server.worker.queue import HUEYS_LOGS, open_queue


def test_a_queue_that_is_away_does_not_fill_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        open_queue(tmp_path, None, "quiet")
    for name in HUEYS_LOGS:
        assert len(logging.getLogger(name).filters) == 1
        for _ in range(10):
            logging.getLogger(name).error("Error reading from queue")
            logging.getLogger(name).error("Error in consumer.")
    assert len(caplog.records) == 2 * len(HUEYS_LOGS)


def test_an_outage_is_told_at_its_begin_at_its_change_and_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outage = Outage(logging.getLogger("fedflow.worker"), "the sweep")
    outage.over()
    pauses = [outage.failed(ValueError("x")) for _ in range(10)]
    assert pauses == sorted(pauses)
    assert pauses[0] < pauses[-1] == 2.0
    outage.failed(KeyError("y"))
    outage.over()
    outage.over()
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "INFO"]
