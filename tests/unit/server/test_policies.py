"""A federation's rules: set, audited, and held to when a run is planned and when a member joins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select
from tests.unit.server.conftest import Api, Clock, Machine
from tests.unit.server.run_setting import MEMBERS, Setting, adapter, plan_of

from fedflow.plan import Plan
from fedflow.server.database.people import AuditEntry, RoleName
from fedflow.server.database.tables import Score
from fedflow.server.errors import Conflict, NotFound, Unprocessable
from fedflow.server.services import (
    accounts,
    devices,
    federations,
    invitations,
    join_codes,
    policies,
    roles,
    run_view,
    runs,
    tokens,
)
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.policies import Policies
from fedflow.server.store import Store


def rule(store: Store, federation_id: str, group: str, **values: object) -> None:
    policies.change(store, federation_id, Policies.model_validate({group: values}))


def test_rules_are_kept_and_what_changed_is_audited(store: Store, federation_id: str) -> None:
    assert policies.read(store, federation_id) == Policies()
    rule(store, federation_id, "runs", most_rounds=5, allowed_methods=["fedit"])
    assert policies.read(store, federation_id).runs.most_rounds == 5
    rule(store, federation_id, "runs", most_rounds=7, allowed_methods=["fedit"])
    rule(store, federation_id, "runs", most_rounds=7, allowed_methods=["fedit"])
    with store.read() as session:
        entries = session.scalars(select(AuditEntry).where(AuditEntry.action == "rules changed")).all()
    assert [entry.facts for entry in entries] == [
        {"allowed_methods": [[], ["fedit"]], "most_rounds": [None, 5]},
        {"most_rounds": [5, 7]},
    ]
    for act in (lambda: policies.read(store, "nowhere"), lambda: rule(store, "nowhere", "runs", most_rounds=1)):
        with pytest.raises(NotFound):
            act()


@pytest.mark.parametrize(
    ("group", "values", "said"),
    [
        (
            "runs",
            {"allowed_models": ["sd-1.5", "sdxl"]},
            "model: .*allows the base models 'sd-1.5', 'sdxl', not 'starter'",
        ),
        ("runs", {"allowed_methods": ["fedit"]}, "method: .*allows the methods 'fedit', not 'fedex-lora'"),
        ("runs", {"most_rounds": 1}, "rounds: .*allows at most 1 rounds, and the plan has 2"),
        ("runs", {"least_members": 4}, "data.clients: .*at least 4 members in a run, and the plan has 3"),
        ("runs", {"least_updates": 3}, "network.quorum: .*at least 3 updates in a round, and this plan joins 2"),
        ("visibility", {"member_galleries": False}, "evaluation.clients: .*with one member's update alone"),
    ],
)
def test_a_plan_against_a_rule_starts_nothing(
    store: Store, federation_id: str, setting: Setting, group: str, values: dict[str, object], said: str
) -> None:
    assert setting.run
    rule(store, federation_id, group, **values)
    with pytest.raises(Unprocessable, match=f"{said}.*; .*have a coordinator change the rule"):
        runs.create(store, federation_id, plan_of())


def test_a_plan_within_all_rules_starts(store: Store, federation_id: str, setting: Setting) -> None:
    assert setting.run
    tight = {
        "allowed_models": ["starter"],
        "allowed_methods": ["fedex-lora"],
        "most_rounds": 2,
        "least_members": 3,
        "least_updates": 2,
    }
    policies.change(
        store, federation_id, Policies.model_validate({"runs": tight, "visibility": {"member_galleries": False}})
    )
    plan = plan_of(evaluation={"clients": False})
    assert policies.broken(policies.read(store, federation_id), plan) == {}
    assert runs.plan(store, runs.create(store, federation_id, plan)) == plan
    assert len(policies.broken(policies.read(store, federation_id), Plan(rounds=3, method="fedit"))) == 3


def test_no_more_members_than_the_rule_allows(
    store: Store, federation_id: str, machine: Machine, new_machine: Callable[[], Machine]
) -> None:
    rule(store, federation_id, "members", most_members=1)
    code = devices.new_code(store, federation_id, "museum", None, ttl_s=60)
    with pytest.raises(Conflict, match=r"allows at most 1 members, and it has 1; .*coordinator"):
        new_machine().join(code)
    new_machine().join(devices.new_code(store, federation_id, "studio", None, ttl_s=60))
    [studio] = federations.members(store, federation_id)
    federations.remove_member(store, studio.id)
    assert new_machine().join(code).member == "museum", "a refused code is not used up, and who left makes room"
    with pytest.raises(Conflict, match="allows at most 1 members"):
        new_machine().join(devices.new_code(store, federation_id, "studio", None, ttl_s=60))
    assert machine.device_id


def test_no_more_devices_than_the_rule_allows(
    store: Store, federation_id: str, machine: Machine, new_machine: Callable[[], Machine]
) -> None:
    rule(store, federation_id, "members", most_devices=1)
    code = devices.new_code(store, federation_id, "studio", None, ttl_s=60)
    with pytest.raises(Conflict, match="at most 1 devices of one member, and 'studio' has 1"):
        new_machine().join(code)
    devices.revoke(store, machine.device_id)
    assert new_machine().join(code).member == "studio"


def test_new_members_get_the_cap_and_codes_the_life_of_the_rules(
    store: Store, federation_id: str, clock: Clock, new_machine: Callable[[], Machine]
) -> None:
    rule(store, federation_id, "members", most_examples=77, join_code_life_hours=2)
    made = join_codes.make(store, federation_id, "museum", None, longest_s=86_400.0)
    assert made.expires_in_s == 7200.0
    assert join_codes.make(store, federation_id, "museum", None, longest_s=60.0).expires_in_s == 60.0
    new_machine().join(made.code)
    assert [each.max_examples for each in federations.members(store, federation_id)] == [77]
    clock.now += 61
    assert join_codes.open_codes(store, federation_id) == [], "used, and expired"


def test_codes_are_listed_and_withdrawn(
    store: Store, federation_id: str, clock: Clock, new_machine: Callable[[], Machine]
) -> None:
    first = join_codes.make(store, federation_id, "museum", 5, longest_s=60.0)
    clock.now += 1
    join_codes.make(store, federation_id, "clinic", 6, longest_s=60.0)
    listed = join_codes.open_codes(store, federation_id)
    assert [(each.member, each.max_examples) for each in listed] == [("clinic", 6), ("museum", 5)]
    other = federations.create(store, "other")
    with pytest.raises(NotFound, match="there is no such join code, or it was used"):
        join_codes.withdraw(store, other, listed[1].id)
    join_codes.withdraw(store, federation_id, listed[1].id)
    with pytest.raises(NotFound, match="no such join code"):
        new_machine().join(first.code)
    for name in ("a/b", ".x", "base", "alone-a", ""):
        with pytest.raises(Unprocessable, match="member: "):
            join_codes.make(store, federation_id, name, None, longest_s=60.0)


def test_viewers_are_told_no_example_counts_where_the_rule_says_so(
    app: Flask, store: Store, federation_id: str, setting: Setting
) -> None:
    def api(name: str, role: RoleName, federation: str = federation_id) -> Api:
        member = "a" if role == "participant" else None
        code = invitations.make(store, SERVER, federation, role, member=member)
        person = accounts.register(store, name, f"{name}@example.org", "violet tram eats seven maps", code, "")
        return Api(app.test_client(), tokens.make(store, Caller("person", person), "t", ("read",), 600.0))

    def told(who: Api) -> list[object]:
        """The counts of round 1's updates, of its figures, of the events, and of the model that came of it."""
        [first, *_] = who("GET", f"/api/v1/runs/{setting.run}/rounds").json["items"]
        figures = who("GET", f"/api/v1/runs/{setting.run}/scores").json["items"]
        events = who("GET", f"/api/v1/federations/{federation_id}/events").json["items"]
        [adapter] = who("GET", "/api/v1/adapters").json["items"]
        versions = who("GET", f"/api/v1/artifacts/{adapter['id']}/versions").json["items"]
        lineage = who("GET", f"/api/v1/versions/{versions[-1]['id']}/lineage").json["items"]
        return [
            first["accepted"]["a"],
            [(each["num_examples"], each["steps"], len(each["gallery"])) for each in figures],
            {each["facts"].get("num_examples") for each in events if each["kind"].startswith("consent")},
            versions[-1]["facts"]["members"]["a"],
            lineage[0]["version"]["facts"]["members"]["a"],
        ]

    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1), examples=7)
    setting.aggregate()
    picture, features = store.blobs.put(b"picture"), store.blobs.put(b"features")
    with store.begin() as session:
        for who, count in (("a", 7), ("aggregated", 21)):
            score = Score(run_id=setting.run, round=1, who=who, num_examples=count, steps=count, scored_at=0.0)
            score.fid = score.kid = score.kid_low = score.kid_high = score.seconds = 1.0
            score.extractor, score.resize, score.num_heldout, score.features = "x", "x", 1, features
            score.prompts, score.gallery = ["cat"], [picture]
            session.add(score)
    viewer, participant = api("vera", "viewer"), api("pete", "participant")
    everything = [7, [(7, 7, 1), (21, 21, 1)], {10}, 7, 7]
    assert told(viewer) == told(participant) == everything
    assert {line.num_examples for line in run_view.view(store, setting.run).participants} == {10}
    rule(store, federation_id, "visibility", example_counts=False)
    assert told(viewer) == [None, [(0, 0, 1), (21, 21, 1)], {None}, None, None]
    assert told(participant) == everything
    seen = run_view.view(store, setting.run, Caller("person", roles.holders(store, federation_id)[-1].person_id))
    assert {line.num_examples for line in seen.participants} == {None}, "vera's page"
    rule(store, federation_id, "visibility", member_galleries=False)
    assert told(participant)[1] == [(7, 7, 0), (21, 21, 1)]


