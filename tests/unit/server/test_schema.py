"""The schema: migrations make what the tables say, on both databases; other versions are refused."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from fedflow.errors import MistakeError
from fedflow.models import open_model
from fedflow.server.database import schema
from fedflow.server.database.base import Table
from fedflow.server.database.engines import make_engine
from fedflow.server.services import registry
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store


def test_the_migrated_schema_is_the_tables(store: Store) -> None:
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Table.metadata) == []


def test_the_comparison_can_fail(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("ALTER TABLE device DROP COLUMN version"))
        context = MigrationContext.configure(connection)
        assert [difference[0] for difference in compare_metadata(context, Table.metadata)] == ["add_column"]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", "this FedFlow is older than its database; update FedFlow"),
        ("DELETE FROM alembic_version", "holds tables that are not FedFlow's"),
    ],
)
def test_another_schema_stops_the_start(settings: ServerSettings, store: Store, version: str, message: str) -> None:
    with store.engine.begin() as connection:
        connection.execute(text(version))
    for attempt in (lambda: open_store(settings), lambda: schema.upgrade(store.engine)):
        with pytest.raises(MistakeError, match=message):
            attempt()


def test_an_older_schema_is_told_how_to_migrate(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    migrations = tmp_path / "migrations"
    (migrations / "versions").mkdir(parents=True)
    for path in schema.MIGRATIONS.glob("**/*.py"):
        (migrations / path.relative_to(schema.MIGRATIONS)).write_bytes(path.read_bytes())
    newest = max(path.name for path in (migrations / "versions").glob("*.py")).partition("_")[0]
    (migrations / "versions" / "9999_next.py").write_text(
        f"from alembic import op\nimport sqlalchemy as sa\nrevision = '9999'\ndown_revision = '{newest}'\n"
        "def upgrade():\n    op.add_column('file', sa.Column('colour', sa.Text()))\n"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    with pytest.raises(
        MistakeError, match=r"is older than this FedFlow; run 'fedflow server --(folder|database-url) .* migrate'"
    ):
        schema.check(store.engine)
    schema.upgrade(store.engine)
    schema.check(store.engine)
    with store.read() as session:
        assert session.execute(text("SELECT colour FROM file")).all() == []


def test_a_password_is_in_no_message(new_database: Callable[[], str]) -> None:
    url = new_database().replace("fedflow@", "fedflow:hush@")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE other (id int)"))
    with pytest.raises(MistakeError) as caught:
        schema.prepare(engine)
    assert "hush" not in str(caught.value)
    engine.dispose()


def test_processes_that_start_at_once_make_one_schema(settings: ServerSettings) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_store(settings), range(4)))
    for store in stores:
        schema.check(store.engine)
        store.engine.dispose()


def test_sqlite_keeps_a_log_and_waits(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ] == ["wal", 1, 1, 30_000]
        assert isinstance(connection.connection.dbapi_connection, sqlite3.Connection)
    engine.dispose()


def test_a_release_of_before_refers_to_who_gave_it_out(settings: ServerSettings) -> None:
    """Its name alone, which the column held, may be another's by now: the audit log says who it was."""
    settings.folder.mkdir()
    engine = make_engine(settings.url)
    person = (
        "INSERT INTO person (id, name, is_admin, created_at, totp_used, recovery) VALUES (:id, :id, false, 1, 0, '[]')"
    )
    version = (
        "INSERT INTO version (id, artifact_id, number, content, facts, files, created_at) "
        "VALUES (:id, 'a', :number, '', '{}', '{}', 1)"
    )
    release = (
        "INSERT INTO release (id, artifact_id, version_id, tag, notes, files, provenance, released_by, released_at) "
        "VALUES (:id, 'a', :version, :id, '', '{}', '', 'Ada', 1)"
    )
    entry = (
        "INSERT INTO audit_entry (number, at, actor_kind, actor_id, actor, via, address, action, object_kind, "
        "object_id, facts, hash) VALUES (:number, 1, 'person', :by, 'Ada', '', '', 'released', 'adapter', :version, "
        ":facts, '')"
    )
    with engine.begin() as connection:
        schema.make(connection, "0015")
        connection.execute(text(person), [{"id": "ada"}, {"id": "bob"}])
        connection.execute(text("INSERT INTO federation (id, name, created_at) VALUES ('f', 'f', 1)"))
        artifact = "INSERT INTO artifact (id, federation_id, kind, name, created_at) VALUES ('a', 'f', 'model', 'x', 1)"
        connection.execute(text(artifact))
        connection.execute(text(version), [{"id": "one", "number": 1}, {"id": "two", "number": 2}])
        given = [("v1", "one"), ("v1-again", "one"), ("v2", "two"), ("of-old", "two")]
        connection.execute(text(release), [{"id": tag, "version": made} for tag, made in given])
        by = [("ada", "one", "v1"), ("bob", "one", "v1-again"), ("gone", "two", "v2")]
        rows = [
            {"number": number, "by": who, "version": made, "facts": json.dumps({"tag": tag, "name": "foxes"})}
            for number, (who, made, tag) in enumerate(by, 1)
        ]
        connection.execute(text(entry), rows)
    schema.upgrade(engine)
    with engine.connect() as connection:
        found = dict(connection.execute(text("SELECT id, released_by FROM release")).all())
    assert found == {"v1": "ada", "v1-again": "bob", "v2": None, "of-old": None}
    engine.dispose()


