"""A server's state in one file, and a server made of it again, on either database."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import shutil
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.unit.server.run_setting import MEMBERS, Setting, adapter

from fedflow.cli.server import back_up, migrate, restore
from fedflow.errors import MistakeError, StorageError
from fedflow.server import backup, keys
from fedflow.server.database.base import Table
from fedflow.server.opening import open_to_serve
from fedflow.server.services import audit, identity, runs
from fedflow.server.services.work import work_for
from fedflow.server.settings import ServerSettings
from fedflow.server.store import UNFINISHED, Store, open_store


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


def rewritten(archive: Path, change: Callable[[str, bytes], bytes | None], *, summed: bool = False) -> Path:
    """The archive with members changed, or left out where `change` gives None; `summed`: as if written that way."""
    target, sums = archive.with_name("changed.tar"), {}
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for member in old:
            file = old.extractfile(member)
            assert file is not None
            content = change(member.name, file.read())
            if summed and member.name == backup.SUMS:
                content = json.dumps(sums).encode()
            if content is not None:
                member.size = len(content)
                sums[member.name] = hashlib.sha256(content).hexdigest()
                new.addfile(member, io.BytesIO(content))
    return target


def damaged(name: str) -> Callable[[str, bytes], bytes | None]:
    """For `rewritten`: one bit flipped in the middle of what begins with `name`."""

    def flip(member: str, content: bytes) -> bytes:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        return flipped if member.startswith(name) else content

    return flip


def left_out(name: str) -> Callable[[str, bytes], bytes | None]:
    """For `rewritten`."""
    return lambda member, content: None if member.startswith(name) else content


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
def test_a_key_that_came_by_environment_is_asked_for(
    begun: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, archive = begun.store.folder / keys.FILE, tmp_path / "without.tar"
    key = path.read_text()
    monkeypatch.setenv(keys.VARIABLE, key)
    path.unlink()
    keys.derived.cache_clear()
    back_up(ServerSettings(folder=begun.store.folder), archive)
    assert "FEDFLOW_SERVER_KEY is not in it" in capsys.readouterr().out
    monkeypatch.delenv(keys.VARIABLE)
    again = ServerSettings(folder=tmp_path / "again")
    with pytest.raises(MistakeError, match="does not hold the server's key, which it was given as FEDFLOW_SERVER_KEY"):
        restore(again, archive)
    assert not again.folder.exists()
    monkeypatch.setenv(keys.VARIABLE, base64.b64encode(b"x" * 32).decode())
    with pytest.raises(MistakeError, match="FEDFLOW_SERVER_KEY: is not the key of this database's server"):
        restore(ServerSettings(folder=tmp_path / "another"), archive)
    monkeypatch.setenv(keys.VARIABLE, key)
    keys.derived.cache_clear()
    restore(again, archive)
    assert "Start it: fedflow server" in capsys.readouterr().out
    assert rows_of(open_store(again)) == rows_of(begun.store)


@one_database
def test_an_older_back_ups_schema_is_raised(begun: Setting, archive: Path, tmp_path: Path) -> None:
    new = ("owner_id", "visibility", "licence", "card", "trigger_words", "examples")

    def older(name: str, content: bytes) -> bytes | None:
        if name == backup.ABOUT:
            return json.dumps({**json.loads(content), "schema": "0006"}).encode()
        if name.startswith("tables/artifact/"):
            rows = [json.loads(line) for line in content.splitlines()]
            kept = [{key: value for key, value in row.items() if key not in new} for row in rows]
            return "".join(json.dumps(row) + "\n" for row in kept).encode()
        return content

    again = ServerSettings(folder=tmp_path / "again")
    backup.restore(again, rewritten(archive, older, summed=True))
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
        (left_out("tables/receipt"), "'tables/receipt/000000.jsonl' is missing; the back-up is damaged"),
        (damaged("tables/run/"), "'tables/run/000000.jsonl' is damaged; take another back-up"),
        (left_out("blobs/"), "is missing; the back-up is damaged, take another one"),
        (damaged("blobs/"), "is damaged; take another back-up"),
        (damaged("quarantine/"), "is damaged; take another back-up"),
        (damaged("server.key"), "'server.key' is damaged; take another back-up"),
        (left_out(backup.SUMS), "its end is missing or damaged; take another back-up"),
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
            "which this one does not know; update",
        ),
        (left_out(backup.ABOUT), "is no back-up of a FedFlowServer"),
    ],
)
def test_a_damaged_back_up_makes_no_server(
    archive: Path, tmp_path: Path, change: Callable[[str, bytes], bytes | None], message: str
) -> None:
    with pytest.raises(MistakeError, match=message):
        backup.restore(ServerSettings(folder=tmp_path / "again"), rewritten(archive, change))
    assert not (tmp_path / "again").exists(), "it is looked through before anything is written"


@pytest.mark.parametrize("onto", ["sqlite", "postgresql"])
@pytest.mark.parametrize("fails", ["blobs", "tables", "secrets"])
@one_database
def test_a_restore_that_fails_in_the_middle_leaves_nothing_that_starts(
    archive: Path,
    tmp_path: Path,
    fails: str,
    onto: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """The disk gets full at each of the three sorts of things that are put back."""
    url = request.getfixturevalue("new_database")() if onto == "postgresql" else None
    again = ServerSettings(folder=tmp_path / "again", database_url=url)
    real = backup._content

    def full(opened: tarfile.TarFile, member: tarfile.TarInfo) -> object:
        name = {"blobs": "quarantine/", "tables": "tables/run/", "secrets": "coordinator.token"}[fails]
        if (again.folder / UNFINISHED).exists() and member.name.startswith(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(opened, member)

    monkeypatch.setattr(backup, "_content", full)
    with pytest.raises(StorageError, match=r"again: cannot be written \(No space.*\); empty it and restore again"):
        backup.restore(again, archive)
    assert any((again.folder / "blobs").glob("*/*"))
    monkeypatch.setattr(backup, "_content", real)
    for attempt in (
        lambda: open_store(again),
        lambda: open_to_serve(again),
        lambda: migrate(again),
        lambda: backup.restore(again, archive),
        lambda: backup.back_up(again, tmp_path / "of-what-is-there.tar"),
    ):
        with pytest.raises(MistakeError, match="did not end, and what is here is no server; empty the folder"):
            attempt()
    shutil.rmtree(again.folder)
    if fails == "secrets" and onto == "postgresql":
        with pytest.raises(MistakeError, match="is not empty; name an empty database"):
            backup.restore(again, archive)
        assert not again.folder.exists()
    else:
        backup.restore(again, archive)
        open_to_serve(again).engine.dispose()
        assert not (again.folder / UNFINISHED).exists()


def test_a_start_on_what_a_restore_has_left_says_so(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).touch()
    started = subprocess.run(
        [sys.executable, "-m", "fedflow", "server", "--folder", tmp_path, "--port", "0"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert started.returncode == 2
    assert "restore.unfinished: the restore of a back-up into this folder did not end" in started.stderr
    assert [path.name for path in tmp_path.iterdir()] == [UNFINISHED]


@one_database
def test_a_store_with_a_damaged_file_is_not_backed_up(begun: Setting, settings: ServerSettings, tmp_path: Path) -> None:
    blob = next(begun.store.folder.glob("blobs/*/*"))
    blob.write_bytes(b"other")
    with pytest.raises(StorageError, match=f"{blob.name}: blob is damaged"):
        backup.back_up(settings, tmp_path / "backup.tar")
    assert [path for path in tmp_path.iterdir() if "backup" in path.name] == []


@one_database
def test_what_is_no_archive_or_leads_elsewhere_is_refused(archive: Path, tmp_path: Path) -> None:
    again = ServerSettings(folder=tmp_path / "again")
    with pytest.raises(MistakeError, match="no such file"):
        backup.restore(again, tmp_path / "none.tar")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(MistakeError, match="damaged"):
        backup.restore(again, cut)
    with tarfile.open(archive) as whole:
        ends = [member.offset for member in whole.getmembers() if member.name.startswith("blobs/")]
    cut.write_bytes(archive.read_bytes()[: ends[1]])  # between two files, where a tar looks whole
    with pytest.raises(MistakeError, match="its end is missing or damaged"):
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
