"""Whose example counts are shown beyond a federation, and example pictures of what it made."""

from __future__ import annotations

import io
import zlib

import pytest
from PIL import Image, PngImagePlugin
from tests.unit.server.conftest import Api, Machine
from tests.unit.server.run_setting import MEMBERS, Setting, adapter
from tests.unit.server.test_catalogue import person, versions

from fedflow.federation.protocol import JoinRequest
from fedflow.federation.provenance import opened
from fedflow.server.database.tables import Score, Version
from fedflow.server.errors import Conflict, Forbidden, NotFound, TooLarge, Unprocessable
from fedflow.server.services import (
    audit,
    catalogue,
    devices,
    downloads,
    examples,
    federations,
    files,
    policies,
    registry,
    releases,
    run_facts,
    shown_counts,
    tokens,
)
from fedflow.server.services.catalogue import Description
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.policies import Policies, VisibilityPolicies
from fedflow.server.store import Store


@pytest.fixture
def made(setting: Setting) -> Setting:
    """A run that is done, its adapter everybody's to see."""
    for number in (1, 2):
        for seed, member in enumerate(MEMBERS):
            setting.hand_in(member, number, adapter(10 * number + seed))
        setting.aggregate()
    setting.aggregate()
    catalogue.describe(setting.store, SERVER, versions(setting.store)[1].artifact_id, Description("public"))
    return setting


def member_id(store: Store, federation_id: str, name: str) -> str:
    return next(each.id for each in federations.members(store, federation_id) if each.name == name)


def seen(store: Store, caller: Caller) -> tuple[object, object]:
    newest = versions(store)[1]
    facts = registry.lineage(store, caller, newest.id)[0][0].facts
    assert registry.versions(store, caller, newest.artifact_id, 1, 1)[0].facts == facts
    return facts["members"], facts.get("other_members")


def joins(store: Store, federation_id: str, member: str, *, shows_counts: bool | None) -> None:
    """Another machine of the member joins, and says or does not say whether its counts are shown."""
    code = devices.new_code(store, federation_id, member, 10, ttl_s=60)
    request = JoinRequest(
        code=code, device_name="pc", public_key=Machine(store).public_key, version="1", shows_counts=shows_counts
    )
    devices.join(store, request)


def test_beyond_the_federation_only_those_are_named_that_agreed(made: Setting, federation_id: str) -> None:
    store = made.store
    acts_for_a = person(store, "participant", federation_id, "participant")
    viewer = person(store, "viewer", federation_id, "viewer")
    coordinator = person(store, "coordinator", federation_id, "coordinator")
    stranger = person(store, "stranger", federations.create(store, "other"), "administrator")
    everybody = dict.fromkeys(MEMBERS, 10)
    for insider in (acts_for_a, viewer, coordinator, made.callers["b"], SERVER):
        assert seen(store, insider) == (everybody, None)
    assert seen(store, stranger) == ({}, 3), "by default nobody is"
    shown_counts.show(store, acts_for_a, member_id(store, federation_id, "a"), shown=True)
    assert seen(store, stranger) == ({"a": 10}, 2)
    for caller in (acts_for_a, viewer, stranger):
        with pytest.raises(Forbidden, match="for who acts for 'b'; ask them"):
            shown_counts.show(store, caller, member_id(store, federation_id, "b"), shown=True)
    with pytest.raises(Forbidden, match="for who acts for 'a'; ask them"):
        shown_counts.show(store, coordinator, member_id(store, federation_id, "a"), shown=True)
    with pytest.raises(Forbidden, match="for who acts for 'b'; ask them"):
        shown_counts.show(store, coordinator, member_id(store, federation_id, "b"), shown=True)
    joins(store, federation_id, "b", shows_counts=True)
    joins(store, federation_id, "b", shows_counts=None)
    [entry] = audit.listed(store, action="counts shown changed", before=2**62, limit=1)
    assert (entry.actor_kind, entry.facts) == ("device", {"member": "b", "shown": True})
    shown_counts.show(store, coordinator, member_id(store, federation_id, "a"), shown=False)
    assert seen(store, stranger) == ({"b": 10}, 2)
    policies.change(store, federation_id, Policies(visibility=VisibilityPolicies(example_counts=False)))
    assert seen(store, viewer) == (dict.fromkeys(MEMBERS), None)
    assert seen(store, acts_for_a) == (everybody, None)
    with store.read() as session:
        kept = session.get_one(Version, versions(store)[1].id).facts
    assert kept["members"] == everybody, "what is told changes no row"


def test_a_release_says_what_its_members_agreed_to(made: Setting, federation_id: str) -> None:
    store = made.store
    newest = versions(store)[1]

    def said(tag: str) -> dict[str, object]:
        envelope = releases.envelope(store, SERVER, releases.release(store, SERVER, newest.id, tag, ""))
        told = opened(envelope, releases.verifying_key(store))["predicate"]["buildDefinition"]["internalParameters"]
        return {key: told[key] for key in ("members", "examples", "members_shown")}

    assert said("v1") == {"members": 3, "examples": None, "members_shown": {}}
    joins(store, federation_id, "a", shows_counts=True)
    assert said("v2") == {"members": 3, "examples": None, "members_shown": {"a": 10}}
    for name in ("b", "c"):
        joins(store, federation_id, name, shows_counts=True)
    assert said("v3") == {"members": 3, "examples": 30, "members_shown": dict.fromkeys(MEMBERS, 10)}


