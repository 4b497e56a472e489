"""The participant's side: the base is brought up to date, then training, then the answer."""

from __future__ import annotations

from fedflow.federation import rounds
from fedflow.federation.participant import bring_up_to_date, take_part
from fedflow.federation.rounds import Assignment, GlobalState, Merged, Receipt, Rules


class Recorder:
    """A base whose frozen weight is the sum of what was merged."""

    def __init__(self) -> None:
        self.merged: tuple[str, ...] = ()
        self.resets = 0
        self.begun_with: str | None = None

    def reset(self) -> None:
        self.merged = ()
        self.resets += 1

    def merge(self, residual: str) -> None:
        self.merged = (*self.merged, residual)

    def begin_with(self, weights: str, residuals: tuple[str, ...]) -> None:
        self.begun_with = weights
        self.merged = residuals


def test_a_base_that_lacks_many_residuals_begins_with_merged_weights() -> None:
    base = Recorder()
    bring_up_to_date(base, ("r1", "r2", "r3"), Merged("w2", 2))
    assert (base.merged, base.begun_with, base.resets) == (("r1", "r2", "r3"), "w2", 0)


def test_merged_weights_that_hold_no_more_than_the_base_are_left_alone() -> None:
    base = Recorder()
    bring_up_to_date(base, ("r1", "r2"))
    bring_up_to_date(base, ("r1", "r2", "r3"), Merged("w2", 2))
    assert (base.merged, base.begun_with) == (("r1", "r2", "r3"), None)


def test_merged_weights_of_more_residuals_than_asked_for_are_left_alone() -> None:
    base = Recorder()
    bring_up_to_date(base, ("r1",), Merged("w2", 2))
    assert (base.merged, base.begun_with) == (("r1",), None)


def test_only_what_is_lacking_is_merged() -> None:
    base = Recorder()
    bring_up_to_date(base, ("r1",))
    bring_up_to_date(base, ("r1", "r2", "r3"))
    assert (base.merged, base.resets) == (("r1", "r2", "r3"), 0)


def test_a_base_with_other_or_newer_residuals_starts_again() -> None:
    base = Recorder()
    bring_up_to_date(base, ("r1", "r2"))
    bring_up_to_date(base, ("r1",))
    assert (base.merged, base.resets) == (("r1",), 1)
    bring_up_to_date(base, ("x",))
    assert (base.merged, base.resets) == (("x",), 2)


def test_taking_part_trains_on_the_base_that_the_round_asks_for() -> None:
    base = Recorder()
    seen: list[tuple[str | None, int, tuple[str, ...]]] = []

    def train(adapter: str | None, number: int) -> tuple[str, int]:
        seen.append((adapter, number, base.merged))
        return "update", 40

    receipt = take_part(Assignment("studio", 2, "global", ("r1",)), base, train)
    assert receipt == Receipt("studio", 2, "update", 40)
    assert seen == [("global", 2, ("r1",))]


def test_both_halves_together_keep_the_base_of_a_client_that_misses_rounds() -> None:
    rules = Rules(rounds=4, clients_per_round=2, quorum=1)
    state = rounds.start("run", ("a", "b"), rules, 1, GlobalState("h0"))
    bases = {"a": Recorder(), "b": Recorder()}
    for number in (1, 2, 3):
        for client, base in bases.items():
            if client == "a" or number == 3:  # b sleeps for two rounds
                take_part(rounds.assignment(state, client), base, lambda *_: ("update", 1))
                assert base.merged == state.model.residuals
        state = rounds.accept(state, Receipt("a", number, f"update {number}", 1))
        state, _ = rounds.close(state)
        state = rounds.commit(state, ("a", "b"), rules, 1, f"h{number}", f"r{number}")
    assert bases["b"].merged == ("r1", "r2")
    assert all(base.resets == 0 for base in bases.values())
