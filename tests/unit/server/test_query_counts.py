"""No page and no list of the API asks the database more often because more rows are shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from full_server import PASSWORD, Sizes, addresses, fill
from sqlalchemy import select
from statements import counted
from tests.unit.server.conftest import Api
from tests.unit.server.reader import Reader

from fedflow.server.api.app import create_app
from fedflow.server.database.people import Person
from fedflow.server.database.tables import Federation, Member
from fedflow.server.services import federations, identity, tokens
from fedflow.server.services.identity import SCOPES, Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store

FEW = Sizes(federations=2, members=2, people=5, runs=4, rounds=2, adapters=4, audit=4, imports=6, tryouts=4)
MANY = Sizes(federations=9, members=9, people=25, runs=45, rounds=7, adapters=40, audit=60, imports=40, tryouts=14)
STREAMS = {"pages.runs.stream"}


@dataclass
class Walked:
    """By endpoint: statements that its answer took, and how long the answer was."""

    statements: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)


def walk(folder: Path, sizes: Sizes, who: str) -> Walked:
    """Ask for everything that can be asked for, as an administrator of the server or of a federation."""
    settings = ServerSettings(folder=folder)
    store = open_store(settings)
    accounts = fill(store, sizes)
    account = next(each for each in accounts if each.role == who)
    app = create_app(store, settings)
    reader = Reader.of(app)
    name = account.email.partition("@")[0]
    assert reader.sign_in(name, PASSWORD).status_code == 303
    token = tokens.make(store, Caller("person", name), "walk", SCOPES, 3600.0)
    api = Api(app.test_client(), token)
    with store.read() as session:
        asked = addresses(app, session, account, 1)
    walked = Walked()
    for endpoint, [address] in asked.items():
        if endpoint in STREAMS or endpoint.startswith(("openapi.", "swagger.")):
            continue
        for warm in (False, True):
            with counted(store.engine) as statements:
                answer = reader.get(address, buffered=True) if endpoint.startswith("pages.") else api("GET", address)
                length = len(answer.get_data())
            if warm and answer.status_code == 200:
                walked.statements[endpoint], walked.lengths[endpoint] = len(statements), length
    store.engine.dispose()
    return walked


@pytest.mark.parametrize("who", ["server", "administrator"])
def test_the_number_of_queries_does_not_grow_with_the_rows(tmp_path: Path, who: str) -> None:
    few, many = walk(tmp_path / "few", FEW, who), walk(tmp_path / "many", MANY, who)
    assert few.statements.keys() == many.statements.keys()
    grown = {
        endpoint: (few.statements[endpoint], many.statements[endpoint])
        for endpoint in few.statements
        if many.statements[endpoint] > few.statements[endpoint]
    }
    assert grown == {}
    longer = {endpoint for endpoint in few.lengths if many.lengths[endpoint] > 1.1 * few.lengths[endpoint]}
    assert {"pages.runs.run", "pages.people.team", "runs.rounds"} <= longer
    assert {"pages.imports.listed", "pages.tryouts.page", "pages.tryouts.own", "tryouts.listed"} <= longer
    assert len(longer) >= 15


def test_a_query_for_each_row_is_seen(tmp_path: Path) -> None:
    store = open_store(ServerSettings(folder=tmp_path / "data"))
    identity.first_coordinator(store)
    for name in "abc":
        federations.create(store, name)
    with counted(store.engine) as statements, store.read() as session:
        for identifier in session.scalars(select(Federation.id)).all():
            session.scalars(select(Member).where(Member.federation_id == identifier)).all()
    assert len(statements) >= 4
    with counted(store.engine) as statements, store.read() as session:
        session.scalars(select(Person)).all()
    assert len([each for each in statements if each.startswith("SELECT")]) == 1
    store.engine.dispose()
