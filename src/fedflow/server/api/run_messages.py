"""Messages about runs that only coordinators and their tools exchange with the server."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from fedflow.federation.protocol import Message, Name, RunFacts, Seconds
from fedflow.server.api.messages import Identifier


class RunRequest(Message):
    """A run to start: the plan as `fedflow simulate` reads it; `data.clients` are names of members."""

    federation_id: Identifier
    plan: dict[str, Any]


class MemberNamed(Message):
    """A member of the run, by name."""

    member: Name


class RunStarted(Message):
    """The run that was made."""

    id: str


class Runs(Message):
    """A page of runs."""

    items: tuple[RunFacts, ...]
    next: str | None


class Explained(Message):
    """Why the run is not moving, in one paragraph for people."""

    text: str


class RunStatus(Message):
    """What the run is doing now."""

    id: str
    status: str


class RoundPage(Message):
    """Which rounds: at most `limit` with numbers above `after`."""

    limit: int = Field(50, ge=1, le=200)
    after: int = Field(0, ge=0, le=2**31)


class RefusalLine(Message):
    """An update that was refused, and why. `sha256` names its bytes where they are still kept aside."""

    id: str
    round: int
    member: str
    reason: str
    sha256: str | None
    age_s: Seconds


class Refusals(Message):
    """A page of refused updates."""

    items: tuple[RefusalLine, ...]
    next: str | None


class RunPath(Message):
    """Part of an address."""

    run_id: Identifier


class RoundSeen(Message):
    """Which round the caller means."""

    round: int | None = Field(
        None, ge=1, description="The round to close; any other is left open. Where not given, the one under way."
    )


class RoundPath(Message):
    """Part of an address."""

    run_id: Identifier
    number: int = Field(ge=1, le=2**31)
