"""The audit log: a chain in which nothing is altered or taken out unnoticed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from tests.unit.server.conftest import Clock

from fedflow.errors import StorageError
from fedflow.server.services import accounts, audit, audit_looks, federations, invitations, jobs
from fedflow.server.services.audit import verify
from fedflow.server.services.identity import SERVER
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import EVALUATION, carry_out


def write(store: Store, count: int) -> None:
    for number in range(count):
        with store.begin() as session:
            audit.record(session, store, SERVER, "tried", "thing", str(number), None, number=number, share=0.1)


@pytest.fixture
def log(store: Store) -> Store:
    """A store with a short log; the federation that every store has is its first entry."""
    write(store, 6)
    return store


def test_what_was_written_stands(log: Store) -> None:
    found = verify(log)
    assert (found.entries, found.faults) == (7, ())
    newest = audit.listed(log, before=2**62, limit=2)
    assert [(entry.number, entry.facts) for entry in newest] == [
        (7, {"number": 5, "share": 0.1}),
        (6, {"number": 4, "share": 0.1}),
    ]
    assert newest[0].hash == found.head
    assert [entry.number for entry in audit.listed(log, action="federation made", before=2**62, limit=9)] == [1]


@pytest.mark.parametrize(
    "change",
    [
        "at = at + 1",
        "actor = 'another'",
        "actor_id = 'x'",
        "via = ''",
        "address = '192.0.2.1'",
        "action = 'nothing'",
        "federation_id = 'f'",
        "object_id = '9'",
        "facts = '{}'",
        "hash = 'aa'",
    ],
)
def test_a_row_that_was_altered_is_found(log: Store, change: str) -> None:
    with log.engine.begin() as connection:
        connection.execute(text(f"UPDATE audit_entry SET {change} WHERE number = 4"))  # noqa: S608 - written above
    assert "entry 4 was altered" in verify(log).faults


def test_rows_that_were_taken_out_are_found(log: Store) -> None:
    with log.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_entry WHERE number IN (3, 4)"))
    assert verify(log).faults == ("entry 3 was taken out", "entry 4 was taken out")


def test_rows_that_were_taken_off_the_end_are_found_and_the_head_is_sealed(log: Store) -> None:
    with log.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_entry WHERE number > 5"))
    assert verify(log).faults == ("entries 6 to 7 were taken off the end",)
    with log.engine.begin() as connection:
        connection.execute(
            text("UPDATE audit_head SET entries = 5, hash = (SELECT hash FROM audit_entry WHERE number = 5)")
        )
    assert verify(log).faults == ("the head was altered, or is another server's",)


def test_a_row_in_anothers_place_is_found(log: Store) -> None:
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE audit_entry SET number = 100 WHERE number = 3"))
        connection.execute(text("UPDATE audit_entry SET number = 3 WHERE number = 4"))
        connection.execute(text("UPDATE audit_entry SET number = 4 WHERE number = 100"))
    assert verify(log).faults[:2] == ("entry 3 was altered", "entry 4 was altered")


def test_a_row_that_was_put_in_behind_the_head_is_found(log: Store) -> None:
    with log.engine.begin() as connection:
        columns = (
            "at, actor_kind, actor_id, actor, via, address, action, federation_id, object_kind, object_id, facts, hash"
        )
        copied = (
            f"INSERT INTO audit_entry (number, {columns}) SELECT 1000000, {columns} FROM audit_entry WHERE number = 4"  # noqa: S608
        )
        connection.execute(text(copied))
    assert verify(log).faults == ("entry 1000000 is none of the log's: it was put in",)


@pytest.mark.parametrize("rows", ["kept", "gone"])
def test_a_log_that_was_emptied_is_found(log: Store, rows: str) -> None:
    accounts.register(log, "ada", "ada@example.org", "violet tram eats seven maps", invitations.first(log), "")
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE audit_head SET entries = 0, hash = '', seal = ''"))
        if rows == "gone":
            connection.execute(text("DELETE FROM audit_entry"))
    assert "the log was emptied: an account's making is an entry" in verify(log).faults
    with log.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_head"))
    assert verify(log).faults == ("the head was taken out",)
    with pytest.raises(StorageError, match="restore a back-up"):
        federations.create(log, "another")


def test_a_log_that_was_put_back_is_found_by_the_note_beside_the_database(log: Store, clock: Clock) -> None:
    with log.engine.connect() as connection:
        [(entries, head, seal)] = connection.execute(text("SELECT entries, hash, seal FROM audit_head"))
    write(log, 3)
    assert audit_looks.verify(log).faults == ()
    with log.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_entry WHERE number > :entries"), {"entries": entries})
        put_back = "UPDATE audit_head SET entries = :entries, hash = :hash, seal = :seal"
        connection.execute(text(put_back), {"entries": entries, "hash": head, "seal": seal})
    assert verify(log).faults == (), "in itself it is whole"
    assert audit_looks.verify(log).faults == ("the log had 10 entries at an earlier look, and has 7",)
    clock.now += 1
    write(log, 5)
    assert audit_looks.verify(log).faults == ("entry 10 is not the one of an earlier look",)
    (log.folder / audit_looks.ANCHOR).write_text("{")
    with pytest.raises(StorageError, match="cannot be read"):
        audit_looks.verify(log)


def test_each_sign_of_life_notes_how_far_the_log_is_and_never_less(log: Store, clock: Clock) -> None:
    audit_looks.note(log)
    with log.engine.connect() as connection:
        [(entries, head, seal)] = connection.execute(text("SELECT entries, hash, seal FROM audit_head"))
    write(log, 2)
    audit_looks.note(log)
    with log.engine.begin() as connection:
        connection.execute(text("DELETE FROM audit_entry WHERE number > :entries"), {"entries": entries})
        put_back = "UPDATE audit_head SET entries = :entries, hash = :hash, seal = :seal"
        connection.execute(text(put_back), {"entries": entries, "hash": head, "seal": seal})
    audit_looks.note(log)
    assert audit_looks.verify(log).faults == ("the log had 9 entries at an earlier look, and has 7",)
    clock.now += 60.0  # else the entries would be the same again
    write(log, 4)
    audit_looks.note(log)
    assert audit_looks.verify(log).faults == ("entry 9 is not the one of an earlier look",), "it grew past the note"
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE audit_head SET entries = 1000"))
    audit_looks.note(log)
    assert "the head was altered, or is another server's" in audit_looks.verify(log).faults
    noted = (log.folder / audit_looks.ANCHOR).read_text()
    assert '"entries": 9' in noted, "what this server did not seal is not noted"
    (log.folder / audit_looks.ANCHOR).write_text("{")
    audit_looks.note(log)


def test_the_log_is_looked_through_once_a_day(log: Store, clock: Clock) -> None:
    audit_looks.once_a_day(log)
    _look(log)
    clock.now += audit_looks.DAY_S - 1
    audit_looks.once_a_day(log)
    assert jobs.waiting(log, ("verify",)) == []
    clock.now += 1
    audit_looks.once_a_day(log)
    assert len(jobs.waiting(log, ("verify",))) == 1


def test_entries_of_many_at_once_make_one_chain(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: federations.create(store, f"f{number}"), range(24)))
    found = verify(store)
    assert (found.entries, found.faults) == (25, ())


def test_what_is_rolled_back_is_in_no_chain(log: Store) -> None:
    def fail() -> None:
        with log.begin() as session:
            audit.record(session, log, SERVER, "tried", "thing", "x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    write(log, 1)
    found = verify(log)
    assert (found.entries, found.faults) == (8, ())


def test_a_look_is_kept_until_it_is_old_and_only_as_it_was_written(log: Store, clock: Clock) -> None:
    first = audit_looks.last(log)
    assert (first.found, first.under_way) == (None, True)
    assert len(jobs.waiting(log, ("verify",))) == 1
    _look(log)
    kept = audit_looks.last(log)
    assert kept.found == verify(log)
    assert (kept.under_way, kept.error) == (False, "")
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE audit_entry SET actor = 'another' WHERE number = 4"))
    assert audit_looks.last(log).found == kept.found
    clock.now += audit_looks.KEPT_S
    assert audit_looks.last(log).under_way
    _look(log)
    assert audit_looks.last(log).found == verify(log)
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE audit_look SET faults = '[]'"))
    found = audit_looks.last(log).found
    assert found is not None
    assert found.faults == ("what the last look found was altered",)


def test_a_look_that_failed_is_told_and_not_begun_again_by_itself(log: Store) -> None:
    audit_looks.last(log)
    [job_id] = jobs.waiting(log, ("verify",))
    assert jobs.claim(log, job_id, "w") is not None
    assert jobs.fail(log, job_id, "w", "the disk is full", give_up=True)
    told = audit_looks.last(log)
    assert (told.found, told.under_way, told.error) == (None, False, "the disk is full")
    assert jobs.waiting(log, ("verify",)) == []
    assert audit_looks.last(log, anew=True).under_way
    assert len(jobs.waiting(log, ("verify",))) == 1


def _look(store: Store) -> None:
    [job_id] = jobs.waiting(store, ("verify",))
    carry_out(store, ServerSettings(folder=store.folder), EVALUATION, job_id, "w")
