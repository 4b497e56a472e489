"""Transactions, settings and the data folder."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError
from statements import counted

from fedflow.cli.bring_in import bring_in
from fedflow.cli.server import prepare, print_password_link, run_server
from fedflow.errors import MistakeError, StorageError
from fedflow.server import keys
from fedflow.server.database.away import DatabaseAway
from fedflow.server.database.tables import Federation
from fedflow.server.reading import remembered
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store


def _names(store: Store) -> list[str]:
    with store.read() as session:
        return sorted(session.scalars(select(Federation.name)))


def test_a_transaction_is_whole_or_not_there(store: Store) -> None:
    with store.begin() as session:
        session.add(Federation(id="1", name="kept", created_at=0.0))
    with contextlib.suppress(KeyError), store.begin() as session:
        session.add(Federation(id="2", name="lost", created_at=0.0))
        session.flush()
        raise KeyError
    with store.read() as session:
        session.add(Federation(id="3", name="read", created_at=0.0))
        with pytest.raises(RuntimeError, match=r"belongs into Store\.begin"):
            session.scalar(select(Federation.name))
    assert _names(store) == ["federation", "kept"]


def test_a_page_reads_a_row_once_until_it_writes(store: Store) -> None:
    with store.begin() as session:
        session.add(Federation(id="1", name="before", created_at=0.0))

    def name() -> str:
        with store.read() as session:
            return session.get_one(Federation, "1").name

    def count() -> int:
        with store.read() as session:
            return remembered(session, "count", lambda: session.scalar(select(func.count(Federation.id)))) or 0

    with store.one_reading():
        with counted(store._reading) as asked:
            assert (name(), name(), count(), count()) == ("before", "before", 2, 2)
        assert len([each for each in asked if each.startswith("SELECT")]) == 2
        with store.read() as session:
            held = session.get_one(Federation, "1")
        with store.begin() as session:
            session.get_one(Federation, "1").name = "after"
            session.add(Federation(id="2", name="another", created_at=0.0))
        assert (name(), count(), held.name) == ("after", 3, "before")
    assert name() == "after"


def test_what_a_page_holds_is_of_its_thread_and_its_database_alone(store: Store, tmp_path: Path) -> None:
    other = open_store(ServerSettings(folder=tmp_path / "other"))
    seen: list[object] = []

    def look() -> None:
        with store.read() as session:
            seen.append(session)

    with store.one_reading():
        look()
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        look()
        with other.read() as session:
            assert session not in seen
    assert seen[0] is seen[2]
    assert seen[1] is not seen[0]


def test_a_page_reads_on_after_a_statement_that_failed(store: Store) -> None:
    with store.one_reading():
        with pytest.raises(SQLAlchemyError), store.read() as session:
            session.execute(text("SELECT nothing FROM nowhere"))
        assert _names(store) == ["federation"]


def test_a_second_folder_on_one_new_database_is_refused(
    new_database: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ServerSettings(folder=tmp_path / "first", database_url=new_database(), port=0)
    second = first.model_copy(update={"folder": tmp_path / "second"})
    prepare(first)
    capsys.readouterr()
    for start in (
        lambda: prepare(second),
        lambda: run_server(second),
        lambda: print_password_link(second, "ada@example.org"),
        lambda: bring_in(second, "a", "a", kind="model", base=None, hub=False, federation=None),
    ):
        with pytest.raises(
            MistakeError, match=r"second/server\.key: is not the key of .*; give the --folder that belon"
        ):
            start()
    assert "token" not in capsys.readouterr().out
    assert not {keys.FILE, "coordinator.token"} & {path.name for path in second.folder.iterdir()}
    prepare(first)


def test_a_reader_does_not_wait_for_a_writer(store: Store) -> None:
    with store.begin() as session:
        session.add(Federation(id="1", name="new", created_at=0.0))
        session.flush()
        assert _names(store) == ["federation"]
    assert _names(store) == ["federation", "new"]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_on_sqlite_one_writer_waits_for_the_other(store: Store) -> None:
    order: list[str] = []

    def second() -> None:
        with store.begin() as session:
            session.add(Federation(id="2", name="second", created_at=0.0))
            session.flush()
            order.append("second")

    with store.begin() as session:
        assert session.get(Federation, "2") is None
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]


def test_folders_are_made_for_this_account_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    open_store(ServerSettings(folder=folder)).engine.dispose()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {"blobs", "uploads", "quarantine", "server.db"} <= {path.name for path in folder.iterdir()}


def test_in_a_folder_that_all_may_read_the_databases_are_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "server.db").touch(mode=0o644)
    store = open_store(ServerSettings(folder=tmp_path))
    with store.begin() as session:
        session.add(Federation(id="1", name="first", created_at=0))
    modes = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()}
    assert "server.db-wal" in modes
    assert set(modes.values()) == {0}
    store.engine.dispose()


def test_a_database_that_is_away_is_one_line(tmp_path: Path) -> None:
    url = "postgresql+psycopg://fedflow:hush@127.0.0.1:1/none"
    with pytest.raises(DatabaseAway) as away:
        open_store(ServerSettings(folder=tmp_path, database_url=url))
    assert "127.0.0.1:1/none: the database does not answer (OperationalError: connection failed" in str(away.value)
    assert str(away.value).endswith("; start it, or check --database-url")
    assert "\n" not in str(away.value)
    assert "hush" not in str(away.value)


def test_a_database_that_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'nowhere' / 'a.db'}"
    with pytest.raises(StorageError, match=r"the database cannot be used \(OperationalError: unable to open"):
        open_store(ServerSettings(folder=tmp_path / "data", database_url=url))


def test_a_database_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    settings = ServerSettings(folder=tmp_path / "data")
    open_store(settings).engine.dispose()
    (settings.folder / "server.db").write_bytes(b"no database at all, but more than nothing " * 9)
    for beside in settings.folder.glob("server.db-*"):
        beside.unlink()
    with pytest.raises(
        StorageError, match=r"the database cannot be used \(DatabaseError: file is not a database\).*back-up"
    ):
        open_store(settings)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(StorageError, match=r"data: cannot be made \(File exists\); choose another folder"):
        open_store(ServerSettings(folder=tmp_path / "data"))


def test_only_known_databases(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="begins with none of sqlite:, postgresql"):
        ServerSettings(folder=tmp_path, database_url="mysql://localhost/fedflow")
    assert ServerSettings(folder=tmp_path).url == f"sqlite:///{tmp_path / 'server.db'}"
