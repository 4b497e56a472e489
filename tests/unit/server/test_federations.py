"""Federations, members and events."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable

import pytest
from tests.unit.server.conftest import Clock, Machine

from fedflow.plan import Plan
from fedflow.server.database.tables import Round
from fedflow.server.errors import Conflict, Forbidden, NotFound, Unauthorised, Unprocessable
from fedflow.server.services import (
    accounts,
    audit,
    device_sign_in,
    devices,
    events,
    federation_changes,
    federations,
    files,
    identity,
    invitations,
    join_codes,
    member_names,
    role_changes,
    runs,
    tokens,
)
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.store import Store


def test_names_are_unique_and_pages_go_on(store: Store, federation_id: str, clock: Clock) -> None:
    made = [federations.create(store, name) for name in ("b", "a")]
    with pytest.raises(Conflict, match="there is a federation 'a' already"):
        federations.create(store, "a")
    page = federations.listed(store, SERVER, "", 2)
    assert [federation.id for federation in page] == [federation_id, made[0]]
    assert [federation.id for federation in federations.listed(store, SERVER, page[-1].id, 2)] == [made[1]]
    assert federations.first_federation(store) == federation_id


def test_a_federation_is_renamed(store: Store, federation_id: str) -> None:
    federations.create(store, "taken")
    federation_changes.rename(store, federation_id, "Museums of the north")
    assert federations.one(store, federation_id).name == "Museums of the north"
    with pytest.raises(Conflict, match="name: there is a federation 'taken' already"):
        federation_changes.rename(store, federation_id, "taken")
    with pytest.raises(Unprocessable, match="name: give 1 to 80 letters"):
        federation_changes.rename(store, federation_id, " \n")
    [entry] = audit.listed(store, action="federation renamed", before=2**62, limit=9)
    assert entry.facts == {"before": "federation", "name": "Museums of the north"}


def test_nothing_new_begins_in_a_closed_federation(
    store: Store, federation_id: str, machine: Machine, new_machine: Callable[[], Machine]
) -> None:
    kept = devices.new_code(store, federation_id, "studio", None, ttl_s=60)
    run = runs.create(store, federation_id, Plan(data={"clients": ["studio"]}))
    with pytest.raises(Conflict, match="is not over; stop it"):
        federation_changes.close(store, federation_id, closed=True)
    runs.stop(store, run)
    asked = device_sign_in.begin(store, "studio-2", "")
    invited = invitations.make(store, SERVER, federation_id, "participant", member="new")
    federation_changes.close(store, federation_id, closed=True)
    federation_changes.close(store, federation_id, closed=True)
    with pytest.raises(NotFound, match="no such join code"):
        new_machine().join(kept)
    with pytest.raises(Conflict, match="the federation is closed"):
        devices.new_code(store, federation_id, "studio", None, ttl_s=60)
    with pytest.raises(Conflict, match="the federation is closed"):
        runs.create(store, federation_id, Plan(data={"clients": ["studio"]}))
    with pytest.raises(Conflict, match="the federation is closed"):
        invitations.make(store, SERVER, federation_id, "participant", member="another")
    known = invitations.make(store, SERVER, federation_id, "participant", member="studio")
    seen = [invitations.seen(store, code) for code in (invited, known)]
    assert [(each.closed, each.held_up) for each in seen] == [(True, True), (True, False)]
    assert [each.held_up for each in invitations.listed(store, federation_id)] == [True, False]
    with pytest.raises(Conflict, match="the federation is closed"):
        accounts.register(store, "Pat", "pat@example.org", "violet tram eats seven maps", invited, "")
    boss = Caller("person", identity.FIRST, is_admin=True)
    with pytest.raises(Forbidden, match="you may let no device in there"):
        device_sign_in.approve(store, boss, asked.user_code, federation_id, "studio")
    assert machine.token()
    assert [member.name for member in federations.members(store, federation_id)] == ["studio"]
    federation_changes.close(store, federation_id, closed=False)
    new_machine().join(devices.new_code(store, federation_id, "another", None, ttl_s=60))
    done = [entry.action for entry in audit.listed(store, before=2**62, limit=100) if "federation" in entry.action]
    assert done == ["federation opened", "federation closed", "federation made"]


def test_a_federation_that_nothing_depends_on_is_deleted_with_its_roles_and_tokens(
    store: Store, federation_id: str, machine: Machine
) -> None:
    identity.first_coordinator(store)
    empty = federations.create(store, "typo")
    code = invitations.make(store, SERVER, empty, "administrator")
    person = accounts.register(store, "Ada", "ada@example.org", "violet tram eats seven maps", code, "")
    ada = Caller("person", person)
    tokens.make(store, ada, "script", ("read",), 60.0, empty)
    invitations.make(store, SERVER, empty, "viewer")
    devices.new_code(store, empty, "studio", None, ttl_s=60)
    federation_changes.delete(store, empty, ada)
    assert [each.name for each in federations.listed(store, SERVER, "", 9)] == ["federation"]
    assert tokens.listed(store, ada) == []
    assert audit.listed(store, action="federation deleted", before=2**62, limit=1)[0].facts == {"name": "typo"}
    with pytest.raises(Conflict, match="close it instead"):
        federation_changes.delete(store, federation_id, ada)
    assert federations.members(store, federation_id) != []


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


UNSEEN = ("\u200b", "studio\u200b", "studio\u200e", "Clinic \u202e123\u202c", "studio\u2028", "\u3164", "studio\u2800")


def test_a_members_name_is_seen_whole_and_is_one_however_it_is_composed(store: Store, federation_id: str) -> None:
    def code(member: str) -> str:
        return join_codes.make(store, federation_id, member, None, longest_s=60).member

    def invited(member: str) -> str:
        return invitations.make(store, SERVER, federation_id, "participant", member=member)

    with pytest.raises(Unprocessable, match="give 1 to 80 letters"):
        code("\ufb2c" * 80)  # three letters each when it is composed
    assert code("Müller") == unicodedata.normalize("NFC", "Müller")
    person = accounts.register(store, "Ada", "ada@example.org", "violet tram eats seven maps", invited("studio"), "")
    for given in UNSEEN:
        for give in (
            code,
            invited,
            lambda member: role_changes.give(store, SERVER, federation_id, person, "participant", member),
        ):
            with pytest.raises(Unprocessable, match="member: leave out characters that nobody sees, and those that tu"):
                give(given)
        for checked in (accounts.checked_name, federations.checked_name):
            with pytest.raises(Unprocessable, match="name: give 1 to 80 letters in one line"):
                checked(f"Ada\u200b {given}")
    apart = unicodedata.normalize("NFD", "MÜLLER")
    invited(apart)
    assert code(apart) == unicodedata.normalize("NFC", "Müller")
    assert code("مستشفى النور") == "مستشفى النور"


def test_a_member_of_before_there_was_a_rule_goes_on_under_its_name(store: Store, federation_id: str) -> None:
    apart = unicodedata.normalize("NFD", "Müller")
    for name in ("studio\u200b", apart):
        Machine(store).join(devices.new_code(store, federation_id, name, 10, ttl_s=60))
        assert join_codes.make(store, federation_id, name, None, longest_s=60).member == name
    assert join_codes.make(store, federation_id, "Studio", None, longest_s=60).member == "studio\u200b"
    plan = Plan.model_validate({"data": {"clients": ("studio\u200b", unicodedata.normalize("NFC", apart))}})
    run_id = runs.create(store, federation_id, plan)
    assert runs.plan(store, run_id).data.clients == ("studio\u200b", apart)
    twice = Plan.model_validate({"data": {"clients": (apart, unicodedata.normalize("NFC", apart))}})
    with pytest.raises(Unprocessable, match="is no member of the federation"):
        runs.create(store, federation_id, twice)
    assert member_names.is_alike("STUDIO", "studio\u200b")
