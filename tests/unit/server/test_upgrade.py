"""A server with years of work in an older version's schema is migrated, and goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from full_server import PASSWORD, Sizes, addresses, fill
from sqlalchemy import MetaData, func, select
from sqlalchemy import Table as CoreTable
from tests.unit.server.reader import Reader

from fedflow.cli.server import migrate
from fedflow.errors import MistakeError
from fedflow.server.api.app import create_app
from fedflow.server.database import schema
from fedflow.server.database.engines import make_engine
from fedflow.server.services import audit, role_changes
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store

SMALL = Sizes(federations=2, members=3, people=5, runs=10, rounds=2, adapters=6, audit=20, imports=6, tryouts=2)
OLDER = "0006"
"""Before models had owners and releases; with it came all that this FedFlow's rows still have."""


def counts(settings: ServerSettings, tables: MetaData) -> dict[str, int]:
    engine = make_engine(settings.url)
    with engine.connect() as connection:
        found = {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in tables.sorted_tables
        }
    engine.dispose()
    return found


def as_of(revision: str, source: ServerSettings, settings: ServerSettings) -> MetaData:
    """Make the database of `settings` as an older FedFlow would have had it, with the rows of `source`; its tables."""
    shutil.copytree(source.folder, settings.folder, ignore=shutil.ignore_patterns("server.db*"))
    engine, older = make_engine(settings.url), MetaData()
    with engine.begin() as connection:
        schema.make(connection, revision)
        older.reflect(connection, only=lambda name, _: name != "alembic_version")
        for table in reversed(older.sorted_tables):
            connection.execute(table.delete())
        read = make_engine(source.url).execution_options(fedflow_reads=True)
        with read.connect() as whole:
            for table in older.sorted_tables:
                now = CoreTable(table.name, MetaData(), autoload_with=whole)
                known = [column for column in now.columns if column.name in table.columns]
                if rows := [dict(row) for row in whole.execute(select(*known)).mappings()]:
                    connection.execute(table.insert(), rows)
        read.dispose()
    engine.dispose()
    return older


def test_an_older_server_is_migrated_and_goes_on(settings: ServerSettings, tmp_path: Path) -> None:
    source = ServerSettings(folder=tmp_path / "source")
    store = open_store(source)
    accounts = fill(store, SMALL)
    store.engine.dispose()
    tables = as_of(OLDER, source, settings)
    before = counts(settings, tables)
    assert before["run"] == SMALL.runs
    assert "release" not in before
    with pytest.raises(MistakeError, match="is older than this FedFlow; run 'fedflow server"):
        open_store(settings)
    assert counts(settings, tables) == before
    migrate(settings)
    migrate(settings)  # a second time finds nothing to do
    assert counts(settings, tables) == before
    store = open_store(settings)
    assert audit.verify(store).faults == ()
    account = next(each for each in accounts if each.role == "server")
    name = account.email.partition("@")[0]
    app = create_app(store, settings)
    reader = Reader.of(app)
    assert reader.sign_in(name, PASSWORD).status_code == 303
    with store.read() as session:
        asked = addresses(app, session, account, 1)
    pages = {endpoint: each for endpoint, [each] in asked.items() if endpoint.startswith("pages.")}
    pages.pop("pages.runs.stream")
    answers = {endpoint: reader.get(each, buffered=True).status_code for endpoint, each in pages.items()}
    assert {endpoint: status for endpoint, status in answers.items() if status >= 500} == {}
    assert {answers[name] for name in ("pages.overview.overview", "pages.runs.run", "pages.runs.listed")} == {200}
    other = next(each for each in accounts if each.role == "viewer" and each.federation_id == account.federation_id)
    role_changes.give(store, SERVER, account.federation_id, other.email.partition("@")[0], "coordinator")
    assert audit.verify(store).faults == ()
    store.engine.dispose()
