"""The participant's side of a round as logic: bring the base up to date, train, answer. No I/O, no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fedflow.federation.rounds import Assignment, Merged, Receipt


class Base(Protocol):
    """A participant's copy of the base model, and which residuals it has merged, oldest first."""

    @property
    def merged(self) -> tuple[str, ...]:
        """Content hashes of the residuals that are in the frozen weights."""

    def reset(self) -> None:
        """Go back to the plan's base model."""

    def merge(self, residual: str) -> None:
        """Fold one residual into the frozen weights."""

    def begin_with(self, weights: str, residuals: tuple[str, ...]) -> None:
        """Take the changed weights as they are with `residuals` in them, in the place of merging those."""


def bring_up_to_date(base: Base, residuals: tuple[str, ...], merged: Merged | None = None) -> None:
    """Make `base` the plan's base plus exactly `residuals`, in their order.

    Only what is lacking is merged, so that a participant that missed rounds catches up; where `merged` holds more of
    them than the base, it is the beginning. A base that holds anything else (another run's residuals, or more than
    asked for) starts again from the plan's base.
    """
    if residuals[: len(base.merged)] != base.merged:
        base.reset()
    if merged is not None and len(base.merged) < merged.count <= len(residuals):
        base.begin_with(merged.weights, residuals[: merged.count])
    for residual in residuals[len(base.merged) :]:
        base.merge(residual)


def take_part(assignment: Assignment, base: Base, train: Callable[[str | None, int], tuple[str, int]]) -> Receipt:
    """Carry out `assignment` and answer.

    `train` gets the global adapter's hash (None: start anew) and the round, and returns the update's
    hash and the number of examples it was trained on.
    """
    bring_up_to_date(base, assignment.residuals, assignment.merged)
    update, num_examples = train(assignment.adapter, assignment.round)
    return Receipt(assignment.client, assignment.round, update, num_examples)
