"""What clients and FedFlowServer say to each other: one pydantic model per message. No torch, no Flask.

Every error of the API has the shape of `Problem`. Times are durations in seconds, never clock readings, so that no
clock of either side matters.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StrictFloat, StrictInt

PROTOCOL = 3
"""Raised where a message changes its meaning; a client of another number is told so and stops."""

API = "/api/v1"
PROTOCOL_HEADER = "FedFlow-Protocol"
TOKEN_PURPOSE = "fedflow device token, protocol 1"  # noqa: S105 - what is signed, no secret


def _is_printable(text: str) -> str:
    """Refuse what could steer the terminal on which it is shown, or forge a line there."""
    if not text.isprintable():
        raise ValueError(f"{text[:80]!a}: holds characters that a terminal cannot show in one line; leave them out")
    return text


SHOWN = AfterValidator(_is_printable)
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the content, hexadecimal.")]
ONE_LINE: dict[str, JsonValue] = {"pattern": r"^[^\x00-\x1f\x7f-\x9f]+$"}
Name = Annotated[str, Field(min_length=1, max_length=80, json_schema_extra=ONE_LINE), SHOWN]
Layout = Literal["diffusers", "kohya", "unet"]
WholeLayout = Literal["merged", "checkpoint"]
"""A whole model: a zip of a diffusers folder, or one file as the original Stable Diffusion code names its tensors."""

Seconds = Annotated[float, Field(ge=0)]


class Message(BaseModel):
    """Base of all messages: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """pydantic's, made once: the Flask extension asks for it at every request with a query."""
        if args or kwargs:
            return super().model_json_schema(*args, **kwargs)
        return _schema_of(cls)


@cache
def _schema_of(message: type[Message]) -> dict[str, Any]:
    return super(Message, message).model_json_schema()


class Fault(Message):
    """What went wrong: `code` for programs, `message` one clear sentence for people."""

    code: str
    message: str
    request_id: str


class Problem(Message):
    """The one shape of every error."""

    error: Fault


LEAST_CODE, LONGEST_CODE = 8, 80


class JoinRequest(Message):
    """A device joins a federation with a one-time code and its Ed25519 public key (32 bytes, base64)."""

    code: str = Field(min_length=LEAST_CODE, max_length=LONGEST_CODE)
    device_name: Name
    public_key: str = Field(min_length=44, max_length=44)
    version: Annotated[str, Field(max_length=40, description="The client's version of FedFlow."), SHOWN]
    shows_counts: bool | None = Field(
        None,
        description="Whether the member's name and picture counts are shown beyond the federation; null leaves that as "
        "it was.",
    )


class Joined(Message):
    """Who the device is from now on."""

    device_id: str
    member: str
    federation_id: str
    federation: str


class SignInRequest(Message):
    """A device that has no join code asks to be let in by a person who signs in at the server (as in RFC 8628)."""

    device_name: Name


class SignInBegun(Message):
    """The person lets the device in that shows `user_code`, within `expires_in_s`.

    `code` is the device's secret, and its join code from then on.
    """

    code: str
    user_code: Annotated[str, Field(max_length=20), SHOWN]
    expires_in_s: Seconds


class SignInQuestion(Message):
    """Whether the device with this secret was let in."""

    code: str = Field(min_length=LEAST_CODE, max_length=LONGEST_CODE)


class SignInState(Message):
    """How the person answered; `federation` and `member` are what the device joins as, once it was approved."""

    state: Literal["waiting", "approved", "refused"]
    federation: Annotated[str, SHOWN] = ""
    member: Annotated[str, SHOWN] = ""


class ChallengeRequest(Message):
    """A device asks for something to sign."""

    device_id: str = Field(max_length=40)


class Challenged(Message):
    """Sign `signed_text(device_id, nonce)` within `expires_in_s`."""

    nonce: str
    expires_in_s: Seconds


class TokenRequest(Message):
    """The signed challenge: Ed25519 signature, 64 bytes in base64."""

    device_id: str = Field(max_length=40)
    nonce: str = Field(max_length=80)
    signature: str = Field(max_length=88)


class Token(Message):
    """A bearer token for this device, for `expires_in_s`."""

    token: str
    expires_in_s: Seconds


class MergedBase(Message):
    """Base weights with the first `count` residuals in them: `weights` in the place of fetching those."""

    weights: Sha256
    size_bytes: int = Field(ge=0)
    count: int = Field(ge=1)


Doing = Literal["training", "consent", "hours", "memory", "policy", "pictures", "failed", "refused"]
"""What a participant does with an assignment.

It trains, or holds back: for its owner's consent where they give it round by round, for their hours or policy, for want
of memory, for pictures that cannot be used as they are, or since its training has failed, or its update was refused,
for good.
"""

MOST_TOLD = 20


class Told(NamedTuple):
    """What a device does with its assignment for one round of one run."""

    doing: Doing
    run: str
    round: int

    def __str__(self) -> str:
        return f"{self.doing}:{self.run}:{self.round}"

    @classmethod
    def of(cls, text: str) -> Told:
        """What `str` wrote."""
        doing, run, number = text.split(":")
        return cls(doing, run, int(number))  # type: ignore[arg-type]


class WorkQuestion(Message):
    """What a device says when it asks for work."""

    doing: list[Annotated[str, Field(pattern=rf"^({'|'.join(get_args(Doing))}):[0-9a-f-]{{36}}:[0-9]{{1,6}}$")]] = (
        Field(
            [],
            max_length=MOST_TOLD,
            description="What it does with assignments that it has, each as DOING:RUN:ROUND. Those that it holds back "
            "from are not given again.",
        )
    )

    def told(self) -> tuple[Told, ...]:
        """The same, read."""
        return tuple(Told.of(text) for text in self.doing)


