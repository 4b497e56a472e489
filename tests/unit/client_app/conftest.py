"""The participant's app on a folder of its own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fedflow.client.app import create_app
from fedflow.client.services import drawings, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store, open_store
from fedflow.client.worker.main import carry_out
from fedflow.models import BaseModel, open_model
from fedflow.shipped import demo_folder


class Visitor:
    """A browser that sends forms as the app's own pages do."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def token(self) -> str:
        page = self.client.get("/password").text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found is not None
        return found[1]

    def post(self, address: str, **form: str):  # type: ignore[no-untyped-def]  # werkzeug's TestResponse
        return self.client.post(address, data={"csrf_token": self.token(), **form})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "app")
    yield made
    made.engine.dispose()


@pytest.fixture
def visitor(store: Store) -> Visitor:
    return Visitor(create_app(store, ClientSettings(folder=store.folder)).test_client())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four demo pictures with their captions."""
    made = tmp_path / "pictures"
    made.mkdir()
    for picture in sorted((demo_folder() / "client-1").glob("*.png"))[:4]:
        for path in (picture, picture.with_suffix(".txt")):
            shutil.copy(path, made / path.name)
    return made


@pytest.fixture
def model(tiny_model_folder: Path) -> BaseModel:
    return open_model(str(tiny_model_folder))


@pytest.fixture
def asked(store: Store, visitor: Visitor, tiny_model_folder: Path):  # type: ignore[no-untyped-def]
    """Sends the form as a browser would; gives what is drawn."""

    def ask(**form: str | list[str]) -> list[drawings.Drawing]:
        plain = {
            "model": "other",
            "model_other": str(tiny_model_folder),
            "prompt": "cat",
            "pictures": "1",
            "steps": "2",
        }
        answer = visitor.post("/", **{**plain, "seed": "7", **form})
        assert answer.status_code == 303, re.findall(r'class="error".*', answer.text)
        [job] = jobs.listed(store, 1)
        carry_out(store, ClientSettings(folder=store.folder, threads=1), job.id)
        [done] = jobs.listed(store, 1)
        assert done.status == jobs.DONE, done.message
        return drawings.of_job(store, job.id)

    return ask
