"""What runs make is the federation's own, whatever anybody has brought in under the name of a run."""

from __future__ import annotations

import pytest
from tests.unit.server.run_setting import MEMBERS, Setting, adapter, plan_of, start
from tests.unit.server.test_catalogue import person

from fedflow.federation.rounds import Status
from fedflow.server.database.tables import Artifact, Run, Version
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unprocessable
from fedflow.server.services import catalogue, files, imports, registry
from fedflow.server.services.catalogue import Description
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.imports import Allowed, Wanted
from fedflow.server.store import Store

NOWHERE = Allowed(None, hub=False)


def asked(store: Store, caller: Caller, federation_id: str, name: str, kind: str = "adapter") -> str:
    wanted = Wanted(kind, name, "upload", "some.safetensors")  # type: ignore[arg-type]
    return imports.ask(store, caller, federation_id, wanted, NOWHERE)


def keep(store: Store, import_id: str, content_hash: str | None = None) -> Artifact:
    """What the worker does last of an import; what it became a version of."""
    content = files.put(store, b"what came in", "adapter")
    told = {"content": content, "content_hash": content_hash, "facts": {}, "layouts": {}, "trigger_words": ()}
    imports.keep(store, import_id, **told)  # type: ignore[arg-type]
    with store.read() as session:
        version = session.get_one(Version, imports.one(store, SERVER, import_id).version_id)
        return session.get_one(Artifact, version.artifact_id)


def play(setting: Setting, number: int) -> Artifact:
    """Let all members answer a round; what its result is a version of."""
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, number, adapter(10 * number + seed))
    setting.aggregate()
    with setting.store.read() as session:
        version = session.query(Version).filter_by(run_id=setting.run, round=number).one()
        return session.get_one(Artifact, version.artifact_id)


def numbers(store: Store, artifact: Artifact) -> list[tuple[int, int | None]]:
    return [(each.number, each.round) for each in registry.versions(store, SERVER, artifact.id, 0, 10)]


@pytest.fixture
def pam(store: Store, federation_id: str) -> Caller:
    return person(store, "pam", federation_id, "participant")


def test_a_participants_import_never_takes_a_runs_result(
    store: Store, federation_id: str, callers: dict[str, Caller], pam: Caller
) -> None:
    hers = keep(store, asked(store, pam, federation_id, "test"))
    setting = start(store, federation_id, callers, plan_of())
    made = play(setting, 1)
    assert (hers.name, hers.owner_id) == ("test", pam.id)
    assert (made.name, made.owner_id, made.visibility) == ("test (run)", None, "federation")
    with pytest.raises(Forbidden, match="a coordinator of its federation"):
        catalogue.describe(store, pam, made.id, Description("private"))
    [version] = registry.versions(store, pam, made.id, 0, 10)
    with pytest.raises(Forbidden):
        catalogue.require(store, pam, "version_id", version.id, "coordinator")
    catalogue.describe(store, pam, hers.id, Description("private"))
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    assert catalogue.one(store, coordinator, made.id).id == made.id
    with pytest.raises(NotFound):
        catalogue.one(store, coordinator, hers.id)
    catalogue.delete_version(store, pam, registry.versions(store, pam, hers.id, 0, 10)[0].id)
    assert play(setting, 2).id == made.id, "a run's versions stay together, though its name is free by now"
    assert numbers(store, made) == [(1, 1), (2, 2)]


def test_a_runs_result_is_hidden_from_its_federation_by_nobody(
    store: Store, federation_id: str, callers: dict[str, Caller]
) -> None:
    made = play(start(store, federation_id, callers, plan_of()), 1)
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    for caller in (coordinator, SERVER):
        with pytest.raises(Unprocessable, match="visibility: nobody owns this, so nobody would see it"):
            catalogue.describe(store, caller, made.id, Description("private"))


def test_the_names_of_runs_under_way_are_theirs(
    store: Store, federation_id: str, setting: Setting, pam: Caller
) -> None:
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    for caller in (pam, coordinator):
        for kind in ("adapter", "model"):
            with pytest.raises(Conflict, match="name: run 'test' is under way, and what it makes is called so"):
                asked(store, caller, federation_id, "test", kind)
    with store.begin() as session:
        session.get_one(Run, setting.run).status = Status.STOPPED
    asked(store, pam, federation_id, "test")


def test_an_import_adds_nothing_to_what_a_run_made_meanwhile(
    store: Store, federation_id: str, callers: dict[str, Caller], pam: Caller
) -> None:
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    hers, theirs = (asked(store, caller, federation_id, "test") for caller in (pam, coordinator))
    made = play(start(store, federation_id, callers, plan_of()), 1)
    assert made.name == "test"
    with pytest.raises(Conflict, match="'test' became another's while this came in; import it under another name"):
        keep(store, hers)
    assert imports.one(store, pam, hers).version_id is None
    assert numbers(store, made) == [(1, 1)]
    assert keep(store, theirs).id == made.id, "a coordinator may"
    assert (catalogue.one(store, SERVER, made.id).owner_id, numbers(store, made)) == (None, [(1, 1), (2, None)])


def test_two_imports_of_one_name_do_not_mix(store: Store, federation_id: str, pam: Caller) -> None:
    bob = person(store, "bob", federation_id, "participant")
    hers, his = (asked(store, caller, federation_id, "foxes") for caller in (pam, bob))
    assert keep(store, his).owner_id == bob.id
    with pytest.raises(Conflict, match="became another's"):
        keep(store, hers)


def test_every_name_that_somebody_took_is_passed_over(
    store: Store, federation_id: str, callers: dict[str, Caller], pam: Caller
) -> None:
    for name in ("test", "test (run)"):
        keep(store, asked(store, pam, federation_id, name))
    first, second = (start(store, federation_id, callers, plan_of(rounds=1)) for _ in range(2))
    made = play(first, 1)
    assert made.name == "test (run 2)"
    assert play(second, 1).id == made.id, "another run of the name makes further versions, as ever"


def test_the_base_model_of_a_run_is_not_somebodys_either(
    store: Store, federation_id: str, callers: dict[str, Caller], pam: Caller
) -> None:
    hers = keep(store, asked(store, pam, federation_id, "starter", "model"), content_hash="0" * 64)
    made = play(start(store, federation_id, callers, plan_of()), 1)
    catalogue.describe(store, pam, hers.id, Description("private"))
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    [version] = registry.versions(store, coordinator, made.id, 0, 10)
    named = [artifact.name for _, artifact in registry.lineage(store, coordinator, version.id)]
    assert named == ["test", "starter (run)"]
