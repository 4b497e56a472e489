"""The rounds of a run as logic: who is selected, what each is told, what is accepted, when a round closes.

Nothing here does I/O, knows a clock or imports torch. A carrier (one process, Ray, a server) keeps a
`RunState`, feeds it events and carries out what comes back. Content is named by its SHA-256, so the same
state means the same bytes for every carrier.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from fedflow.errors import RunError, UpdateError


class Phase(StrEnum):
    """Where a run stands."""

    COLLECTING = "collecting"
    AGGREGATING = "aggregating"
    DONE = "done"


MOVES: dict[Phase, frozenset[Phase]] = {
    Phase.COLLECTING: frozenset({Phase.AGGREGATING}),
    Phase.AGGREGATING: frozenset({Phase.COLLECTING, Phase.DONE}),
    Phase.DONE: frozenset(),
}
"""Every allowed move between phases; anything else is a defect and is refused."""


class Status(StrEnum):
    """What a whole run is doing, for those who wait for it."""

    PREPARING = "preparing"
    RUNNING = "running"
    PAUSED = "paused"
    FAILED = "failed"
    STOPPED = "stopped"
    DONE = "done"


STATUS_MOVES: dict[Status, frozenset[Status]] = {
    Status.PREPARING: frozenset({Status.RUNNING, Status.FAILED, Status.STOPPED}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.FAILED, Status.STOPPED, Status.DONE}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.FAILED, Status.STOPPED, Status.DONE}),
    Status.FAILED: frozenset({Status.RUNNING, Status.PREPARING, Status.STOPPED}),
    Status.STOPPED: frozenset(),
    Status.DONE: frozenset(),
}
"""Every allowed move of a run; a failed one goes on from its last committed round, a paused one may commit its last."""


@dataclass(frozen=True)
class Rules:
    """What of a plan the rounds need. `clients_per_round` and `quorum` are counts of clients.

    `over_selection` times as many clients as a round wants are asked, so that some may fail to answer. `least` updates
    are wanted even where fewer clients are left.
    """

    rounds: int
    clients_per_round: int
    quorum: int
    over_selection: float = 1.0
    least: int = 1

    @property
    def asked(self) -> int:
        """How many clients are asked in a round, where there are as many."""
        return math.ceil(self.clients_per_round * self.over_selection)


@dataclass(frozen=True)
class Receipt:
    """One client's accepted answer in one round: what it sent, by content hash, and on how many examples."""

    client: str
    round: int
    update: str
    num_examples: int


@dataclass(frozen=True)
class GlobalState:
    """The joint model after some rounds: the global adapter (or weights), and every round's residual, by hash.

    `adapter` is None before the first round of a run that starts from the base model's weights.
    `residuals` holds one hash per round that left a residual, oldest first: the base model that all clients
    share is the plan's base plus all of them.
    """

    adapter: str | None = None
    residuals: tuple[str, ...] = ()


@dataclass(frozen=True)
class Merged:
    """The base weights that a run's residuals change, as they are with the first `count` residuals in them, by hash.

    Smaller than those residuals together, once there are many.
    """

    weights: str
    count: int


@dataclass(frozen=True)
class Assignment:
    """What a client is asked to do: the round, and the global state to start from.

    `residuals` are all of the run's, oldest first; the client merges those that its base lacks, or begins with
    `merged` where that is given and its base holds less.
    """

    client: str
    round: int
    adapter: str | None
    residuals: tuple[str, ...]
    merged: Merged | None = None


@dataclass(frozen=True)
class RunState:
    """A run between two events. `round` counts from 1; `accepted` has one receipt per client of this round."""

    run: str
    phase: Phase
    round: int
    selected: tuple[str, ...]
    model: GlobalState
    accepted: Mapping[str, Receipt] = field(default_factory=dict)


def start(run: str, clients: tuple[str, ...], rules: Rules, seed: int, initial: GlobalState) -> RunState:
    """The state in which round 1 collects updates."""
    return RunState(run, Phase.COLLECTING, 1, select(clients, rules, seed, 1), initial)


def select(clients: tuple[str, ...], rules: Rules, seed: int, round_number: int) -> tuple[str, ...]:
    """The clients of a round, in the federation's order: all, or a draw that seed and round decide."""
    if rules.asked >= len(clients):
        return clients
    drawn = set(random.Random(f"{seed} {round_number}").sample(clients, rules.asked))
    return tuple(client for client in clients if client in drawn)


