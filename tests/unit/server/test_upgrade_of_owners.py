"""The migration to 0016: what participants owned of runs, confirmed for others, or made with short tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import MetaData, select

from fedflow.server.database import schema
from fedflow.server.database.engines import make_engine
from fedflow.server.settings import ServerSettings

BEFORE = "0015"
Rows = dict[str, list[dict[str, Any]]]
Upgraded = Callable[[Rows], Callable[[str], list[dict[str, Any]]]]


@pytest.fixture
def upgraded(settings: ServerSettings) -> Iterator[Upgraded]:
    """Puts rows into a database of before, migrates it, and gives what reads a table then, by its identifiers."""
    settings.folder.mkdir()
    engine = make_engine(settings.url)

    def migrated(rows: Rows) -> Callable[[str], list[dict[str, Any]]]:
        with engine.begin() as connection:
            schema.make(connection, BEFORE)
            tables = MetaData()
            tables.reflect(connection)
            for name, given in rows.items():
                for row in given:
                    connection.execute(tables.tables[name].insert().values(row))
        schema.upgrade(engine)

        def read(name: str) -> list[dict[str, Any]]:
            after = MetaData()
            with engine.connect() as connection:
                after.reflect(connection, only=[name])
                found = connection.execute(select(after.tables[name])).mappings().all()
            return sorted((dict(row) for row in found), key=lambda row: str(row.get("id")))

        return read

    yield migrated
    engine.dispose()


FEDERATION: Rows = {"federation": [{"id": "f", "name": "f", "policies": {}, "created_at": 1.0}]}


def person(identifier: str, email: str | None = None, confirmed_at: float | None = None) -> dict[str, Any]:
    given = {"id": identifier, "name": identifier, "email": email, "confirmed_at": confirmed_at, "password": "kept"}
    return given | {"is_admin": False, "created_at": 1.0, "totp_used": 0, "recovery": []}


def artifact(identifier: str, name: str, owner: str | None) -> dict[str, Any]:
    given = {"id": identifier, "name": name, "owner_id": owner, "federation_id": "f", "kind": "adapter"}
    return given | {"visibility": "private", "trigger_words": ["fox"], "examples": [], "created_at": 1.0}


def version(identifier: str, of: str, number: int, run: str | None = None) -> dict[str, Any]:
    given = {"id": identifier, "artifact_id": of, "number": number, "run_id": run, "round": number if run else None}
    return given | {"content": "c", "facts": {}, "files": {}, "created_at": 1.0}


def test_what_runs_made_becomes_the_federations(
    upgraded: Upgraded,
) -> None:
    run = {"id": "r", "federation_id": "f", "name": "Second", "plan": {}, "status": "running", "round": 2}
    release = {"id": "l", "artifact_id": "a", "version_id": "v3", "tag": "v1", "notes": "", "files": {}}
    read = upgraded(
        FEDERATION
        | {
            "person": [person("pam")],
            "run": [run | {"charts": {}, "message": "", "created_at": 1.0}],
            "artifact": [
                artifact("a", "Second", "pam"), artifact("b", "Second (run)", "pam"), artifact("c", "x", None),
            ],
            "version": [
                version("v1", "a", 1), version("v2", "a", 2, "r"), version("v3", "a", 3, "r"), version("v4", "b", 1),
            ],
            "release": [release | {"provenance": "p", "released_by": "pam", "released_at": 1.0}],
        }
    )  # fmt: skip
    artifacts = {row["id"]: row for row in read("artifact")}
    assert {key: artifacts[key]["owner_id"] for key in "abc"} == {"a": "pam", "b": "pam", "c": None}
    assert {key: artifacts[key]["visibility"] for key in "abc"} == {"a": "private", "b": "private", "c": "federation"}
    [made] = [row for key, row in artifacts.items() if key not in "abc"]
    told = (made["name"], made["owner_id"], made["visibility"], made["federation_id"], made["trigger_words"])
    assert told == ("Second (run 2)", None, "federation", "f", [])
    assert [(row["artifact_id"], row["number"]) for row in read("version")] == [
        ("a", 1), (made["id"], 2), (made["id"], 3), ("b", 1)
    ]  # fmt: skip
    assert read("release")[0]["artifact_id"] == made["id"]


def test_addresses_that_whoever_invited_could_confirm_are_in_doubt(
    upgraded: Upgraded,
) -> None:
    names = ("known", "letter", "linked", "provider", "register")
    people = [person(name, f"{name}@example.org", 100.0 if name != "letter" else 900.0) for name in names]

    def invitation(name: str) -> dict[str, Any]:
        given = {"hash": name, "id": name, "email": f"{name}@example.org", "is_admin": False, "used_by": name}
        by = None if name == "register" else "boss"
        return given | {"created_by": by, "created_at": 1.0, "expires_at": 999.0, "used_at": 99.9}

    def identity(name: str, at: float) -> dict[str, Any]:
        given = {"issuer": "i", "subject": name, "id": name, "person_id": name, "email": f"{name.title()}@example.org"}
        return given | {"linked_at": at}

    def sign_in(name: str) -> dict[str, Any]:
        given = {"hash": name, "id": name, "person_id": name, "agent": "", "address": ""}
        return given | {"created_at": 1.0, "seen_at": 1.0, "fresh_at": 1.0}

    def token(name: str) -> dict[str, Any]:
        return {"hash": name, "id": name, "person_id": name, "name": "", "scopes": [], "created_at": 1.0}

    read = upgraded(
        {
            "person": [person("boss"), *people],
            "invitation": [invitation(name) for name in names],
            "identity": [identity("linked", 500.0), identity("provider", 100.2)],
            "sign_in": [sign_in(name) for name in names],
            "person_token": [token(name) for name in names],
        }
    )
    after = {row["id"]: row for row in read("person")}
    assert {name: after[name]["confirmed_at"] for name in names} == {
        "known": None, "letter": 900.0, "linked": 100.0, "provider": 100.0, "register": 100.0
    }  # fmt: skip
    assert {name for name in names if after[name]["password"] is None} == {"linked"}
    assert {row["id"] for row in read("sign_in")} == set(names) - {"linked"}
    assert {row["id"] for row in read("person_token") if row["revoked_at"] is not None} == {"linked"}


def test_tokens_that_tokens_made_end_with_them(
    upgraded: Upgraded,
) -> None:
    def token(name: str, expires_at: float | None, revoked_at: float | None = None) -> dict[str, Any]:
        given = {"hash": name, "id": name, "person_id": "ada", "name": name, "scopes": ["read"], "created_at": 1.0}
        return given | {"expires_at": expires_at, "revoked_at": revoked_at}

    def entry(number: int, name: str, via: str) -> dict[str, Any]:
        given = {"number": number, "action": "token made", "object_id": name, "via": via, "at": 1.0, "facts": {}}
        texts = ("actor_kind", "actor_id", "actor", "address", "object_kind", "hash")
        return given | dict.fromkeys(texts, "")

    read = upgraded(
        {
            "person": [person("ada")],
            "person_token": [
                token("a short", 17.0), token("b child", 1000.0), token("c grandchild", 900.0),
                token("d endless", None, 50.0), token("e of it", 70.0), token("f free", 1000.0),
            ],
            "audit_entry": [
                entry(1, "a short", "sign-in x"), entry(2, "b child", "token a short"),
                entry(3, "c grandchild", "token b child"), entry(4, "e of it", "token d endless"),
                entry(5, "f free", "token long gone"),
            ],
        }
    )  # fmt: skip
    assert [(row["id"], row["made_with"], row["expires_at"], row["revoked_at"]) for row in read("person_token")] == [
        ("a short", None, 17.0, None),
        ("b child", "a short", 17.0, None),
        ("c grandchild", "b child", 17.0, None),
        ("d endless", None, None, 50.0),
        ("e of it", "d endless", 70.0, 50.0),
        ("f free", None, 1000.0, None),
    ]
