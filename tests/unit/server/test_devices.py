"""Joining, tokens and shutting out: who gets in, once, for how long, and who at once no more."""

from __future__ import annotations

import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from tests.unit.server.conftest import Clock, Machine

from fedflow.errors import StorageError
from fedflow.federation.protocol import JoinRequest, TokenRequest
from fedflow.server.database.people import PersonToken
from fedflow.server.database.tables import Challenge, Device, DeviceToken, JoinCode
from fedflow.server.errors import ApiError, Conflict, Forbidden, Gone, NotFound, Unauthorised, Unprocessable
from fedflow.server.services import audit, devices, events, federations, identity, tokens
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store


def test_a_machine_joins_and_is_known_by_its_token(store: Store, federation_id: str, code: str) -> None:
    machine = Machine(store)
    joined = machine.join(code)
    assert (joined.member, joined.federation, joined.federation_id) == ("studio", "federation", federation_id)
    [member] = federations.members(store, federation_id)
    caller = identity.authenticate(store, machine.token())
    assert caller == Caller("device", joined.device_id, federation_id, member.id, "studio", name="studio-pc", via="key")
    assert member.max_examples == 500
    assert [(device.id, device.name, device.revoked) for device in member.devices] == [
        (joined.device_id, "studio-pc", False)
    ]
    [event] = events.since(store, federation_id, 0, 10)
    assert (event.kind, event.facts) == ("device joined", {"member": "studio", "device": "studio-pc"})


def test_a_code_is_read_as_people_write_it(store: Store, code: str) -> None:
    assert len(code) == 19
    Machine(store).join(f" {code.replace('-', '').lower().replace('0', 'o').replace('1', 'l')} ")


def test_a_code_serves_one_machine(store: Store, code: str) -> None:
    machine = Machine(store)
    joined = machine.join(code)
    assert machine.join(code) == joined, "the answer was lost, and the machine asks again"
    with pytest.raises(Gone, match="used already; ask the coordinator for another"):
        Machine(store).join(code)


def test_of_two_machines_at_once_one_joins(store: Store, code: str, federation_id: str) -> None:
    def attempt(_: int) -> str:
        try:
            Machine(store).join(code)
        except Gone:
            return "refused"
        return "joined"

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(attempt, range(4))) == ["joined", "refused", "refused", "refused"]
    assert [len(member.devices) for member in federations.members(store, federation_id)] == [1]


def test_an_old_code_is_gone(store: Store, code: str, clock: Clock) -> None:
    clock.now += 3600
    with pytest.raises(Gone, match="expired"):
        Machine(store).join(code)


def test_unknown_codes_and_keys_that_are_none(store: Store, code: str) -> None:
    with pytest.raises(NotFound, match="no such join code"):
        Machine(store).join("0000-0000-0000-0000")
    for key, message in ((base64.b64encode(bytes(31)).decode(), "31 bytes"), ("!" * 44, "not base64")):
        request = JoinRequest.model_construct(code=code, device_name="a", public_key=key, version="1")
        with pytest.raises(Unprocessable, match=message):
            devices.join(store, request)
    Machine(store).join(code)  # the refusals used nothing up


def test_one_key_is_one_device(store: Store, federation_id: str, machine: Machine) -> None:
    other = devices.new_code(store, federation_id, "museum", 10, ttl_s=60)
    with pytest.raises(Conflict, match="has joined as 'studio' already"):
        machine.join(other)
    devices.revoke(store, machine.device_id)
    assert machine.join(other).member == "museum"


def test_neither_code_nor_token_is_in_the_database(store: Store, code: str, machine: Machine) -> None:
    token = machine.token()
    with store.read() as session:
        kept = [*session.scalars(select(JoinCode.hash)), *session.scalars(select(DeviceToken.hash))]
    assert [len(digest) for digest in kept] == [64, 64]
    assert not {code, code.replace("-", ""), token} & set(kept)


def test_a_challenge_serves_once(store: Store, machine: Machine) -> None:
    nonce = devices.challenge(store, machine.device_id).nonce
    wrong = TokenRequest(device_id=machine.device_id, nonce=nonce, signature=base64.b64encode(bytes(64)).decode())
    with pytest.raises(Unauthorised, match="not by the key of device 'studio-pc'"):
        devices.token(store, wrong)
    with pytest.raises(Unauthorised, match="unknown, used or expired"):
        devices.token(store, machine.signed(nonce))


def test_a_challenge_is_for_one_device(store: Store, federation_id: str, machine: Machine) -> None:
    other = Machine(store)
    other.join(devices.new_code(store, federation_id, "museum", 10, ttl_s=60))
    nonce = devices.challenge(store, machine.device_id).nonce
    with pytest.raises(Unauthorised, match="unknown, used or expired"):
        devices.token(store, other.signed(nonce))


def test_challenges_expire_and_are_dropped(store: Store, machine: Machine, clock: Clock) -> None:
    nonce = devices.challenge(store, machine.device_id).nonce
    clock.now += 60
    with pytest.raises(Unauthorised, match="unknown, used or expired"):
        devices.token(store, machine.signed(nonce))
    devices.challenge(store, machine.device_id)
    clock.now += 60
    devices.challenge(store, machine.device_id)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Challenge)) == 1