def assignment(state: RunState, client: str) -> Assignment:
    """What `client` is to do now. Raises UpdateError where it is not selected for this round."""
    if client not in state.selected:
        raise UpdateError(f"client '{client}' is not selected for round {state.round}")
    return Assignment(client, state.round, state.model.adapter, state.model.residuals)


def accept(state: RunState, receipt: Receipt) -> RunState:
    """The state with one more answer. The same answer twice changes nothing.

    Raises:
        UpdateError: another round's answer, a client that was not asked, a second and different answer,
            an example count that is no whole number above zero, or a round that takes no answers any more.
    """
    client = receipt.client
    if client not in state.selected:
        raise UpdateError(f"client '{client}' was not asked in round {state.round}")
    if receipt.round != state.round or state.phase is not Phase.COLLECTING:
        raise UpdateError(
            f"client '{client}': answer for round {receipt.round}, but round {state.round} is {state.phase}"
        )
    if type(receipt.num_examples) is not int or receipt.num_examples < 1:
        raise UpdateError(
            f"client '{client}': example count {receipt.num_examples!r}; it must be a whole number above 0"
        )
    earlier = state.accepted.get(client)
    if earlier is not None and earlier != receipt:
        raise UpdateError(f"client '{client}' answered round {state.round} already, with other content")
    return replace(state, accepted={**state.accepted, client: receipt})


def missing(state: RunState) -> tuple[str, ...]:
    """Selected clients that have not answered, in the federation's order."""
    return tuple(client for client in state.selected if client not in state.accepted)


def may_close(state: RunState, rules: Rules, deadline_passed: bool) -> bool:
    """Whether the round may be aggregated: it has what it wants, or the deadline passed with a quorum."""
    if state.phase is not Phase.COLLECTING or not state.accepted:
        return False
    return len(state.accepted) >= enough(state, rules) or (deadline_passed and len(state.accepted) >= rules.quorum)


def enough(state: RunState, rules: Rules) -> int:
    """How many updates close the round at once: what it wants, as far as so many are asked, and never below `least`."""
    return max(rules.least, min(rules.clients_per_round, len(state.selected)))


def leave(state: RunState, client: str) -> RunState:
    """The state without `client`, which has left the federation; what it has answered stays."""
    if client in state.accepted:
        return state
    return replace(state, selected=tuple(name for name in state.selected if name != client))


def fill_up(state: RunState, clients: tuple[str, ...], rules: Rules) -> RunState:
    """The state with others of `clients` asked in the place of those who left, as far as there are any."""
    lacking = rules.clients_per_round - len(state.selected)
    spare = [client for client in clients if client not in state.selected]
    if state.phase is not Phase.COLLECTING or lacking <= 0 or not spare:
        return state
    asked = {*state.selected, *spare[:lacking]}
    there = dict.fromkeys((*clients, *state.selected))
    return replace(state, selected=tuple(client for client in there if client in asked))


def check_status_move(run: str, before: Status, after: Status) -> None:
    """Raise RunError where a run may not go from one status to the other."""
    if after not in STATUS_MOVES[before]:
        raise RunError(f"run '{run}' is {before} and cannot become {after}")


def close(state: RunState) -> tuple[RunState, tuple[Receipt, ...]]:
    """Stop collecting: the new state, and the receipts in the federation's order, as aggregation takes them."""
    closed = _move(state, Phase.AGGREGATING)
    return closed, tuple(state.accepted[client] for client in state.selected if client in state.accepted)


def commit(
    state: RunState, clients: tuple[str, ...], rules: Rules, seed: int, adapter: str, residual: str | None
) -> RunState:
    """The state after a round's aggregate is stored: the next round collects, or the run is done."""
    residuals = state.model.residuals if residual is None else (*state.model.residuals, residual)
    model = GlobalState(adapter, residuals)
    if state.round == rules.rounds:
        return replace(_move(state, Phase.DONE), model=model)
    following = state.round + 1
    return replace(
        _move(state, Phase.COLLECTING),
        round=following,
        selected=select(clients, rules, seed, following),
        model=model,
        accepted={},
    )


def _move(state: RunState, phase: Phase) -> RunState:
    if phase not in MOVES[state.phase]:
        raise RunError(f"run {state.run}: no move from '{state.phase}' to '{phase}' in round {state.round}")
    return replace(state, phase=phase)
