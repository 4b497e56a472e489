"""What an older FedFlow has left in the app's folder goes on working."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import MetaData, Table, create_engine, text

from fedflow.client.database import schema
from fedflow.client.services import drawings, jobs
from fedflow.client.services.drawings import DrawRequest
from fedflow.client.store import DATABASE, open_store


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
        rows = connection.execute(text("SELECT * FROM job")).mappings()
        kept = [{**row, "asked": json.loads(row["asked"])} for row in rows]
    store.engine.dispose()
    (tmp_path / "app" / DATABASE).unlink()
    with create_engine(f"sqlite:///{tmp_path / 'app' / DATABASE}").begin() as connection:
        schema.migrate(connection, "0006")
        connection.execute(Table("job", MetaData(), autoload_with=connection).insert(), kept)
    store = open_store(tmp_path / "app")
    job, training = jobs.one(store, job_id), jobs.one(store, training_id)
    assert job is not None
    assert training is not None
    assert drawings.request_of(job) == asked
    assert training.asked["size_pixels"] == size, "a training's size is its own"
    store.engine.dispose()
