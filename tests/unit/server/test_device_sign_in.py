"""A machine without a join code: a person who signs in lets it in, as themselves may, and nobody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from tests.unit.server.conftest import Api, Clock, Machine
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import faults, told

from fedflow.federation.protocol import API, SignInBegun
from fedflow.server.database.people import RoleName
from fedflow.server.errors import Forbidden, Gone, NotFound, Unprocessable
from fedflow.server.services import audit, device_sign_in, devices, federations, identity, join_codes, policies
from fedflow.server.services.identity import Caller
from fedflow.server.services.policies import Policies
from fedflow.server.store import Store

As = Callable[[str, RoleName], Caller]


@pytest.fixture
def person(app: Flask, store: Store) -> As:
    """Somebody with an account; a participant acts for the member 'studio'."""
    site = Site.of(app, store)

    def made(name: str, role: RoleName) -> Caller:
        return Caller("person", site.account(name, role), name=name, via="sign-in", scopes=frozenset(identity.SCOPES))

    return made


def begun(store: Store) -> SignInBegun:
    return device_sign_in.begin(store, "studio-pc", "192.0.2.7")


def test_a_participant_lets_in_a_machine_of_the_member_they_act_for(
    store: Store, federation_id: str, person: As
) -> None:
    ann, asked = person("ann", "participant"), begun(store)
    assert device_sign_in.state(store, asked.code).state == "waiting"
    with pytest.raises(NotFound, match="no such join code"):
        Machine(store).join(asked.code)
    found = device_sign_in.approve(store, ann, asked.user_code.lower().replace("-", " "), federation_id)
    assert (found.device, found.address) == ("studio-pc", "192.0.2.7")
    state = device_sign_in.state(store, asked.code)
    assert (state.state, state.federation, state.member) == ("approved", "federation", "studio")
    joined = Machine(store).join(asked.code)
    assert (joined.member, joined.federation_id) == ("studio", federation_id)
    [entry] = audit.listed(store, action="join code made", before=1_000, limit=2)
    assert (entry.actor, entry.facts["device"], entry.facts["member"]) == ("ann", "studio-pc", "studio")
    assert device_sign_in.state(store, asked.code).state == "approved", "the answer was lost, and it asks again"


def test_who_may_let_in_what(store: Store, federation_id: str, person: As) -> None:
    ann, vic, cora = person("ann", "participant"), person("vic", "viewer"), person("cora", "coordinator")
    code = begun(store).user_code
    with pytest.raises(Forbidden, match="you act for 'studio' there"):
        device_sign_in.approve(store, ann, code, federation_id, "museum")
    with pytest.raises(Forbidden, match="you may let no device in there"):
        device_sign_in.approve(store, vic, code, federation_id)
    with pytest.raises(Forbidden, match="you may let no device in there"):
        device_sign_in.approve(store, ann, code, federations.create(store, "other"))
    with pytest.raises(Unprocessable, match="name the organisation"):
        device_sign_in.approve(store, cora, code, federation_id)
    with pytest.raises(Unprocessable, match="member: "):
        device_sign_in.approve(store, cora, code, federation_id, "a/b")
    assert device_sign_in.choices(store, vic) == []
    device_sign_in.approve(store, cora, code, federation_id, " STUDIO ")
    [opened] = join_codes.open_codes(store, federation_id)
    assert opened.member == "studio", "it is the member that is there"


def test_another_member_that_is_called_alike_gets_no_device(store: Store, federation_id: str, person: As) -> None:
    ann, asked = person("ann", "participant"), begun(store)
    Machine(store).join(devices.new_code(store, federation_id, "studio\u200b", 10, ttl_s=60))
    device_sign_in.approve(store, ann, asked.user_code, federation_id, "studio\u200b")
    assert device_sign_in.state(store, asked.code).member == "studio"


def test_a_rule_leaves_it_to_the_coordinators(store: Store, federation_id: str, person: As) -> None:
    ann, cora = person("ann", "participant"), person("cora", "coordinator")
    rules = Policies.model_validate({"members": {"own_devices": False}})
    policies.change(store, federation_id, rules)
    assert device_sign_in.choices(store, ann) == []
    with pytest.raises(Forbidden, match="ask its coordinator"):
        device_sign_in.approve(store, ann, begun(store).user_code, federation_id)
    device_sign_in.approve(store, cora, begun(store).user_code, federation_id, "studio")


def test_a_member_that_was_removed_lets_nothing_in(store: Store, federation_id: str, person: As) -> None:
    ann = person("ann", "participant")
    [studio] = federations.members(store, federation_id)
    federations.remove_member(store, studio.id)
    with pytest.raises(Forbidden, match="you may let no device in there"):
        device_sign_in.approve(store, ann, begun(store).user_code, federation_id)


def test_a_code_is_answered_once_and_in_time(store: Store, clock: Clock, federation_id: str, person: As) -> None:
    ann, refused, late, early = person("ann", "participant"), begun(store), begun(store), begun(store)
    device_sign_in.refuse(store, refused.user_code)
    assert device_sign_in.state(store, refused.code).state == "refused"
    with pytest.raises(NotFound):
        device_sign_in.approve(store, ann, refused.user_code, federation_id)
    device_sign_in.approve(store, ann, early.user_code, federation_id)
    clock.now += device_sign_in.LIFE_S
    with pytest.raises(Gone, match="begin to sign in anew"):
        device_sign_in.state(store, late.code)
    with pytest.raises(NotFound):
        device_sign_in.approve(store, ann, late.user_code, federation_id)
    with pytest.raises(Gone, match="the join code has expired"):
        Machine(store).join(early.code)
    begun(store)
    with pytest.raises(NotFound, match="no device waits with this code"):
        device_sign_in.state(store, late.code)


def test_no_secret_lies_in_the_database(store: Store) -> None:
    asked = begun(store)
    with store.read() as session:
        rows = session.connection().exec_driver_sql("SELECT * FROM device_sign_in").all()
    assert asked.user_code in str(rows)
    assert asked.code not in str(rows)
    assert asked.code.replace("-", "") not in str(rows)
    assert devices.code_hash(asked.code) in str(rows)


def test_the_way_through_api_and_pages(app: Flask, store: Store, anyone: Api) -> None:
    site = Site.of(app, store)
    site.account("ann", "participant")
    asked = anyone("POST", f"{API}/sign-ins", json={"device_name": "studio-pc"}).get_json()
    question = {"code": asked["code"]}
    assert anyone("POST", f"{API}/sign-ins/state", json=question).get_json()["state"] == "waiting"
    path = f"/device?code={asked['user_code']}"
    stranger = site.reader()
    away = stranger.get(path)
    assert away.status_code == 303
    assert away.headers["Location"].startswith("/sign-in?next=/device")
    assert stranger.post("/device", {"code": asked["user_code"], "federation": site.federation_id}).status_code == 401
    ann = site.reader("ann")
    page = told(ann.get(path))
    assert asked["user_code"] in page
    assert "studio-pc" in page
    assert "Let it in only if" in page
    wrong = ann.post("/device", {"code": asked["user_code"], "federation": "none"})
    assert "You may not let a machine in there." in faults(wrong)["federation"]
    done = ann.post("/device", {"code": asked["user_code"], "federation": site.federation_id})
    assert done.status_code == 303
    assert "“studio-pc” is let in" in told(ann.get("/device"))
    state = anyone("POST", f"{API}/sign-ins/state", json=question).get_json()
    assert state == {"state": "approved", "federation": "federation", "member": "studio"}
    assert "No machine waits with this code." in faults(ann.get(path))["code"]
    other = anyone("POST", f"{API}/sign-ins", json={"device_name": "b"}).get_json()
    assert ann.post("/device/refuse", {"code": other["user_code"]}).status_code == 303
    assert anyone("POST", f"{API}/sign-ins/state", json={"code": other["code"]}).get_json()["state"] == "refused"
