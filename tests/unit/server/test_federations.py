"""Federations, members and events."""

from __future__ import annotations

import threading

import pytest
from tests.unit.server.conftest import Clock, Machine

from fedflow.plan import Plan
from fedflow.server.database.tables import Round
from fedflow.server.errors import Conflict, NotFound, Unauthorised
from fedflow.server.services import devices, events, federations, files, identity, runs
from fedflow.server.services.identity import SERVER
from fedflow.server.store import Store


def test_names_are_unique_and_pages_go_on(store: Store, federation_id: str, clock: Clock) -> None:
    made = [federations.create(store, name) for name in ("b", "a")]
    with pytest.raises(Conflict, match="there is a federation 'a' already"):
        federations.create(store, "a")
    page = federations.listed(store, SERVER, "", 2)
    assert [federation.id for federation in page] == [federation_id, made[0]]
    assert [federation.id for federation in federations.listed(store, SERVER, page[-1].id, 2)] == [made[1]]
    assert federations.first_federation(store) == federation_id


def test_a_removed_member_is_out_at_once_and_keeps_its_line(
    store: Store, federation_id: str, machine: Machine, clock: Clock
) -> None:
    token = machine.token()
    [member] = federations.members(store, federation_id)
    clock.now += 90
    federations.remove_member(store, member.id)
    federations.remove_member(store, member.id)
    with pytest.raises(Unauthorised):
        identity.authenticate(store, token)
    [member] = federations.members(store, federation_id)
    assert (member.name, member.removed) == ("studio", True)
    assert [(device.revoked, device.seen_s_ago) for device in member.devices] == [(True, 90.0)]
    assert [event.kind for event in events.since(store, federation_id, 1, 10)] == ["member removed"]
    with pytest.raises(NotFound):
        federations.remove_member(store, "nobody")


def test_a_removed_member_comes_back_by_a_new_code_alone(store: Store, federation_id: str, machine: Machine) -> None:
    old_token = machine.token()
    [member] = federations.members(store, federation_id)
    federations.remove_member(store, member.id)
    again = Machine(store)
    again.join(devices.new_code(store, federation_id, "studio", 7, ttl_s=60))
    [back] = federations.members(store, federation_id)
    assert (back.id, back.removed, back.max_examples) == (member.id, False, 7)
    assert [device.revoked for device in back.devices] == [True, False]
    assert identity.authenticate(store, again.token()).member_id == member.id
    with pytest.raises(Unauthorised):
        identity.authenticate(store, old_token)


def test_another_code_keeps_the_members_cap_unless_it_names_one(
    store: Store, federation_id: str, machine: Machine
) -> None:
    for given, expected in ((None, 500), (20, 20), (None, 20)):
        Machine(store).join(devices.new_code(store, federation_id, "studio", given, ttl_s=60))
        assert [member.max_examples for member in federations.members(store, federation_id)] == [expected]
    Machine(store).join(devices.new_code(store, federation_id, "museum", None, ttl_s=60))
    assert federations.members(store, federation_id)[1].max_examples == 100_000


def test_a_removed_member_does_not_come_back_by_a_code_of_before(
    store: Store, federation_id: str, machine: Machine
) -> None:
    spare = devices.new_code(store, federation_id, "studio", 100_000, ttl_s=3600)
    others = devices.new_code(store, federation_id, "museum", 5, ttl_s=3600)
    [member] = federations.members(store, federation_id)
    federations.remove_member(store, member.id)
    with pytest.raises(NotFound, match="no such join code"):
        Machine(store).join(spare)
    Machine(store).join(others)
    assert [each.removed for each in federations.members(store, federation_id)] == [True, False]


def test_members_of_one_federation_are_not_those_of_another(store: Store, machine: Machine) -> None:
    other = federations.create(store, "other")
    assert federations.members(store, other) == []
    with pytest.raises(NotFound):
        federations.members(store, "nowhere")


def test_events_are_read_in_the_order_in_which_they_are_committed(store: Store, federation_id: str) -> None:
    """A reader that has seen number N must never meet a smaller one later."""
    seen: list[int] = []

    def write(kind: str) -> None:
        with store.begin() as session:
            events.record(session, store, federation_id, None, kind, name="a", kind="b")

    def read() -> None:
        seen.extend(event.id for event in events.since(store, federation_id, seen[-1] if seen else 0, 100))

    with store.begin() as session:
        events.record(session, store, federation_id, None, "slow")
        thread = threading.Thread(target=write, args=("quick",))
        thread.start()
        thread.join(0.2)
        read()
    thread.join(30)
    read()
    kinds = [event.kind for event in events.since(store, federation_id, 0, 100)]
    assert kinds == ["slow", "quick"]
    assert len(seen) == 2
    assert seen == sorted(seen)


def test_events_of_another_federation_are_not_told(store: Store, federation_id: str) -> None:
    other = federations.create(store, "other")
    for where, kind in ((federation_id, "ours"), (other, "theirs"), (federation_id, "ours too")):
        with store.begin() as session:
            events.record(session, store, where, None, kind)
    first, second = events.since(store, federation_id, 0, 10)
    assert [event.kind for event in (first, second)] == ["ours", "ours too"]
    assert [event.kind for event in events.since(store, federation_id, first.id, 10)] == ["ours too"]
    assert len(events.since(store, federation_id, 0, 1)) == 1


def test_a_run_goes_on_without_a_removed_member(store: Store, federation_id: str) -> None:
    for name in ("museum", "studio", "clinic"):
        Machine(store).join(devices.new_code(store, federation_id, name, 10, ttl_s=60))
    museum, *_ = federations.members(store, federation_id)
    plan = Plan.model_validate({"data": {"clients": ("museum", "studio", "clinic")}})
    run_id = runs.create(store, federation_id, plan)
    prepared = {"tensors": {}, "upload_bytes": 1}
    base = files.put(store, b"[]", "base")
    runs.begin(store, run_id, base=base, base_hash="0" * 64, initial=None, prepared=prepared)
    federations.remove_member(store, museum.id)
    with store.read() as session:
        assert session.get_one(Round, (run_id, 1)).selected == ["studio", "clinic"]
    assert events.since(store, federation_id, 0, 50)[-1].kind == "member removed"
