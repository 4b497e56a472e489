"""What an older FedFlow has left in the app's folder goes on working."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text

from fedflow.client.services import drawings, jobs
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.store import open_store


@pytest.mark.parametrize("size", [48, None])
def test_a_job_of_square_pictures_is_resumed_as_it_was_asked_for(tmp_path: Path, size: int | None) -> None:
    store = open_store(tmp_path / "app")
    asked = DrawRequest(prompt="cat", seed=7, width_pixels=size, height_pixels=size)
    job_id = drawings.ask(store, asked)
    older = asked.model_dump(mode="json", exclude={"width_pixels", "height_pixels"}) | {"size_pixels": size}
    with store.begin() as session:
        training_id = jobs.add(session, "train", "cats", {"size_pixels": size}, 1, store.clock()).id
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE job SET asked = :asked WHERE kind = 'draw'"), {"asked": json.dumps(older)})
        connection.execute(text("UPDATE alembic_version SET version_num = '0006'"))
    store.engine.dispose()
    store = open_store(tmp_path / "app")
    job, training = jobs.one(store, job_id), jobs.one(store, training_id)
    assert job is not None
    assert training is not None
    assert drawings.request_of(job) == asked
    assert training.asked["size_pixels"] == size, "a training's size is its own"
    store.engine.dispose()
