"""What keeps this machine from training for a run now, and what its coordinator is told of that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import torch

from fedflow.client import memory
from fedflow.client.place import Place
from fedflow.client.policy import Policy, is_open, refusal
from fedflow.federation.protocol import MOST_TOLD, Doing, RunFacts, Told
from fedflow.plan import Plan


@dataclass(frozen=True)
class _Held:
    """An assignment that this machine holds back from."""

    facts: RunFacts
    plan: Plan
    round: int


class Readiness:
    """Weighs assignments by the owner's policy and hours and by memory, and keeps those that wait.

    `has_open` says whether a run's base model is in memory already.
    """

    def __init__(self, policy: Policy, place: Place, has_open: Callable[[str], bool]) -> None:
        self._policy = policy
        self._place = place
        self._has_open = has_open
        self._held: dict[str, _Held] = {}
        self._given_up: dict[tuple[str, int], tuple[Doing, str]] = {}

    def hindrance(self, facts: RunFacts, plan: Plan, number: int) -> str | None:
        """Why this machine does not train for this round now, in a sentence for its owner; None where it does."""
        held = _Held(facts, plan, number)
        self._held.pop(facts.id, None)
        found = self._why(held)
        if found is None:
            return None
        self._held[facts.id] = held
        if len(self._held) >= MOST_TOLD:
            del self._held[next(iter(self._held))]
        return found[1]

    def give_up(self, run: str, number: int, doing: Doing, reason: str) -> None:
        """Go without this round of the run, whatever comes."""
        self._given_up[run, number] = (doing, reason)

    def holds(self, run: str | None, number: int) -> bool:
        """Whether this assignment waits here."""
        held = self._held.get(run or "")
        return held is not None and held.round == number

    def told(self) -> tuple[Told, ...]:
        """What the server is told when it is asked for work: the assignments that still wait, weighed anew."""
        weighed = [(held, self._why(held)) for held in self._held.values()]
        self._held = {held.facts.id: held for held, found in weighed if found is not None}
        return tuple(Told(found[0], held.facts.id, held.round) for held, found in weighed if found is not None)

    def closed(self) -> str | None:
        """Why the owner's hours forbid training at this moment; None where they allow it."""
        return None if is_open(self._policy, datetime.now()) else f"the policy allows training at {self._policy.hours}"

    def _why(self, held: _Held) -> tuple[Doing, str] | None:
        """A word for the coordinator, a sentence for the owner."""
        facts, plan = held.facts, held.plan
        if (facts.id, held.round) in self._given_up:
            return self._given_up[facts.id, held.round]
        why_not = refusal(self._policy, facts, plan, self._place.num_examples)
        if why_not is not None:
            return "policy", why_not
        why_not = self.closed()
        if why_not is not None:
            return "hours", why_not
        if not self._has_open(facts.id) and not torch.cuda.is_available():
            why_not = memory.lack(facts, plan, memory.available_bytes())
        return None if why_not is None else ("memory", why_not)