def test_a_release_of_before_says_who_withdrew_it_and_a_starter_its_licence(settings: ServerSettings) -> None:
    """As far as the audit log knows it; what somebody brought in, or wrote a card for, stays as it is."""
    settings.folder.mkdir()
    engine = make_engine(settings.url)
    person = (
        "INSERT INTO person (id, name, is_admin, created_at, totp_used, recovery) VALUES (:id, :id, false, 1, 0, '[]')"
    )
    artifact = (
        "INSERT INTO artifact (id, federation_id, kind, name, owner_id, card, created_at) "
        "VALUES (:id, :id, 'model', 'starter', :owner, :card, 1)"
    )
    version = (
        "INSERT INTO version (id, artifact_id, number, content, content_hash, facts, files, created_at) "
        "VALUES (:id, :id, 1, '', :hash, '{}', '{}', 1)"
    )
    release = (
        "INSERT INTO release (id, artifact_id, version_id, tag, notes, files, provenance, released_at, withdrawn_at) "
        "VALUES (:id, 'ours', 'ours', :id, '', '{}', '', 1, :at)"
    )
    entry = (
        "INSERT INTO audit_entry (number, at, actor_kind, actor_id, actor, via, address, action, object_kind, "
        "object_id, facts, hash) VALUES (:number, 1, 'person', :by, :by, '', '', 'withdrawn', 'release', :release, "
        "'{}', '')"
    )
    starter = open_model("starter").content_hash
    owners = [
        ("ours", None, "", starter),
        ("another", None, "", "of a folder called so"),
        ("written", None, "A card.", starter),
        ("brought", "ada", "", starter),
    ]
    with engine.begin() as connection:
        schema.make(connection, "0023")
        connection.execute(text(person), [{"id": "ada"}, {"id": "bob"}])
        for each, owner, card, content_hash in owners:
            connection.execute(text("INSERT INTO federation (id, name, created_at) VALUES (:id, :id, 1)"), {"id": each})
            connection.execute(text(artifact), {"id": each, "owner": owner, "card": card})
            connection.execute(text(version), {"id": each, "hash": content_hash})
        connection.execute(text(release), [{"id": "one", "at": 2}, {"id": "two", "at": 2}, {"id": "open", "at": None}])
        by = [("bob", "one"), ("gone", "two")]
        connection.execute(text(entry), [{"number": n, "by": who, "release": of} for n, (who, of) in enumerate(by, 1)])
    schema.upgrade(engine)
    with engine.connect() as connection:
        found = dict(connection.execute(text("SELECT id, withdrawn_by FROM release")).all())
        licences = dict(connection.execute(text("SELECT id, licence FROM artifact")).all())
        [card] = connection.execute(text("SELECT card FROM artifact WHERE id = 'ours'")).scalars()
    assert found == {"one": "bob", "two": None, "open": None}
    assert licences == {"ours": registry.STARTER_LICENCE, "another": "", "written": "", "brought": ""}
    assert card == registry.STARTER_CARD
    engine.dispose()
