"""The rounds' logic: selection, assignment, acceptance, closing, commit."""

from __future__ import annotations

import pytest

from fedflow.errors import RunError, UpdateError
from fedflow.federation import rounds
from fedflow.federation.rounds import GlobalState, Phase, Receipt, Rules, RunState

CLIENTS = ("a", "b", "c", "d")
ALL = Rules(rounds=2, clients_per_round=4, quorum=3)


def started() -> RunState:
    return rounds.start("run", CLIENTS, ALL, seed=1, initial=GlobalState("h0"))


def answered(state: RunState, *clients: str) -> RunState:
    for client in clients:
        state = rounds.accept(state, Receipt(client, state.round, f"update-{client}", 10))
    return state


def test_all_are_selected_in_the_federations_order() -> None:
    assert started().selected == CLIENTS


def test_a_draw_depends_on_seed_and_round_alone() -> None:
    rules = Rules(rounds=9, clients_per_round=2, quorum=2)
    draws = [rounds.select(CLIENTS, rules, 1, number) for number in range(1, 10)]
    assert draws == [rounds.select(CLIENTS, rules, 1, number) for number in range(1, 10)]
    assert all(len(draw) == 2 and list(draw) == sorted(draw) for draw in draws)
    assert len(set(draws)) > 1
    assert draws != [rounds.select(CLIENTS, rules, 2, number) for number in range(1, 10)]


def test_an_assignment_holds_all_residuals_of_the_run() -> None:
    state = rounds.start("run", CLIENTS, ALL, 1, GlobalState("h2", ("r1", "r2")))
    assert rounds.assignment(state, "a").residuals == ("r1", "r2")
    with pytest.raises(UpdateError, match="'z' is not selected"):
        rounds.assignment(state, "z")


def test_the_same_answer_twice_changes_nothing_and_another_one_is_refused() -> None:
    state = answered(started(), "a")
    assert answered(state, "a") == state
    with pytest.raises(UpdateError, match="already"):
        rounds.accept(state, Receipt("a", 1, "other", 10))


@pytest.mark.parametrize("count", [0, -1, 2.5, True, "20"])
def test_a_forged_example_count_is_refused(count: object) -> None:
    with pytest.raises(UpdateError, match="example count"):
        rounds.accept(started(), Receipt("a", 1, "u", count))  # type: ignore[arg-type]


def test_answers_for_another_round_or_from_strangers_are_refused() -> None:
    with pytest.raises(UpdateError, match="answer for round 2, but round 1"):
        rounds.accept(started(), Receipt("a", 2, "u", 10))
    with pytest.raises(UpdateError, match="'z' was not asked"):
        rounds.accept(started(), Receipt("z", 1, "u", 10))


def test_a_round_closes_when_all_answered_or_at_the_deadline_with_a_quorum() -> None:
    two, three, four = (answered(started(), *CLIENTS[:count]) for count in (2, 3, 4))
    assert [rounds.may_close(state, ALL, deadline_passed=False) for state in (two, three, four)] == [False, False, True]
    assert [rounds.may_close(state, ALL, deadline_passed=True) for state in (two, three, four)] == [False, True, True]
    assert rounds.missing(three) == ("d",)


def test_receipts_come_in_the_federations_order_however_they_arrived() -> None:
    _, receipts = rounds.close(answered(started(), "d", "b", "a", "c"))
    assert [receipt.client for receipt in receipts] == ["a", "b", "c", "d"]


def test_a_closed_round_takes_no_answer() -> None:
    closed, _ = rounds.close(answered(started(), "a", "b", "c"))
    with pytest.raises(UpdateError, match="aggregating"):
        rounds.accept(closed, Receipt("d", 1, "u", 10))


def test_commit_leads_to_the_next_round_and_at_the_end_to_done() -> None:
    closed, _ = rounds.close(answered(started(), *CLIENTS))
    second = rounds.commit(closed, CLIENTS, ALL, 1, "h1", "r1")
    assert (second.round, second.phase, second.accepted) == (2, Phase.COLLECTING, {})
    assert second.model == GlobalState("h1", ("r1",))
    closed, _ = rounds.close(answered(second, *CLIENTS))
    done = rounds.commit(closed, CLIENTS, ALL, 1, "h2", None)
    assert (done.phase, done.model) == (Phase.DONE, GlobalState("h2", ("r1",)))


def test_moves_that_the_table_does_not_have_are_refused() -> None:
    with pytest.raises(RunError, match="no move from 'collecting' to 'collecting'"):
        rounds.commit(started(), CLIENTS, ALL, 1, "h1", None)


def test_over_selection_asks_more_and_closes_with_what_the_round_wants() -> None:
    rules = Rules(rounds=2, clients_per_round=2, quorum=1, over_selection=1.5)
    state = rounds.start("run", CLIENTS, rules, 1, GlobalState("h0"))
    assert len(state.selected) == 3
    one = answered(state, state.selected[2])
    assert not rounds.may_close(one, rules, deadline_passed=False)
    assert rounds.may_close(one, rules, deadline_passed=True)
    two = answered(one, state.selected[0])
    assert rounds.may_close(two, rules, deadline_passed=False)
    _, receipts = rounds.close(two)
    assert [receipt.client for receipt in receipts] == [state.selected[0], state.selected[2]]


def test_a_round_without_an_answer_never_closes() -> None:
    assert not rounds.may_close(started(), ALL, deadline_passed=True)


def test_who_leaves_is_waited_for_no_more_and_what_it_gave_stays() -> None:
    state = answered(started(), "a", "b", "c")
    assert rounds.leave(state, "a") == state
    assert rounds.may_close(rounds.leave(state, "d"), ALL, deadline_passed=False)


@pytest.mark.parametrize(
    ("before", "after"), [("done", "running"), ("stopped", "running"), ("preparing", "done"), ("failed", "done")]
)
def test_a_run_makes_no_move_that_is_not_in_the_table(before: str, after: str) -> None:
    with pytest.raises(RunError, match=f"is {before} and cannot become {after}"):
        rounds.check_status_move("run", rounds.Status(before), rounds.Status(after))
    rounds.check_status_move("run", rounds.Status.RUNNING, rounds.Status.PAUSED)
