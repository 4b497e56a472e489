"""A run as its page shows it, in every state that its participants may be in."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from statements import counted
from tests.unit.server.run_setting import DEADLINE_S, MEMBERS, Setting, adapter

from fedflow.federation.protocol import Told
from fedflow.server.errors import NotFound, Unprocessable
from fedflow.server.services import federations, run_view, runs, uploads
from fedflow.server.services.explain import explain
from fedflow.server.services.members import SEEN_S
from fedflow.server.services.run_view import ParticipantLine, RunView
from fedflow.server.services.standing import SENDING_S, standing
from fedflow.server.services.work import work_for
from fedflow.server.store import Store


def seen(setting: Setting) -> RunView:
    return run_view.view(setting.store, setting.run)


def line_of(setting: Setting, member: str) -> ParticipantLine:
    return next(line for line in seen(setting).participants if line.member == member)


def test_a_round_that_collects(setting: Setting, clock: Any) -> None:
    clock.now += 10
    assert {line.state for line in seen(setting).participants} == {"waits"}
    for member in MEMBERS:
        setting.work(member)
    shown = seen(setting)
    assert [(node.number, node.state) for node in shown.rounds] == [(1, "collecting"), (2, "to come")]
    assert [line.member for line in shown.participants] == list(MEMBERS)
    assert {line.state for line in shown.participants} == {"training"}
    assert {line.num_examples for line in shown.participants} == {10}
    assert shown.deadline_s == DEADLINE_S - 10
    assert shown.standing.selected == 3


def test_what_participants_do_is_told_one_by_one(setting: Setting, clock: Any) -> None:
    store, callers = setting.store, setting.callers
    work_for(store, callers["a"], (Told("training", setting.run, 1),))
    clock.now += 10
    work_for(store, callers["b"], (Told("hours", setting.run, 1),))
    assert (line_of(setting, "a").state, line_of(setting, "a").seen_s) == ("training", 10.0)
    assert (line_of(setting, "b").state, line_of(setting, "b").doing) == ("holds back", "hours")
    clock.now += 2 * SEEN_S
    uploads.create(store, callers["b"], 1000, f"run {b64encode(b'another').decode()},round MQ==", 10**9, 1e6)
    assert line_of(setting, "b").state == "holds back", "it sends for another run"
    uploads.create(store, callers["a"], 1000, f"run {b64encode(setting.run.encode()).decode()}", 10**9, 1e6)
    sending = line_of(setting, "a")
    assert (sending.state, sending.sent_bytes, sending.of_bytes) == ("sending", 0, 1000)
    assert (sending.seen_s, sending.byte_s) == (0.0, 0.0), "what sends is there, though it calls for nothing meanwhile"
    its, *others = standing(store, setting.run).waits
    assert (its.sending, its.is_offline, [each.sending for each in others]) == ((0, 1000), False, [None, None])
    assert "a (last seen 0 s ago; it is sending its update, 0 of 1,000 bytes are here)" in explain(store, setting.run)
    clock.now += 2 * SENDING_S
    assert line_of(setting, "a").state == "training", "an upload that lies still is none"
    setting.hand_in("a", 1, adapter(1), examples=7)
    assert (line_of(setting, "a").state, line_of(setting, "a").num_examples) == ("answered", 7)
    with pytest.raises(Unprocessable):
        setting.hand_in("c", 1, adapter(2, size=1e6))
    refused = line_of(setting, "c")
    assert refused.state == "refused"
    assert "norm" in (refused.reason or "")
    runs.stop(store, setting.run)
    assert line_of(setting, "c").state == "refused", "what is over says why it had no update of hers"


def test_who_declined_or_was_removed_is_still_shown(setting: Setting) -> None:
    runs.consent(setting.store, setting.callers["b"], setting.run, False, 1, "")
    removed = next(each for each in federations.members(setting.store, seen(setting).federation_id) if each.name == "c")
    federations.remove_member(setting.store, removed.id)
    assert [line.state for line in seen(setting).participants] == ["waits", "declined", "removed"]


def test_committed_rounds_have_their_figures(setting: Setting) -> None:
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    assert seen(setting).rounds[0].state == "aggregating"
    setting.aggregate()
    first, second = seen(setting).rounds
    assert (first.state, first.accepted, first.selected, second.state) == ("done", 3, 3, "collecting")
    assert first.report is not None
    assert first.report["bytes_up"] == 3 * len(adapter(1))
    assert {line.state for line in seen(setting).participants} == {"waits"}, "a new round, a new question"


def test_the_number_of_queries_does_not_grow_with_rounds(setting: Setting) -> None:
    with counted(setting.store._reading) as before:
        seen(setting)
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    setting.aggregate()
    with counted(setting.store._reading) as after:
        seen(setting)
    assert 0 < len(before) <= 17
    assert len(after) <= len(before)


def test_no_run_is_no_page(store: Store) -> None:
    with pytest.raises(NotFound):
        run_view.view(store, "nothing")
