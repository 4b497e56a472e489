"""Who sees and changes models and adapters, what cannot be taken out, and releases that others can verify."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import func, select, text
from tests.unit.server.conftest import Api, Clock
from tests.unit.server.run_setting import MEMBERS, Setting, adapter

from fedflow.errors import MistakeError
from fedflow.federation import provenance
from fedflow.federation.provenance import PAYLOAD, is_about, opened
from fedflow.server.database.tables import Artifact, Job, Version
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.services import (
    accounts,
    audit,
    catalogue,
    downloads,
    federations,
    files,
    invitations,
    registry,
    releases,
    runs,
)
from fedflow.server.services.catalogue import Description
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.roles import RoleName
from fedflow.server.store import Store

PASSWORD = "violet tram eats seven maps"  # noqa: S105 - a test's


@pytest.fixture
def made(setting: Setting) -> Setting:
    """A run that is done, its second version exported."""
    for number in (1, 2):
        for seed, member in enumerate(MEMBERS):
            setting.hand_in(member, number, adapter(10 * number + seed))
        setting.aggregate()
    setting.aggregate()  # its export
    assert setting.status() == "done"
    return setting


def person(store: Store, name: str, federation_id: str, role: RoleName) -> Caller:
    code = invitations.make(store, SERVER, federation_id, role, member="a" if role == "participant" else None)
    return Caller("person", accounts.register(store, name, f"{name}@example.org", PASSWORD, code, ""), name=name)


def versions(store: Store, kind: str = registry.ADAPTER) -> list[Version]:
    [artifact] = registry.artifacts(store, SERVER, kind, "", 10)
    return registry.versions(store, SERVER, artifact.id, 0, 10)


def test_what_is_private_is_its_owners_and_what_is_public_everybodys(made: Setting, federation_id: str) -> None:
    store = made.store
    owner = person(store, "owner", federation_id, "participant")
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    stranger = person(store, "stranger", federations.create(store, "other"), "administrator")
    artifact_id = versions(store)[0].artifact_id
    with store.begin() as session:
        session.get_one(Artifact, artifact_id).owner_id = owner.id

    def seen_by() -> set[str]:
        callers = (owner, coordinator, stranger, made.callers["a"])
        return {
            caller.name or "device"
            for caller in callers
            if any(each.id == artifact_id for each in registry.artifacts(store, caller, registry.ADAPTER, "", 10))
        }

    assert seen_by() == {"owner", "coordinator", "studio-pc"}
    catalogue.describe(store, owner, artifact_id, Description("private"))
    assert seen_by() == {"owner"}
    with pytest.raises(NotFound):
        catalogue.describe(store, coordinator, artifact_id, Description("public"))
    catalogue.describe(store, owner, artifact_id, Description("public", "CC-BY-4.0", "# Card", ("foxy",)))
    assert seen_by() == {"owner", "coordinator", "stranger", "studio-pc"}
    with pytest.raises(Forbidden, match="for the owner of 'test' and for a coordinator of its federation"):
        catalogue.describe(store, stranger, artifact_id, Description("private"))
    assert catalogue.one(store, stranger, artifact_id).trigger_words == ["foxy"]


def test_files_are_for_participants_and_of_what_is_public_for_everybody(made: Setting, federation_id: str) -> None:
    """Pictures a viewer sees all the same."""
    store, second = made.store, versions(made.store)[1]
    participant = person(store, "participant", federation_id, "participant")
    viewer = person(store, "viewer", federation_id, "viewer")
    stranger = person(store, "stranger", federations.create(store, "other"), "viewer")
    picture = files.put(store, b"picture", "picture")
    with store.begin() as session:
        files.share(session, federation_id, picture)

    def by_hash(sha256: str) -> list[str]:
        taken = []
        for caller in (participant, viewer, stranger):
            with suppress(NotFound):
                files.path_for(store, caller, sha256)
                taken.append(caller.name)
        return taken

    def of_version() -> list[str]:
        taken = []
        for caller in (participant, viewer, stranger):
            with suppress(Forbidden, NotFound):
                catalogue.require_files(store, caller, "version_id", second.id)
                taken.append(caller.name)
        return taken

    assert by_hash(second.content) == by_hash(second.files["kohya"]) == of_version() == ["participant"]
    assert by_hash(picture) == ["participant", "viewer"]
    catalogue.describe(store, SERVER, second.artifact_id, Description("public"))
    assert of_version() == ["participant", "viewer", "stranger"]


def test_a_public_adapters_lineage_shows_no_private_base(made: Setting, federation_id: str) -> None:
    store = made.store
    stranger = person(store, "stranger", federations.create(store, "other"), "viewer")
    newest = versions(store)[-1]
    catalogue.describe(store, SERVER, newest.artifact_id, Description("public"))
    assert [artifact.name for _, artifact in registry.lineage(store, stranger, newest.id)] == ["test", "test"]
    assert len(registry.lineage(store, SERVER, newest.id)) == 3


def test_nothing_is_taken_out_that_something_depends_on(made: Setting) -> None:
    store = made.store
    first, second = versions(store)
    [base] = versions(store, registry.MODEL)
    with pytest.raises(Conflict, match=r"version 2 of 'test' was made from version 1 of 'test'; delete that one first"):
        catalogue.delete_version(store, SERVER, first.id)
    with pytest.raises(Conflict, match=r"version \d of 'test' was made from version 1 of 'starter'"):
        catalogue.delete_version(store, SERVER, base.id)
    releases.release(store, SERVER, second.id, "v1", "")
    with pytest.raises(Conflict, match=r"version 2 of 'test' is released as 'v1'"):
        catalogue.delete_version(store, SERVER, second.id)


def test_what_a_run_goes_on_with_stays(setting: Setting) -> None:
    [base] = versions(setting.store, registry.MODEL)
    with pytest.raises(Conflict, match="run 'test' goes on with version 1 of 'starter'; stop it first"):
        catalogue.delete_version(setting.store, SERVER, base.id)
    runs.stop(setting.store, setting.run)
    catalogue.delete_version(setting.store, SERVER, base.id)
    assert registry.artifacts(setting.store, SERVER, registry.MODEL, "", 10) == []


def test_from_the_end_on_all_can_be_taken_out(made: Setting) -> None:
    store = made.store
    for version in (*reversed(versions(store)), *versions(store, registry.MODEL)):
        catalogue.delete_version(store, SERVER, version.id)
    assert registry.artifacts(store, SERVER, registry.ADAPTER, "", 10) == []


def test_files_of_a_version_that_is_taken_out_stay_a_day(made: Setting, clock: Clock) -> None:
    store = made.store
    second, written = versions(store)[-1], files.put(store, b"written for download", "export")
    with store.begin() as session:
        session.get_one(Version, second.id).files = {"kohya": written}
    clock.now += 10 * 86_400.0
    catalogue.delete_version(store, SERVER, second.id)
    files.collect(store, upload_ttl_s=1e9)
    assert written in store.blobs, "a back-up that has begun copies it still"
    clock.now += 86_401.0
    files.collect(store, upload_ttl_s=1e9)
    assert written not in store.blobs


def test_a_release_can_be_verified_without_the_server(made: Setting, clock: object) -> None:
    store = made.store
    second = versions(store)[1]
    catalogue.describe(store, SERVER, second.artifact_id, Description("federation", "CC0-1.0", "", ("foxy",)))
    release_id = releases.release(store, SERVER, second.id, "v1.0", "First.")
    public, envelope = releases.verifying_key(store), releases.envelope(store, SERVER, release_id)
    said = opened(envelope, public)
    path, name, sha256 = releases.file_of(store, SERVER, release_id, "kohya")
    assert name == "test-v1.0.kohya.safetensors"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert is_about(said, sha256)
    assert not is_about(said, "0" * 64)
    made_by = said["predicate"]["buildDefinition"]
    assert made_by["internalParameters"] == {
        "round": 2,
        "members": 3,
        "examples": None,
        "members_shown": {},
        "licence": "CC0-1.0",
        "trigger_words": ["foxy"],
    }
    assert [each["name"] for each in made_by["resolvedDependencies"]] == ["base model", "version before"]
    assert not {"clients", "root"} & made_by["externalParameters"]["plan"]["data"].keys(), "nobody agreed to be named"


def test_an_altered_provenance_is_refused(made: Setting) -> None:
    store = made.store
    release_id = releases.release(store, SERVER, versions(store)[1].id, "v1", "")
    public, envelope = releases.verifying_key(store), json.loads(releases.envelope(store, SERVER, release_id))
    said = json.loads(base64.b64decode(envelope["payload"]))
    said["subject"][0]["digest"]["sha256"] = "0" * 64
    altered = {**envelope, "payload": base64.b64encode(json.dumps(said).encode()).decode()}
    with pytest.raises(MistakeError, match="not signed by this key"):
        opened(json.dumps(altered).encode(), public)
    with pytest.raises(MistakeError, match="not signed by this key"):
        opened(json.dumps(envelope).encode(), provenance.public_key(b"x" * 32))
    with pytest.raises(MistakeError, match="no signed statement"):
        opened(b"{}", public)
    assert envelope["payloadType"] == PAYLOAD


def test_a_tag_is_given_once_and_a_withdrawn_release_keeps_its_line(made: Setting) -> None:
    store = made.store
    first, second = versions(store)
    with pytest.raises(Conflict, match="has no files to give out; export it first"):
        releases.release(store, SERVER, first.id, "v1", "")
    release_id = releases.release(store, SERVER, second.id, "v1", "")
    with pytest.raises(Conflict, match="has a release 'v1' already"):
        releases.release(store, SERVER, second.id, "v1", "")
    for nothing in ("", "  ", "x" * 301, "two\nlines"):
        with pytest.raises(Unprocessable, match="reason: "):
            releases.withdraw(store, SERVER, release_id, nothing)
    releases.withdraw(store, SERVER, release_id, " Draws one picture of ours. ")
    releases.withdraw(store, SERVER, release_id, "Draws one picture of ours.")
    with pytest.raises(Conflict, match="'v1' was withdrawn already; this reason stands: Draws one picture of ours"):
        releases.withdraw(store, SERVER, release_id, "another")
    [line] = releases.listed(store, SERVER, second.artifact_id)
    assert line.withdrawn_at is not None
    assert line.withdrawal_reason == "Draws one picture of ours."
    [entry] = audit.listed(store, action="withdrawn", before=audit.NEWEST, limit=5)
    assert entry.facts == {"name": "test", "tag": "v1", "reason": "Draws one picture of ours."}
    files.collect(store, upload_ttl_s=1.0)
    assert releases.envelope(store, SERVER, release_id)


def at_once(store: Store, table: str, *calls: Callable[[], object]) -> list[BaseException | None]:
    """How calls end that all wait to write into a table of PostgreSQL at the same moment."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with ThreadPoolExecutor() as threads:
        with store.begin() as session:
            session.execute(text(f"LOCK TABLE {table} IN SHARE MODE"))
            ends = [threads.submit(call) for call in calls]
            end = time.monotonic() + 20
            while session.scalar(waiting) != len(calls):
                assert time.monotonic() < end, [each.done() for each in ends]
        return [each.exception() for each in ends]


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_two_at_once_are_one_after_the_other(made: Setting) -> None:
    store, [_, second] = made.store, versions(made.store)
    release_id = releases.release(store, SERVER, second.id, "v1", "")
    reasons = ("Draws one picture of ours.", "Draws nothing.")
    ends = at_once(
        store, "release", *(lambda why=why: releases.withdraw(store, SERVER, release_id, why) for why in reasons)
    )
    [refused] = [each for each in ends if each is not None]
    stands = reasons[ends.index(None)]
    assert isinstance(refused, Conflict)
    assert str(refused).endswith(f"this reason stands: {stands}")
    assert releases.one(store, SERVER, release_id).withdrawal_reason == stands
    assert len(audit.listed(store, action="withdrawn", before=1_000, limit=2)) == 1
    ask = lambda: downloads.ask(store, SERVER, second.id, "merged")  # noqa: E731
    assert at_once(store, "job", ask, ask) == [None, None]
    with store.read() as session:
        assert session.scalar(select(func.count()).where(Job.kind == "download")) == 1


