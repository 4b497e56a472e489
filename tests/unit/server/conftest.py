"""A server's store on SQLite and on PostgreSQL, its application, and a participant's machine."""

from __future__ import annotations

import base64
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cluster import NoPostgreSQL, cluster, database
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask, Response, request
from flask.testing import FlaskClient
from tests.unit.server.run_setting import MEMBERS, Setting, plan_of, start
from werkzeug.test import TestResponse

from fedflow.federation.protocol import Joined, JoinRequest, TokenRequest, signed_text
from fedflow.server.api.app import create_app
from fedflow.server.database import schema
from fedflow.server.database.engines import make_engine
from fedflow.server.services import devices, federations, identity
from fedflow.server.services.identity import Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store


class Clock:
    """A clock that moves when told to."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Machine:
    """A participant's machine with a key of its own."""

    store: Store
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    device_id: str = ""

    @property
    def public_key(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def join(self, code: str) -> Joined:
        request = JoinRequest(code=code, device_name="studio-pc", public_key=self.public_key, version="0.1.0")
        joined = devices.join(self.store, request)
        self.device_id = joined.device_id
        return joined

    def signed(self, nonce: str) -> TokenRequest:
        signature = base64.b64encode(self.key.sign(signed_text(self.device_id, nonce))).decode()
        return TokenRequest(device_id=self.device_id, nonce=nonce, signature=signature)

    def token(self) -> str:
        nonce = devices.challenge(self.store, self.device_id).nonce
        return devices.token(self.store, self.signed(nonce)).token


@dataclass
class Api:
    """The application with somebody's token."""

    client: FlaskClient
    token: str | None = None

    def __call__(self, method: str, path: str, **request: object) -> TestResponse:
        headers = dict(request.pop("headers", None) or {})  # type: ignore[call-overload]
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        request.setdefault("buffered", True)  # read whole and closed, except for streams
        return self.client.open(path, method=method, headers=headers, **request)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL, up to the database's name, of a cluster that lives as long as the tests; required where CI is set."""
    try:
        with cluster() as url:
            yield url
    except NoPostgreSQL as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def with_schema(postgresql: str) -> Iterator[str]:
    """The name of a PostgreSQL database that all migrations have gone through, to be copied."""
    with database(postgresql, "with_schema") as url:
        make_schema(url)
        yield "with_schema"


@pytest.fixture(scope="session")
def file_with_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on SQLite: a file to be copied."""
    path = tmp_path_factory.mktemp("schema") / schema.IN_FOLDER
    make_schema(f"sqlite:///{path}")
    return path


def make_schema(url: str) -> None:
    engine = make_engine(url)
    schema.upgrade(engine)
    engine.dispose()


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """Makes empty PostgreSQL databases, and drops them after the test; returns their URLs."""
    url: str = request.getfixturevalue("postgresql")
    with ExitStack() as made:
        numbers = itertools.count()
        yield lambda: made.enter_context(database(url, f"test_{next(numbers)}"))


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerSettings]:
    """A server's settings, on each database; on PostgreSQL its schema is there where the test wants a store."""
    folder = tmp_path / "data"
    if request.param == "sqlite":
        yield ServerSettings(folder=folder)
        return
    template = request.getfixturevalue("with_schema") if "store" in request.fixturenames else "template1"
    with database(request.getfixturevalue("postgresql"), "test", template) as url:
        yield ServerSettings(folder=folder, database_url=url)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(settings: ServerSettings, clock: Clock, file_with_schema: Path) -> Iterator[Store]:
    """A fresh store with the default federation.

    Its schema is a copy: the migrations, the same way each time, took half of a test's time.
    """
    if settings.database_url is None:
        settings.folder.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(file_with_schema, settings.folder / schema.IN_FOLDER)
    opened = open_store(settings)
    store = Store(opened.engine, opened.folder, opened.blobs, clock)
    federations.first_federation(store)
    yield store
    store.engine.dispose()


@pytest.fixture
def federation_id(store: Store) -> str:
    return federations.first_federation(store)


@pytest.fixture
def code(store: Store, federation_id: str) -> str:
    """A join code for the member 'studio'."""
    return devices.new_code(store, federation_id, "studio", 500, ttl_s=3600)


@pytest.fixture
def machine(store: Store, code: str) -> Machine:
    """A machine that has joined as 'studio'."""
    machine = Machine(store)
    machine.join(code)
    return machine


@pytest.fixture
def new_machine(store: Store) -> Callable[[], Machine]:
    """Makes machines that have not joined."""
    return lambda: Machine(store)


@pytest.fixture
def app(store: Store, settings: ServerSettings) -> Iterator[Flask]:
    """The application, which answers nothing that its description does not name."""
    app = create_app(store, settings)
    undescribed = []

    @app.after_request
    def is_described(response: Response) -> Response:
        operations = app.api_doc["paths"].get(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(request.url_rule)), {})
        told = operations.get(request.method.lower(), {}).get("responses")
        if told is not None and str(response.status_code) not in told:
            undescribed.append(f"{request.method} {request.path}: {response.status}")
        return response

    yield app
    assert not undescribed


@pytest.fixture
def anyone(app: Flask) -> Api:
    return Api(app.test_client())


@pytest.fixture
def coordinator(app: Flask, store: Store) -> Api:
    return Api(app.test_client(), identity.first_coordinator(store))


@pytest.fixture
def device(app: Flask, machine: Machine) -> Api:
    return Api(app.test_client(), machine.token())


@pytest.fixture
def callers(store: Store, federation_id: str, new_machine: Callable[[], Machine]) -> dict[str, Caller]:
    found = {}
    for member in MEMBERS:
        machine = new_machine()
        machine.join(devices.new_code(store, federation_id, member, 50, ttl_s=3600))
        found[member] = identity.authenticate(store, machine.token())
    return found


@pytest.fixture
def setting(store: Store, federation_id: str, callers: dict[str, Caller]) -> Setting:
    return start(store, federation_id, callers, plan_of())
