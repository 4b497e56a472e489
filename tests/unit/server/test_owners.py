"""Whose a model or adapter is that somebody brought in, and what others are told of a private one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.server.import_setting import brought, kohya_file
from tests.unit.server.test_catalogue import person
from tests.unit.server.test_imports import ADMIN, LORA, version_of, zipped

from fedflow.server.database.tables import Artifact, Version
from fedflow.server.errors import Conflict, Forbidden, NotFound
from fedflow.server.services import (
    catalogue,
    federations,
    imports,
    invitations,
    registry,
    releases,
    role_changes,
    shelf,
)
from fedflow.server.services.catalogue import Description
from fedflow.server.services.identity import SERVER, first_coordinator
from fedflow.server.services.imports import Wanted
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """One database, as in the tests of imports."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def store(store: Store) -> Store:
    first_coordinator(store)
    return store


@pytest.fixture
def model(store: Store, federation_id: str, tiny_model_folder: Path) -> Version:
    wanted = Wanted("model", "tiny", "upload", "tiny.zip")
    return version_of(store, brought(store, federation_id, wanted, zipped(tiny_model_folder, "tiny/"), ADMIN))


def test_what_somebody_brought_in_is_theirs_while_they_belong_to_the_federation(
    store: Store, federation_id: str, tiny_model_folder: Path
) -> None:
    rob = person(store, "rob", federation_id, "participant")
    coordinator = person(store, "cora", federation_id, "coordinator")
    person(store, "adam", federation_id, "administrator")
    other = person(store, "other", federation_id, "participant")
    version = version_of(store, brought(store, federation_id, LORA, kohya_file(tiny_model_folder), rob))
    artifact = catalogue.one(store, rob, version.artifact_id)
    assert (shelf.owner(store, artifact), shelf.may_change(store, rob, artifact)) == ("rob", True)
    catalogue.describe(store, rob, artifact.id, Description("private"))
    with pytest.raises(NotFound):
        catalogue.one(store, coordinator, artifact.id)
    role_changes.take(store, SERVER, federation_id, rob.id)
    with pytest.raises(NotFound):
        catalogue.one(store, rob, artifact.id)
    with pytest.raises(NotFound):
        catalogue.one(store, other, artifact.id)
    for visibility in ("federation", "private", "public"):  # hidden by a coordinator, it is not lost either
        catalogue.describe(store, coordinator, artifact.id, Description(visibility))
    assert shelf.owner(store, artifact) is None
    assert not shelf.may_change(store, rob, catalogue.one(store, rob, artifact.id))
    with pytest.raises(Forbidden):
        catalogue.describe(store, rob, artifact.id, Description("private"))
    with pytest.raises(Forbidden):
        releases.release(store, rob, version.id, "v1", "")
    elsewhere = federations.create(store, "elsewhere")
    limited = replace(rob, federation_id=elsewhere)
    invitations.accept(store, rob, invitations.make(store, SERVER, federation_id, "viewer"))
    assert shelf.may_change(store, rob, artifact)
    assert not shelf.may_change(store, limited, artifact), "a token of another federation"


def test_no_message_names_a_private_model(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path
) -> None:
    owner = person(store, "owner", federation_id, "participant")
    with store.begin() as session:
        base = session.get_one(Artifact, model.artifact_id)
        base.owner_id = owner.id
    wanted = replace(LORA, base_id=model.id)
    child = version_of(store, brought(store, federation_id, wanted, kohya_file(tiny_model_folder), ADMIN))
    with pytest.raises(Conflict, match="version 1 of 'foxes' was made from"):
        catalogue.delete_version(store, owner, model.id)
    catalogue.describe(store, SERVER, child.artifact_id, Description("private"))
    with pytest.raises(Conflict, match=r"^something private was made from version 1 of"):
        catalogue.delete_version(store, owner, model.id)


def test_a_private_name_is_taken_and_nothing_else_is_told_of_it(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path
) -> None:
    owner = person(store, "owner", federation_id, "participant")
    other = person(store, "other", federation_id, "participant")
    brought(store, federation_id, LORA, kohya_file(tiny_model_folder), owner)
    [foxes] = registry.artifacts(store, owner, registry.ADAPTER, "", 10)
    catalogue.describe(store, owner, foxes.id, Description("private"))
    with pytest.raises(Conflict, match=r"^name: is taken in this federation; choose another$"):
        brought(store, federation_id, LORA, kohya_file(tiny_model_folder), other)
    catalogue.describe(store, SERVER, model.artifact_id, Description("private"))
    twice = brought(store, federation_id, Wanted("model", "same", "upload", ""), zipped(tiny_model_folder), other)
    said = imports.one(store, other, twice).message
    assert said == "these weights are here already, as a model that is private; ask a coordinator"
