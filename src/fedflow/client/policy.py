"""The owner's policy: which runs this machine may take part in at all, and at which hours it trains."""

from __future__ import annotations

import re
import tomllib
from datetime import datetime, time
from pathlib import Path

from pydantic import Field, ValidationError, field_validator

from fedflow.errors import MistakeError
from fedflow.federation.protocol import RunFacts
from fedflow.plan import Method, Plan, Settings, describe

HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
BYTES_PER_MB = 1_000_000


class Policy(Settings):
    """What the owner of this machine allows. A limit that is not given does not limit."""

    models: tuple[str, ...] = Field(
        (),
        strict=False,
        description="Base models that may be trained: content hashes, which are certain, or the plan's names for them.",
    )
    methods: tuple[Method, ...] = Field(
        (), strict=False, description="How updates may be joined: fedavg, fedit, fedex-lora."
    )
    max_rounds: int | None = Field(None, ge=1, description="Most rounds of a run.")
    max_steps: int | None = Field(None, ge=1, description="Most optimiser steps that a round may take here.")
    max_pictures: int | None = Field(None, ge=1, description="Most pictures that may be trained on.")
    max_upload_mb: float | None = Field(
        None, gt=0, strict=False, description="Largest update that may leave this machine, in millions of bytes."
    )
    min_members: int | None = Field(
        None, ge=1, description="Fewest members that a run is planned with; how many decline is nobody's to say before."
    )
    min_updates: int | None = Field(
        None,
        ge=1,
        description="Fewest updates that a round may be joined of, whoever declines: the run's quorum, or 2.",
    )
    drawn_alone: bool = Field(
        True, description="Whether the server may draw pictures with this machine's update alone (evaluation.clients)."
    )
    max_epsilon: float | None = Field(
        None,
        gt=0,
        strict=False,
        description="Least privacy: differential privacy with an epsilon no larger. No run offers any yet.",
    )
    hours: str | None = Field(
        None,
        description="Hours of the day, by this machine's clock, at which it trains: '22:00-06:00'. A training that is "
        "not done at their end goes on at the next ones.",
    )

    @field_validator("hours")
    @classmethod
    def _are_hours(cls, hours: str | None) -> str | None:
        if hours is not None:
            _span(hours)
        return hours


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file. Raises MistakeError, one line, for what cannot be read or is no policy."""
    try:
        return Policy.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise MistakeError(f"{path}: the policy cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        raise MistakeError(f"{path}: not UTF-8 text (byte {error.start}); save the policy as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise MistakeError(f"{path}: not valid TOML: {error}") from None
    except ValidationError as error:
        raise MistakeError(f"{path}: {describe(error)}") from None


def refusal(policy: Policy, facts: RunFacts, plan: Plan, num_examples: int) -> str | None:
    """Why the policy does not allow this run with so many pictures, in one sentence; None where it does."""
    if policy.models and facts.base_hash not in policy.models and plan.model not in policy.models:
        return f"the policy does not allow the base model '{plan.model}'"
    if policy.methods and plan.method not in policy.methods:
        return f"the run's method is {plan.method}, and the policy allows {', '.join(policy.methods)}"
    return _too_much(policy, facts, plan, num_examples) or _too_little_privacy(policy, facts, plan)


def _too_much(policy: Policy, facts: RunFacts, plan: Plan, num_examples: int) -> str | None:
    steps, upload_mb = plan.training.steps(num_examples), facts.upload_bytes / BYTES_PER_MB
    if policy.max_rounds is not None and plan.rounds > policy.max_rounds:
        return f"the run has {plan.rounds} rounds, and the policy allows {policy.max_rounds}"
    if policy.max_steps is not None and steps > policy.max_steps:
        return f"a round takes {steps:,} steps here, and the policy allows {policy.max_steps:,}"
    if policy.max_pictures is not None and num_examples > policy.max_pictures:
        return f"the folder holds {num_examples} pictures, and the policy allows {policy.max_pictures}"
    if policy.max_upload_mb is not None and upload_mb > policy.max_upload_mb:
        return f"the run's updates have about {upload_mb:.1f} MB, and the policy allows {policy.max_upload_mb:g} MB"
    return None


def _too_little_privacy(policy: Policy, facts: RunFacts, plan: Plan) -> str | None:
    if policy.min_members is not None and len(facts.members) < policy.min_members:
        return f"the policy wants at least {policy.min_members} members, and the run has {len(facts.members)}"
    if policy.min_updates is not None and plan.least_updates < policy.min_updates:
        wanted = f"rounds joined of at least {policy.min_updates} updates"
        return f"the policy wants {wanted}, and the run allows {plan.least_updates}"
    if plan.evaluation.clients and not policy.drawn_alone:
        return "the server may draw with each member's update alone, which the policy forbids"
    if policy.max_epsilon is not None:
        return f"the policy wants differential privacy (epsilon at most {policy.max_epsilon:g}), and the run has none"
    return None


def is_open(policy: Policy, now: datetime) -> bool:
    """Whether training may begin at `now`, local time. A span that ends before it starts goes over midnight."""
    if policy.hours is None:
        return True
    begin, end = _span(policy.hours)
    if begin <= end:
        return begin <= now.time() < end
    return now.time() >= begin or now.time() < end


def _span(hours: str) -> tuple[time, time]:
    match = HOURS.fullmatch(hours)
    try:
        if match is None:
            raise ValueError
        begin, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    except ValueError:
        raise ValueError(f"hours: '{hours}' is no span of the day; write for example '22:00-06:00'") from None
    if begin == end:
        raise ValueError(f"hours: '{hours}' is empty; leave hours out to train at any time")
    return begin, end