def test_a_whole_model_is_no_file_of_the_rounds(made: Setting) -> None:
    store = made.store
    newest = versions(store)[1]
    downloads.keep(store, newest.id, "merged", files.put(store, b"a zip", "export"))
    assert run_facts.facts(store, made.callers["a"], made.run).files.keys() == {"diffusers", "kohya"}
    first = versions(store)[0]
    downloads.keep(store, first.id, "merged", files.put(store, b"a zip", "export"))
    registry.ask_export(store, SERVER, first.id)
    made.aggregate()
    with store.read() as session:
        assert session.get_one(Version, first.id).files.keys() == {"diffusers", "kohya", "merged"}


def png(width: int = 8, height: int = 8, text: str = "") -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", text)
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), (200, 30, 30, 128)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header alone says that it is large."""
    plain = bytearray(png())
    plain[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    plain[29:33] = zlib.crc32(bytes(plain[12:29])).to_bytes(4, "big")
    return bytes(plain)


def test_an_example_is_the_picture_alone(made: Setting, federation_id: str) -> None:
    store, artifact_id = made.store, versions(made.store)[1].artifact_id
    stranger = person(store, "stranger", federations.create(store, "other"), "viewer")
    viewer = person(store, "viewer", federation_id, "viewer")
    kept = examples.add(store, SERVER, artifact_id, png(text="a secret prompt") + b"a file behind it")
    content = examples.file_of(store, stranger, artifact_id, kept).read_bytes()
    assert b"secret" not in content
    assert b"behind" not in content
    with Image.open(io.BytesIO(content)) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (8, 8))
    assert examples.add(store, SERVER, artifact_id, png()) == kept, "the same picture again"
    assert catalogue.one(store, stranger, artifact_id).examples == [kept]
    for caller in (viewer, stranger):
        with pytest.raises(Forbidden):
            examples.add(store, caller, artifact_id, png(9))
        with pytest.raises(Forbidden):
            examples.remove(store, caller, artifact_id, kept)
    for width in range(9, 9 + examples.MOST - 1):
        examples.add(store, SERVER, artifact_id, png(width))
    with pytest.raises(Conflict, match="12 examples, which is all there may be"):
        examples.add(store, SERVER, artifact_id, png(99))
    examples.remove(store, SERVER, artifact_id, kept)
    with pytest.raises(NotFound):
        examples.file_of(store, SERVER, artifact_id, kept)


def test_what_is_no_picture_or_too_large_is_refused(made: Setting) -> None:
    store, artifact_id = made.store, versions(made.store)[1].artifact_id
    gif = io.BytesIO()
    Image.new("RGB", (4, 4)).save(gif, "GIF")
    for content in (b"", b"<svg onload=alert(1)>", gif.getvalue(), png()[:40]):
        with pytest.raises(Unprocessable, match="is no PNG, or damaged"):
            examples.add(store, SERVER, artifact_id, content)
    with pytest.raises(TooLarge, match="has 60000x600 pixels"):
        examples.add(store, SERVER, artifact_id, bomb(60_000, 600))
    with pytest.raises(TooLarge, match="8000000 are allowed"):
        examples.add(store, SERVER, artifact_id, bytes(examples.MOST_BYTES + 1))
    assert catalogue.one(store, SERVER, artifact_id).examples == []


def test_an_example_comes_from_a_gallery_of_the_federation(made: Setting) -> None:
    store, artifact_id = made.store, versions(made.store)[1].artifact_id
    drawn, other = files.put(store, png(text="a prompt"), "picture"), files.put(store, png(30), "picture")
    numbers = dict.fromkeys(("fid", "kid", "kid_low", "kid_high", "seconds", "scored_at"), 0.0)
    counts = dict.fromkeys(("num_examples", "steps", "num_heldout"), 0)
    with store.begin() as session:
        row = Score(run_id=made.run, round=1, who="aggregated", prompts=["x"], gallery=[drawn], **numbers, **counts)
        row.extractor, row.resize, row.features = "icons-v1", "as it is", drawn
        session.add(row)
    kept = examples.add_from_gallery(store, SERVER, artifact_id, drawn)
    assert b"prompt" not in examples.file_of(store, SERVER, artifact_id, kept).read_bytes()
    with pytest.raises(NotFound, match="in a gallery of this federation"):
        examples.add_from_gallery(store, SERVER, artifact_id, other)


def test_the_api_shows_and_hides(coordinator: Api, device: Api, made: Setting, federation_id: str) -> None:
    artifact_id = versions(made.store)[1].artifact_id
    address = f"/api/v1/artifacts/{artifact_id}/examples"
    told = coordinator("PUT", address, data=png(), headers={"Content-Type": "image/png"})
    assert told.status_code == 200
    [kept] = told.json["examples"]
    picture = coordinator("GET", f"{address}/{kept}")
    assert (picture.status_code, picture.mimetype) == (200, "image/png")
    assert device("PUT", address, data=png()).status_code == 403
    large = coordinator("PUT", address, data=bytes(examples.MOST_BYTES + 1), headers={"Content-Type": "image/png"})
    assert large.status_code == 413
    assert coordinator("POST", address, json={"picture": "0" * 64}).status_code == 404
    assert coordinator("DELETE", f"{address}/{kept}").status_code == 204
    counts = f"/api/v1/members/{member_id(made.store, federation_id, 'a')}/counts"
    assert coordinator("GET", counts).json == {"shown": False}
    assert coordinator("PUT", counts, json={"shown": True}).status_code == 403
    acts_for_a = person(made.store, "pat", federation_id, "participant")
    pat = Api(coordinator.client, tokens.make(made.store, acts_for_a, "script", ("read", "members"), 60.0))
    assert pat("PUT", counts, json={"shown": True}).json == {"shown": True}
    assert pat("GET", counts).json == {"shown": True}
    assert coordinator("PUT", counts, json={"shown": False}).json == {"shown": False}