def test_tokens_expire_and_are_dropped(store: Store, machine: Machine, clock: Clock) -> None:
    token = machine.token()
    clock.now += 899
    identity.authenticate(store, token)
    clock.now += 1
    with pytest.raises(Unauthorised, match="the token has expired; get a new one with the device's key"):
        identity.authenticate(store, token)
    machine.token()
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(DeviceToken)) == 1
        assert session.get_one(Device, machine.device_id).seen_at == clock.now


def test_calls_are_written_together_every_few_seconds(
    store: Store, machine: Machine, new_machine: Callable[[], Machine], federation_id: str, clock: Clock
) -> None:
    other = new_machine()
    other.join(devices.new_code(store, federation_id, "another", 10, ttl_s=60))
    joined_at = clock.now

    def seen() -> list[float]:
        with store.read() as session:
            return [session.get_one(Device, each.device_id).seen_at - joined_at for each in (machine, other)]

    for device, after_s, written in (
        (machine, 10.0, [10.0, 0.0]),
        (machine, 1.0, [10.0, 0.0]),
        (other, 1.0, [10.0, 0.0]),
        (machine, 3.0, [15.0, 12.0]),
    ):
        clock.now += after_s
        devices.seen(store, device.device_id, ())
        assert seen() == written


def test_a_revoked_device_is_out_at_once(store: Store, federation_id: str, machine: Machine) -> None:
    token = machine.token()
    nonce = devices.challenge(store, machine.device_id).nonce
    devices.revoke(store, machine.device_id)
    devices.revoke(store, machine.device_id)
    with pytest.raises(Unauthorised):
        identity.authenticate(store, token)
    for attempt in (
        lambda: devices.token(store, machine.signed(nonce)),
        lambda: devices.challenge(store, machine.device_id),
    ):
        with pytest.raises(Forbidden, match="'studio-pc' was revoked; ask the coordinator for a new join code"):
            attempt()
    kinds = [event.kind for event in events.since(store, federation_id, 0, 10)]
    assert kinds == ["device joined", "device revoked"], "the second revocation changed nothing"


def test_a_token_dies_with_its_device_even_if_its_row_stays(store: Store, machine: Machine) -> None:
    token = machine.token()
    with store.begin() as session:
        session.execute(update(Device).values(revoked_at=1.0))
    with pytest.raises(Unauthorised, match="'studio-pc' was revoked"):
        identity.authenticate(store, token)


def test_what_is_not_there(store: Store) -> None:
    for attempt in (
        lambda: devices.revoke(store, "nobody"),
        lambda: devices.challenge(store, "nobody"),
        lambda: devices.new_code(store, "nowhere", "studio", 1, ttl_s=60),
    ):
        with pytest.raises(NotFound):
            attempt()


@pytest.mark.parametrize("token", ["", "ffd_", "ffp_", "ffd_unknown", "ffp_unknown", "\ud800", "ffd_" + "x" * 100_000])
def test_unknown_tokens(store: Store, machine: Machine, token: str) -> None:
    with pytest.raises(Unauthorised):
        identity.authenticate(store, token)


def test_a_new_token_ends_the_old_one(store: Store) -> None:
    old = identity.first_coordinator(store)
    assert old is not None
    for _ in range(2):
        tokens.renew_first(store)
        with pytest.raises(Unauthorised, match="unknown or was revoked"):
            identity.authenticate(store, old)
        old = (store.folder / identity.TOKEN_FILE).read_text().strip()
        assert identity.authenticate(store, old).kind == "person"
        [entry] = audit.listed(store, before=2**62, limit=1)
        told = (entry.action, entry.actor, entry.via, entry.object_id, entry.facts)
        assert told == ("coordinator token renewed", "server", "command line", identity.FIRST, {"ended": 1})
    assert audit.verify(store).faults == ()


def test_the_first_coordinator_is_made_once(store: Store) -> None:
    token = identity.first_coordinator(store)
    assert token is not None
    assert identity.first_coordinator(store) is None
    path = store.folder / "coordinator.token"
    assert path.read_text() == token + "\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert identity.authenticate(store, token).kind == "person"
    with store.begin() as session:
        session.execute(update(PersonToken).values(revoked_at=1.0))
    with pytest.raises(Unauthorised, match="unknown or was revoked"):
        identity.authenticate(store, token)


def test_of_processes_that_start_at_once_one_makes_the_coordinator(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        tokens = [token for token in pool.map(lambda _: identity.first_coordinator(store), range(4)) if token]
    assert len(tokens) == 1
    assert (store.folder / "coordinator.token").read_text() == tokens[0] + "\n"


def test_a_coordinator_whose_token_cannot_be_kept_is_not_made(store: Store) -> None:
    (store.folder / "coordinator.token").mkdir()
    (store.folder / "coordinator.token" / "in-the-way").touch()
    with pytest.raises(StorageError, match=r"coordinator\.token: cannot be written"):
        identity.first_coordinator(store)
    assert not list(Path(store.folder).glob(".*.partial"))
    (store.folder / "coordinator.token" / "in-the-way").unlink()
    (store.folder / "coordinator.token").rmdir()
    assert identity.first_coordinator(store) is not None


def test_every_refusal_is_one_line(store: Store, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        Machine(store).join("0000-0000-0000-0000")
    assert "\n" not in str(caught.value)