def test_the_api_says_and_gives_the_same(coordinator: Api, made: Setting) -> None:
    second = versions(made.store)[1]
    address = f"/api/v1/artifacts/{second.artifact_id}"
    body = {"visibility": "public", "licence": "CC0-1.0", "card": "# <b>Foxes</b>", "trigger_words": ["foxy"]}
    assert coordinator("PUT", address, json=body).json["card"] == "# <b>Foxes</b>"
    assert coordinator("GET", address).json["visibility"] == "public"
    key = {"Idempotency-Key": "once"}
    for _ in range(2):
        made_one = coordinator("POST", f"/api/v1/versions/{second.id}/releases", json={"tag": "v1"}, headers=key)
        assert made_one.status_code == 201
    [line] = coordinator("GET", f"{address}/releases").json["items"]
    assert line["files"].keys() == {"diffusers", "kohya"}
    told = coordinator("GET", f"/api/v1/releases/{line['id']}/files/kohya")
    assert told.headers["Content-Disposition"] == "attachment; filename=test-v1.kohya.safetensors"
    assert hashlib.sha256(told.data).hexdigest() == line["files"]["kohya"]["sha256"]
    verifying = coordinator("GET", "/api/v1/keys/releases").json
    envelope = coordinator("GET", f"/api/v1/releases/{line['id']}/provenance").data
    assert is_about(opened(envelope, base64.b64decode(verifying["public_key"])), line["files"]["kohya"]["sha256"])
    assert coordinator("DELETE", f"/api/v1/versions/{second.id}").status_code == 409
    assert (line["withdrawn"], line["withdrawn_by"], line["withdrawal_reason"]) == (False, None, None)
    withdraw = f"/api/v1/releases/{line['id']}/withdraw"
    for nothing in ("", "   "):
        assert coordinator("POST", withdraw, json={"reason": nothing}).status_code == 422
    [line] = coordinator("POST", withdraw, json={"reason": "Too blurred."}).json["items"]
    assert (line["withdrawn"], line["withdrawn_by"], line["withdrawal_reason"]) == (True, "coordinator", "Too blurred.")
    assert coordinator("POST", withdraw, json={"reason": "Too dark."}).status_code == 409
    assert coordinator("GET", "/api/v1/releases/none/provenance").status_code == 404