class Work(Message):
    """What a participant is to do now.

    action: 'consent' asks for the owner's consent to `run`; 'train' gives an assignment; 'wait' asks again after
        `poll_after_s`; 'finished' says that `run` is over.
    text: why, in one sentence for people.
    residuals: all residuals of the run so far, oldest first; the client fetches those that its base lacks.
    residual_bytes: what each of them weighs.
    merged: what a client that lacks many of them may fetch in their place.
    unwanted: why the training that the device told of is of no use any more.
    """

    action: Literal["consent", "train", "wait", "finished"]
    text: str
    poll_after_s: Seconds
    run: str | None = None
    round: int = 0
    adapter: Sha256 | None = None
    residuals: tuple[Sha256, ...] = ()
    residual_bytes: tuple[int, ...] = ()
    merged: MergedBase | None = None
    deadline_in_s: Seconds | None = None
    unwanted: str | None = None


class BaseFile(Message):
    """One file of a base model's folder."""

    path: str
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class RunFacts(Message):
    """A run as its members see it; `plan` is the frozen plan, without folders of the coordinator's machine."""

    id: str
    federation_id: str
    name: str
    status: str
    round: int
    rounds: int
    plan: dict[str, object]
    members: tuple[str, ...]
    base_hash: str | None
    base_files: tuple[BaseFile, ...]
    tensors: dict[str, tuple[int, ...]] = Field(description="Names and shapes of what leaves a participant.")
    upload_bytes: int = Field(description="About what one update weighs.")
    age_s: Seconds = Field(0.0, description="Since it was started.")
    seconds: Seconds = Field(0.0, description="What it has taken so far, or took.")
    jobs_to_come: int = Field(0, description="Scores and exports that a worker still makes.")
    files: dict[Layout, Sha256] = Field(default_factory=dict, description="The joint model of a run that is done.")
    message: str


class RoundLine(Message):
    """A round: whom it asked, whose updates were accepted with how many pictures, and what was committed.

    The number of pictures is null where the federation's rules do not show it to viewers.

    `seconds` is what its members' training took, added up. `loss` is the mean by pictures of their losses in the last
    quarter of it: null until the round is closed, and where so few have answered that it would tell a single member's.
    `report` are the aggregation's figures, `version` is what the registry calls it, `files` are its exports by layout.
    """

    number: int
    phase: str
    selected: tuple[str, ...]
    accepted: dict[str, int | None]
    deadline_in_s: float
    adapter: str | None
    residual: str | None
    seconds: float
    loss: float | None
    report: dict[str, Any] | None
    version: str | None
    files: dict[str, str]


class Rounds(Message):
    """A page of rounds."""

    items: tuple[RoundLine, ...]
    next: int | None


class ArtifactLine(Message):
    """A model or an adapter, by name."""

    id: str
    federation_id: str
    kind: str
    name: str


class Artifacts(Message):
    """A page of models or adapters."""

    items: tuple[ArtifactLine, ...]
    next: str | None


class VersionLine(Message):
    """One version. `files` are its exports, blobs by layout; `facts` how it was made; `parent_id` from what."""

    id: str
    artifact_id: str
    number: int
    content: str
    content_hash: str | None
    parent_id: str | None
    base_id: str | None
    run: str | None
    round: int | None
    facts: dict[str, Any]
    files: dict[str, str]
    age_s: Seconds


class Versions(Message):
    """A page of versions."""

    items: tuple[VersionLine, ...]
    next: int | None


class ScoreLine(Message):
    """Figures of one model of a run, and blobs of the pictures that it drew of `prompts`.

    `who` is 'base', 'aggregated', or the member whose update it is; `num_examples` and `steps` are the pictures and
    optimiser steps behind it, 0 where a viewer is not told them, as there is no gallery where the rules want none. KID
    is unscaled; both have their 95% intervals. `kid_floor` is the KID of one half of the held-out pictures against the
    other, with its interval: what real pictures reach. FID's interval and the floor are None where they were not
    measured (scores of before 0018, fewer than four held-out pictures). `features` may be read by people alone.
    """

    round: int
    who: str
    num_examples: int
    steps: int
    fid: float
    kid: float
    fid_low: float | None
    fid_high: float | None
    kid_low: float
    kid_high: float
    kid_floor: float | None
    kid_floor_low: float | None
    kid_floor_high: float | None
    extractor: str
    resize: str
    num_heldout: int
    features: str
    prompts: tuple[str, ...]
    gallery: tuple[str, ...]
    seconds: Seconds


class Scores(Message):
    """All figures of a run so far; `to_come` are those that a worker still takes.

    `not_measured` says why there are no others, a reason for each that failed, or one for all.
    """

    items: tuple[ScoreLine, ...]
    to_come: int
    not_measured: tuple[str, ...]


class ConsentRequest(Message):
    """The owner's answer to a run, with the number of pictures that would be trained on."""

    accept: bool
    num_examples: int = Field(ge=1, le=2**53)
    reason: Annotated[str, Field(max_length=400), SHOWN] = ""


class UpdateRequest(Message):
    """An uploaded update is handed in for a round. What is no whole number above 0 is refused as an example count."""

    upload_id: str = Field(max_length=40)
    sha256: Sha256
    num_examples: StrictInt | StrictFloat
    metrics: dict[Annotated[str, Field(max_length=40), SHOWN], float] = Field(default_factory=dict, max_length=20)


class UpdateAnswer(Message):
    """The update counts. `again` says that it did already."""

    run: str
    round: int
    sha256: Sha256
    again: bool


def signed_text(device_id: str, nonce: str) -> bytes:
    """The bytes that a device signs to get a token."""
    return f"{TOKEN_PURPOSE}\n{device_id}\n{nonce}".encode()
