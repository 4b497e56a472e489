"""Messages of the API that only coordinators and their tools exchange with the server."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, field_validator

from fedflow.federation.protocol import Message, Name, Seconds, Sha256
from fedflow.plan import ALONE, RESERVED_NAMES

FOLDER_NAME: dict[str, JsonValue] = {"pattern": r"^[^\x00-\x1f\x7f-\x9f/\\.][^\x00-\x1f\x7f-\x9f/\\]*$"}
MemberName = Annotated[Name, Field(json_schema_extra=FOLDER_NAME)]
"""A member's name is the name of a folder on every machine: no slashes, no dot at its beginning."""

Identifier = Annotated[str, Field(max_length=40)]


class Page(Message):
    """Which part of a list: `limit` items after the item `after`."""

    limit: int = Field(50, ge=1, le=200)
    after: str = Field("", max_length=40, description="What the page before gave as 'next'.")


class EventPage(Message):
    """Which events: at most `limit` with numbers above `after`."""

    limit: int = Field(50, ge=1, le=200)
    after: int = Field(0, ge=0, le=2**62)


class Me(Message):
    """Who the server takes the caller for."""

    kind: str
    id: str
    federation_id: str | None
    member: str | None


class FederationRequest(Message):
    """A federation to make."""

    name: Name


class FederationChange(Message):
    """What is to be otherwise with a federation; what is left out stays."""

    name: Name | None = None
    closed: bool | None = None


class FederationFacts(Message):
    """A federation. Once it is `closed` nothing new begins there."""

    id: str
    name: str
    closed: bool


class Federations(Message):
    """A page of federations."""

    items: tuple[FederationFacts, ...]
    next: str | None


class DeviceLine(Message):
    """A member's machine."""

    id: str
    name: str
    version: str
    seen_s_ago: Seconds
    revoked: bool


class MemberLine(Message):
    """A member of a federation, with its machines."""

    id: str
    name: str
    max_examples: int
    removed: bool
    devices: tuple[DeviceLine, ...]


class Members(Message):
    """A page of members."""

    items: tuple[MemberLine, ...]
    next: str | None


class CountsShown(Message):
    """Whether a member's name and example counts are shown beyond its federation."""

    shown: bool


class CodeRequest(Message):
    """A join code for one device of a member. `max_examples` caps the example count that its updates may claim.

    Without it a member that is there keeps its cap, and a new one gets what the federation's rules say.
    """

    member: MemberName
    max_examples: int | None = Field(None, ge=1, le=2**53)

    @field_validator("member")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name.startswith(".") or "/" in name or "\\" in name:
            raise ValueError(f"'{name}': names folders; leave out slashes, and a dot at its beginning")
        if name in RESERVED_NAMES or name.startswith(ALONE):
            raise ValueError(f"'{name}' is what a run's table calls one of its own rows; choose another name")
        return name


class Code(Message):
    """A join code, told once."""

    code: str
    expires_in_s: Seconds


class CodeLine(Message):
    """A join code that nobody has used; its text is told to nobody."""

    id: str
    member: str
    max_examples: int
    expires_in_s: Seconds


class Codes(Message):
    """A federation's open join codes, newest first."""

    items: tuple[CodeLine, ...]


class CapRequest(Message):
    """For how many examples an update of a member may count."""

    max_examples: int = Field(ge=1, le=2**53)


class EventLine(Message):
    """Something that happened `at` (ISO 8601, in UTC), `age_s` ago."""

    id: int
    kind: str
    run: str | None
    facts: dict[str, object]
    at: str
    age_s: Seconds


class Events(Message):
    """A page of events; `next` is there where more may follow."""

    items: tuple[EventLine, ...]
    next: int | None


class Ready(Message):
    """The server answers, and so do its database and its store."""

    status: str = "ready"


class Healthy(Message):
    """The process is up."""

    status: str = "up"


class FederationPath(Message):
    """Part of an address."""

    federation_id: Identifier


class CodePath(Message):
    """Part of an address."""

    federation_id: Identifier
    code_id: Sha256


class MemberPath(Message):
    """Part of an address."""

    member_id: Identifier


class DevicePath(Message):
    """Part of an address."""

    device_id: Identifier


class FilePath(Message):
    """Part of an address."""

    sha256: Sha256