def test_rules_are_read_and_set_by_the_api(coordinator: Api, federation_id: str, machine: Machine) -> None:
    path = f"/api/v1/federations/{federation_id}/policies"
    now = coordinator("GET", path).json
    assert (now["runs"]["most_rounds"], now["members"]["most_examples"]) == (None, 100_000)
    now["runs"]["most_rounds"] = 4
    assert coordinator("PUT", path, json=now).json == now == coordinator("GET", path).json
    for wrong in ({"runs": {"most_rounds": 0}}, {"rounds": 1}, {"runs": {"allowed_methods": ["magic"]}}):
        assert coordinator("PUT", path, json=wrong).status_code == 422
    plan = {"data": {"clients": ["studio"]}, "rounds": 5}
    answer = coordinator("POST", "/api/v1/runs", json={"federation_id": federation_id, "plan": plan})
    assert answer.status_code == 422
    assert "allows at most 4 rounds, and the plan has 5" in answer.json["error"]["message"]
    codes = f"/api/v1/federations/{federation_id}/codes"
    assert coordinator("POST", codes, json={"member": "museum"}).status_code == 201
    [code] = coordinator("GET", codes).json["items"]
    assert (code["member"], code["max_examples"]) == ("museum", 100_000)
    assert coordinator("DELETE", f"{codes}/{code['id']}").status_code == 204
    assert coordinator("DELETE", f"{codes}/{code['id']}").status_code == 404
    [member] = coordinator("GET", f"/api/v1/federations/{federation_id}/members").json["items"]
    assert coordinator("PATCH", f"/api/v1/members/{member['id']}", json={"max_examples": 9}).status_code == 204
    assert coordinator("PATCH", f"/api/v1/members/{member['id']}", json={"max_examples": 0}).status_code == 422
    [member] = coordinator("GET", f"/api/v1/federations/{federation_id}/members").json["items"]
    assert member["max_examples"] == 9
    assert machine.device_id
