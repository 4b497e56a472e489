"""Everything that names a person is told to them, and goes or stays by a rule when their account is closed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.unit.server.conftest import Clock
from tests.unit.server.test_people import PASSWORD, invited, signed_in

from fedflow.server.database.base import Table
from fedflow.server.database.people import Departure, Identity, Letter, Link, Role
from fedflow.server.database.tables import Artifact, Version
from fedflow.server.errors import NotFound
from fedflow.server.services import (
    accounts,
    audit,
    files,
    identity,
    invitations,
    letters,
    links,
    own_data,
    releases,
    roles,
    tokens,
)
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.store import Store

GOES = {"identity.person_id", "departure.person_id", "letter.person_id", "link.person_id", "role.person_id"}
GOES |= {"sign_in.person_id", "tryout.person_id"}
STAYS = {
    "artifact.owner_id": "the model is the federation's; the identifier leads to no name any more",
    "import.asked_by": "as the audit log, by the identifier",
    "invitation.created_by": "used ones belong to who used them; unused ones go",
    "invitation.used_by": "without the address that it was sent to",
    "release.released_by": "what was given out is the federation's; the identifier leads to no name any more",
    "release.withdrawn_by": "as who gave it out",
    "person_token.person_id": "revoked and nameless, so that its use is told from an unknown one's",
    "upload.person_id": "collected when nobody goes on with it",
}
"""What keeps a closed account's identifier, and why."""


def naming_people() -> Iterator[str]:
    for table in Table.metadata.sorted_tables:
        for column in table.columns:
            if any(key.column.table.name == "person" for key in column.foreign_keys):
                yield f"{table.name}.{column.name}"


def released(store: Store, federation_id: str, caller: Caller) -> str:
    """A release of an adapter that the caller brought in."""
    digest = files.put(store, b"adapter", "export")
    with store.begin() as session:
        artifact = Artifact(id=new_id(), federation_id=federation_id, kind="adapter", name="foxes", created_at=1.0)
        artifact.owner_id = caller.id
        session.add(artifact)
        session.flush()
        version = Version(id=new_id(), artifact_id=artifact.id, number=1, content=digest, facts={}, created_at=1.0)
        version.files = {"kohya": digest}
        session.add(version)
    return releases.release(store, caller, version.id, "v1", "First.")


def test_every_column_that_names_a_person_is_exported_and_has_a_rule() -> None:
    """A new table that speaks of people comes into services/own_data, and into one of the two lists above."""
    exported = {f"{column.class_.__tablename__}.{column.key}" for column, _ in own_data.LISTS.values()}
    assert set(naming_people()) == exported | {"role.person_id", "tryout.person_id"} == GOES | STAYS.keys()


def test_a_person_is_told_all_of_it_but_the_secrets(store: Store, federation_id: str, clock: Clock) -> None:
    invited(store, federation_id, "participant", "ada", "studio")
    ada = signed_in(store, "ada")
    token = tokens.make(store, ada, "script", ("read",), 1000.0)
    code = links.make(store, SERVER, ada.id, "password", "ada@example.org")
    letters.ask_to_confirm(store, ada.id, "en")
    releases.withdraw(store, ada, released(store, federation_id, ada), "Too dark.")
    with store.begin() as session:
        row = Identity(issuer="https://login.example", subject="ada", id=new_id(), person_id=ada.id, linked_at=1.0)
        session.add(row)
        session.add(Departure(hash="h", browser="b", person_id=ada.id, kept="k", expires_at=clock.now + 1))
    told = own_data.export(store, ada)
    counts = {name: len(rows) for name, rows in told.items() if isinstance(rows, list)}
    assert counts == {
        "roles": 1,
        "sign_ins": 1,
        "tokens": 1,
        "identities": 1,
        "sign_ins_under_way": 1,
        "links": 1,
        "letters": 1,
        "invitations": 0,
        "invitations_taken_up": 1,
        "uploads": 0,
        "imports": 0,
        "releases": 1,
        "releases_withdrawn": 1,
        "owned": 1,
        "tryouts": 0,
        "actions": 6,
        "done_by_others": 1,
    }
    assert told["done_by_others"][0].keys() == {"at", "action", "facts"}, "who did it is theirs to know"
    assert told["identities"][0]["linked_at"] == "1970-01-01T00:00:01+00:00"
    assert told["roles"][0].items() >= {"federation": federation_id, "role": "participant", "member": "studio"}.items()
    for rows in (told["sign_ins"], told["tokens"], told["actions"], told["roles"]):
        for name, value in rows[0].items():
            assert not isinstance(value, float), (name, "times are told as people read them")
    text = json.dumps(told)
    for secret in (token, identity.secret_hash(token), code, identity.secret_hash(code), "argon2"):
        assert secret not in text


def test_an_account_that_is_closed_leaves_nothing_that_lets_in_or_names(store: Store, federation_id: str) -> None:
    identity.first_coordinator(store)
    email = "ada@example.org"
    code = invitations.make(store, SERVER, federation_id, "administrator", email=email)
    person = accounts.register(store, "Ada Lovelace", email, PASSWORD, code, "192.0.2.7")
    ada = signed_in(store, "ada")
    invited(store, federation_id, "administrator", "other")
    open_code = invitations.make(store, ada, federation_id, "administrator")
    tokens.make(store, ada, "Ada's script", ("read",), 1000.0)
    letters.ask(store, "password", email, "en")
    links.make(store, SERVER, person, "password", email)
    given = releases.one(store, ada, released(store, federation_id, ada))
    assert releases.names(store, [given]) == {ada.id: "Ada Lovelace"}
    accounts.delete_account(store, ada, PASSWORD)
    assert releases.names(store, [given]) == {}
    kept = audit.listed(store, actor_id=person, before=2**62, limit=50)
    assert {entry.actor for entry in kept} == {"Ada Lovelace"}, "as the page says before one deletes"
    with pytest.raises(NotFound):
        invitations.seen(store, open_code)
    with store.engine.connect() as connection:
        for table in Table.metadata.sorted_tables:
            if table.name == "audit_entry":
                continue
            text = str(connection.execute(table.select()).all())
            assert identity.secret_hash(email) not in text, table.name
            assert email not in text, table.name
            assert "Ada" not in text, table.name
    with store.read() as session:
        for gone in (Role, Link, Identity, Departure, Letter):
            assert session.query(gone).filter(gone.person_id == person).count() == 0
    assert [holder.name for holder in roles.holders(store, federation_id)] == ["other"]
