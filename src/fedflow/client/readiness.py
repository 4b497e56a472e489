"""What keeps this machine from training for a run now, and what its coordinator is told of that."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import torch

from fedflow.client import memory
from fedflow.client.place import Place
from fedflow.client.policy import Policy, is_open, refusal
from fedflow.federation.protocol import MOST_TOLD, Doing, RunFacts, Told
from fedflow.plan import Plan

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 30.0, 1800.0
"""Between tries of a training for which the memory did not suffice; each pause is twice the one before."""


@dataclass(frozen=True)
class _Pause:
    """Why a round is not trained for until `until` (`time.monotonic`), and how long that pause was."""

    doing: Doing
    reason: str
    until: float
    seconds: float


@dataclass(frozen=True)
class _Held:
    """An assignment that this machine holds back from, and why: for its coordinator, and as it was for its owner."""

    facts: RunFacts
    plan: Plan
    round: int
    doing: Doing
    reason: str


class Readiness:
    """Weighs assignments by the owner's policy and hours, by pictures and memory, and keeps those that wait.

    `has_open` says whether a run's base model is in memory already, `owner_holds_back` why the owner lets a round wait;
    `owner_makes_room` is called where memory lacks, which is then weighed again.
    """

    def __init__(
        self,
        policy: Policy,
        place: Place,
        has_open: Callable[[str], bool],
        monotonic: Callable[[], float] = time.monotonic,
        owner_holds_back: Callable[[RunFacts, int], str | None] = lambda _facts, _number: None,
        owner_makes_room: Callable[[], None] = lambda: None,
    ) -> None:
        self._policy = policy
        self._place = place
        self._has_open = has_open
        self._monotonic = monotonic
        self._owner_holds_back = owner_holds_back
        self._owner_makes_room = owner_makes_room
        self._held: dict[str, _Held] = {}
        self._pauses: dict[tuple[str, int], _Pause] = {}

    def hindrance(self, facts: RunFacts, plan: Plan, number: int) -> str | None:
        """Why this machine does not train for this round now, in a sentence for its owner; None where it does."""
        self._held.pop(facts.id, None)
        found = self._why(facts, plan, number)
        if found is None:
            return None
        self._held[facts.id] = _Held(facts, plan, number, *found)
        if len(self._held) >= MOST_TOLD:
            del self._held[next(iter(self._held))]
        return found[1]

    def give_up(self, run: str, number: int, doing: Doing, reason: str) -> None:
        """Go without this round of the run, whatever comes."""
        self._pauses[run, number] = _Pause(doing, reason, math.inf, math.inf)

    def pause(self, run: str, number: int, doing: Doing, reason: str) -> float:
        """Try this round of the run again after a while; returns after how many seconds."""
        before = self._pauses.get((run, number))
        seconds = SHORTEST_PAUSE_S if before is None else min(2.0 * before.seconds, LONGEST_PAUSE_S)
        self._pauses[run, number] = _Pause(doing, reason, self._monotonic() + seconds, seconds)
        return seconds

    def runs(self) -> tuple[str, ...]:
        """Those of which an assignment waits here."""
        return tuple(self._held)

    def forget(self, run: str) -> None:
        """Hold nothing for a run that is over, or that its owner takes part in no more."""
        self._held.pop(run, None)

    def holds(self, run: str | None, number: int) -> bool:
        """Whether this assignment waits here."""
        held = self._held.get(run or "")
        return held is not None and held.round == number

    def reason(self, run: str | None, number: int) -> str | None:
        """Why this assignment waits here, as it was when that began; None where it does not wait."""
        return self._held[run].reason if run is not None and self.holds(run, number) else None

    def told(self) -> tuple[Told, ...]:
        """What the server is told when it is asked for work: the assignments that still wait, weighed anew."""
        if self._held and self._place.problem is not None:
            self._place.look_again()
        weighed = [(held, self._why(held.facts, held.plan, held.round)) for held in self._held.values()]
        self._held = {
            held.facts.id: held if found[0] == held.doing else replace(held, doing=found[0], reason=found[1])
            for held, found in weighed
            if found is not None
        }
        return tuple(Told(held.doing, run, held.round) for run, held in self._held.items())

    def closed(self) -> str | None:
        """Why the owner's hours forbid training at this moment; None where they allow it."""
        return None if is_open(self._policy, datetime.now()) else f"the policy allows training at {self._policy.hours}"

    def _why(self, facts: RunFacts, plan: Plan, number: int) -> tuple[Doing, str] | None:
        """A word for the coordinator, a sentence for the owner."""
        why_not = self._owner_holds_back(facts, number)
        if why_not is not None:
            return "consent", why_not
        pause = self._pauses.get((facts.id, number))
        if pause is not None and self._monotonic() < pause.until:
            return pause.doing, pause.reason
        if self._place.problem is not None:
            return "pictures", self._place.problem
        why_not = refusal(self._policy, facts, plan, self._place.num_examples)
        if why_not is not None:
            return "policy", why_not
        why_not = self.closed()
        if why_not is not None:
            return "hours", why_not
        if not self._has_open(facts.id) and not torch.cuda.is_available():
            why_not = memory.lack(facts, plan, memory.available_bytes())
            if why_not is not None:
                self._owner_makes_room()
                why_not = memory.lack(facts, plan, memory.available_bytes())
        return None if why_not is None else ("memory", why_not)
