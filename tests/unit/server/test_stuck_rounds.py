"""A round that cannot close by itself says so wherever its run is shown, with what to do."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import update
from statements import counted
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import text_of
from tests.unit.server.run_setting import MEMBERS, Setting, adapter, plan_of, start

from fedflow.federation.protocol import Told
from fedflow.server.database.tables import Round
from fedflow.server.errors import Unprocessable
from fedflow.server.services import explain, overview, runs, standing
from fedflow.server.services.work import work_for
from fedflow.server.store import Store


def refuse(setting: Setting, member: str) -> None:
    with pytest.raises(Unprocessable):
        setting.hand_in(member, 1, adapter(1, size=1e6))


def stuck(setting: Setting) -> list[str]:
    """The runs that are stuck, as a list has them; each run itself says the same."""
    federation_id = setting.callers["a"].federation_id
    found = [each.run.id for each in overview.stalled_runs(setting.store, [str(federation_id)])]
    assert standing.standing(setting.store, setting.run).is_stuck == (setting.run in found)
    return found


def give_up(setting: Setting, member: str, doing: str) -> None:
    """Have its device say so, twice: the second call writes the first one down."""
    told = (Told(doing, setting.run, 1),)  # type: ignore[arg-type]
    work_for(setting.store, setting.callers[member], told)
    setting.store.clock.now += 10  # type: ignore[attr-defined]
    work_for(setting.store, setting.callers[member], told)


def test_a_round_is_stuck_where_too_few_updates_can_still_come(setting: Setting) -> None:
    assert stuck(setting) == []
    refuse(setting, "a")
    assert stuck(setting) == [], "the two others may still answer"
    refuse(setting, "b")
    assert stuck(setting) == [setting.run]
    told = explain.explain(setting.store, setting.run)
    assert "It cannot close by itself: it needs 2 updates. a will not answer in this round by itself" in told
    assert f"'fedflow run stop {setting.run}'" in told
    runs.pause(setting.store, setting.run)
    assert stuck(setting) == [], "a paused run is told as paused"


@pytest.mark.parametrize("doing", ["policy", "failed", "refused"])
def test_who_goes_without_the_round_does_not_answer_in_it(setting: Setting, doing: str) -> None:
    give_up(setting, "a", doing)
    assert stuck(setting) == []
    give_up(setting, "b", doing)
    assert stuck(setting) == [setting.run]


@pytest.mark.parametrize("doing", ["hours", "memory", "consent", "pictures", "training"])
def test_who_holds_back_for_now_may_still_answer(setting: Setting, doing: str) -> None:
    for member in MEMBERS:
        give_up(setting, member, doing)
    assert stuck(setting) == []


def test_a_round_with_its_quorum_is_not_stuck(setting: Setting) -> None:
    setting.hand_in("a", 1, adapter(1))
    setting.hand_in("b", 1, adapter(2))
    refuse(setting, "c")
    assert stuck(setting) == []


def test_a_round_whose_few_members_have_all_answered_is_stuck(setting: Setting) -> None:
    setting.hand_in("a", 1, adapter(1))
    with setting.store.begin() as session:
        session.execute(update(Round).where(Round.run_id == setting.run).values(selected=["a"]))
    assert stuck(setting) == [setting.run]


def test_the_page_the_lists_and_the_overview_say_it_and_what_to_do(app: Flask, setting: Setting, store: Store) -> None:
    site = Site.of(app, store)
    site.account("cora", "coordinator")
    site.account("vera", "viewer")
    cora, vera = site.reader("cora"), site.reader("vera")
    assert "Nothing waits for you" in text_of(cora.get("/").text)
    for member in MEMBERS:
        refuse(setting, member)
    page = cora.get(f"/runs/{setting.run}").text
    said = text_of(page)
    assert "test Stuck Round 1 of 2" in said.replace(" · ", " ")
    assert "The round cannot close by itself: it needs 2 updates" in said
    assert "Too few others are left to go on without them: stop the run" in said
    assert 'class="notice refused"' in page
    assert "View the members" not in said, "to remove some would leave too few"
    assert "with fewer it waits" not in said, "no deadline helps"
    first = text_of(cora.get("/").text)
    assert "1 thing waits for you" in first
    assert "test federation · is stuck in round 1" in first
    assert "Will not answer: a (its update was refused), b (its update was refused)" in first
    assert "test Stuck" in text_of(cora.get("/runs").text)
    assert "is stuck in round 1" in text_of(cora.get("/runs/stuck").text)
    seen = text_of(vera.get("/").text)
    assert "Nothing waits for you" in seen
    assert "test Stuck" in seen


def test_what_can_be_done_is_what_the_plan_allows(
    app: Flask, setting: Setting, store: Store, federation_id: str
) -> None:
    """Without a quorum a round wants all; two updates are joined where a coordinator says so."""
    site = Site.of(app, store)
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    wants_all = start(store, federation_id, setting.callers, plan_of(network={"deadline_s": 100.0}))
    refuse(wants_all, "c")
    assert stuck(wants_all) == [wants_all.run]
    said = text_of(cora.get(f"/runs/{wants_all.run}").text)
    assert "Remove from the federation whom the run is to go on without, or stop it" in said
    assert "View the members" in said
    site.account("vera", "viewer")
    assert "View the members" not in text_of(site.reader("vera").get(f"/runs/{wants_all.run}").text)
    assert "'fedflow server remove c', or stop the run by" in explain.explain(store, wants_all.run)
    wants_all.hand_in("a", 1, adapter(1))
    wants_all.hand_in("b", 1, adapter(2))
    assert stuck(wants_all) == [wants_all.run]
    said = text_of(cora.get(f"/runs/{wants_all.run}").text)
    assert "Close it now with what is in, or stop the run" in said
    assert "Close round now" in said
    assert "closes it now" in explain.explain(store, wants_all.run)
    runs.consent(store, setting.callers["b"], setting.run, False, 10, "")
    refuse(setting, "a")
    said = text_of(cora.get(f"/runs/{setting.run}").text)
    assert "Ask again who declined (b), or stop the run" in said
    assert "talk to its owner, or ask b again by 'fedflow run ask-again b'" in explain.explain(store, setting.run)


def test_stuck_runs_are_found_in_as_many_queries_however_many_they_are(
    store: Store, federation_id: str, setting: Setting
) -> None:
    for member in ("a", "b"):
        refuse(setting, member)
    with counted(store._reading) as one:
        assert len(overview.stalled_runs(store, [federation_id])) == 1
    for number in range(4):
        other = start(store, federation_id, setting.callers, plan_of(name=f"run {number}"))
        for member in ("a", "b"):
            refuse(other, member)
    with counted(store._reading) as many:
        assert len(overview.stalled_runs(store, [federation_id])) == 5
    assert len(many) == len(one)
