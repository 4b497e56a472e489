"""A server's state in one file, and a server made of it again, on either database."""

from __future__ import annotations

import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.unit.server.run_setting import MEMBERS, Setting, adapter

from fedflow.errors import MistakeError
from fedflow.server import backup
from fedflow.server.database.base import Table
from fedflow.server.services import audit, identity, runs
from fedflow.server.services.work import work_for
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store, open_store


@pytest.fixture
def begun(setting: Setting) -> Setting:
    """A run in its second round, with an export, a refusal and a half upload lying about."""
    identity.first_coordinator(setting.store)
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    setting.aggregate()
    with pytest.raises(Exception, match="norm"):
        setting.hand_in("a", 2, adapter(9, size=1e6))
    setting.hand_in("b", 2, adapter(8))
    return setting


@pytest.fixture
def archive(begun: Setting, settings: ServerSettings, tmp_path: Path) -> Path:
    target = tmp_path / "backup.tar"
    backup.back_up(settings, target)
    return target


one_database = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


def rows_of(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.engine.connect() as connection:
        return {
            table.name: sorted((tuple(map(repr, row)) for row in connection.execute(select(table))), key=str)
            for table in Table.metadata.sorted_tables
            if table.name not in backup.LEFT_OUT
        }


def files_of(folder: Path) -> dict[str, bytes]:
    found = [*folder.glob("blobs/*/*"), *folder.glob("quarantine/*"), *(folder / name for name in backup.SECRETS)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()}


def rewritten(archive: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The archive with members changed, or left out where `change` gives None."""
    target = archive.with_name("changed.tar")
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            content = change(member.name, file.read())
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
    return target


@pytest.mark.parametrize("onto", ["sqlite", "postgresql"])
def test_a_restored_server_goes_on_where_the_other_was(
    begun: Setting, archive: Path, tmp_path: Path, onto: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("new_database")() if onto == "postgresql" else None
    again = ServerSettings(folder=tmp_path / "again", database_url=url)
    done = backup.restore(again, archive)
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    store = open_store(again)
    assert rows_of(store) == rows_of(begun.store)
    assert files_of(again.folder) == files_of(begun.store.folder)
    assert done.rows == sum(len(rows) for rows in rows_of(store).values())
    assert done.files == len(files_of(again.folder))
    assert audit.verify(store).faults == ()
    assert work_for(store, begun.callers["a"]).round == 2
    restored = Setting(Store(store.engine, store.folder, store.blobs, begun.store.clock), begun.run, begun.callers)
    for member in ("a", "c"):
        restored.hand_in(member, 2, adapter(ord(member)))
    restored.aggregate()
    assert restored.status() == "done"
    store.engine.dispose()


@one_database
def test_an_older_back_ups_schema_is_raised(begun: Setting, archive: Path, tmp_path: Path) -> None:
    new = ("owner_id", "visibility", "licence", "card", "trigger_words", "examples")

    def older(name: str, content: bytes) -> bytes | None:
        if name == backup.ABOUT:
            about = json.loads(content)
            del about["rows"]["release"]
            return json.dumps({**about, "schema": "0006"}).encode()
        if name.startswith("tables/artifact/"):
            rows = [json.loads(line) for line in content.splitlines()]
            kept = [{key: value for key, value in row.items() if key not in new} for row in rows]
            return "".join(json.dumps(row) + "\n" for row in kept).encode()
        return content

    again = ServerSettings(folder=tmp_path / "again")
    backup.restore(again, rewritten(archive, older))
    store = open_store(again)
    runs.pause(store, begun.run)
    assert {row[5] for row in rows_of(store)["artifact"]} == {"'federation'"}
    store.engine.dispose()


@one_database
def test_nothing_is_written_over(archive: Path, settings: ServerSettings, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="is there already"):
        backup.back_up(settings, archive)
    with pytest.raises(MistakeError, match="holds a server already; give another --folder"):
        backup.restore(settings, archive)


@one_database
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name, content: None if name.startswith("tables/receipt") else content, "rows are missing"),
        (lambda name, content: b"other" if name.startswith("blobs") else content, "is damaged; take another back-up"),
        (
            lambda name, content: (
                json.dumps({**json.loads(content), "format": 9}).encode() if name == backup.ABOUT else content
            ),
            "which this one does not know; update",
        ),
        (
            lambda name, content: (
                json.dumps({**json.loads(content), "schema": "9999"}).encode() if name == backup.ABOUT else content
            ),
            "is not known to this FedFlow; update FedFlow",
        ),
        (lambda name, content: None if name == backup.ABOUT else content, "is no back-up of a FedFlowServer"),
    ],
)
def test_a_damaged_back_up_makes_no_server(
    archive: Path, tmp_path: Path, change: Callable[[str, bytes], bytes | None], message: str
) -> None:
    with pytest.raises(MistakeError, match=message):
        backup.restore(ServerSettings(folder=tmp_path / "again"), rewritten(archive, change))


@one_database
def test_what_is_no_archive_or_leads_elsewhere_is_refused(archive: Path, tmp_path: Path) -> None:
    again = ServerSettings(folder=tmp_path / "again")
    with pytest.raises(MistakeError, match="no such file"):
        backup.restore(again, tmp_path / "none.tar")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(MistakeError, match="damaged"):
        backup.restore(again, cut)
    evil = tmp_path / "evil.tar"
    evil.write_bytes(archive.read_bytes())
    with tarfile.open(evil, "a") as tar:
        member = tarfile.TarInfo("quarantine/../../evil")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(MistakeError, match="which is no part of a server"):
        backup.restore(ServerSettings(folder=tmp_path / "third"), evil)
    assert not (tmp_path / "evil").exists()
