"""Messages about runs that only coordinators and their tools exchange with the server."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from fedflow.federation.protocol import Message, RunFacts, Seconds
from fedflow.server.api.messages import Identifier


class RunRequest(Message):
    """A run to start: the plan as `fedflow simulate` reads it; `data.clients` are names of members."""

    federation_id: Identifier
    plan: dict[str, Any]


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


class RoundPath(Message):
    """Part of an address."""

    run_id: Identifier
    number: int = Field(ge=1, le=2**31)
