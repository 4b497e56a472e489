"""A federation's rules: what its coordinators allow for its runs and members, enforced where these come about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from fedflow.plan import Method, Plan, Settings
from fedflow.server.database.tables import Device, Federation, Member
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.reading import remembered
from fedflow.server.services import audit, roles
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.store import Store

MOST_EXAMPLES = 2**53

Model = Annotated[str, Field(min_length=1, max_length=400)]


class RunPolicies(Settings):
    """Which runs may be planned. Runs that have begun keep what they began with."""

    allowed_models: tuple[Model, ...] = Field(
        (),
        strict=False,
        max_length=50,
        description="Base models that a run may start from, one per line: 'starter', 'registry:NAME', or OWNER/NAME on "
        "the model hub; empty allows all.",
    )
    allowed_methods: tuple[Method, ...] = Field(
        (),
        strict=False,
        max_length=10,
        description="Methods of joining updates that a run may use; none ticked allows all.",
    )
    most_rounds: int | None = Field(None, ge=1, le=10_000, description="The most rounds that a run may have.")
    least_members: int | None = Field(
        None, ge=1, le=10_000, description="The fewest members that a run may be planned with."
    )
    least_updates: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="The fewest updates, each of another member, that a round may be joined from.",
    )


class MemberPolicies(Settings):
    """Who may join, and how much they count."""

    most_members: int | None = Field(
        None, ge=1, le=100_000, description="The most members that the federation may have; removed ones do not count."
    )
    most_devices: int | None = Field(None, ge=1, le=1000, description="The most devices that one member may have.")
    own_devices: bool = Field(
        True,
        description="Participants may let in devices of the organisation that they act for, by signing in; otherwise "
        "each needs a join code from a coordinator.",
    )
    most_examples: int = Field(
        100_000,
        ge=1,
        le=MOST_EXAMPLES,
        description="The most pictures that a new member's update counts for, unless its join code says otherwise.",
    )
    join_code_life_hours: int | None = Field(
        None,
        ge=1,
        le=24 * 365,
        description="How long a join code works; the server's setting if empty.",
    )


class VisibilityPolicies(Settings):
    """What others see of single members."""

    member_galleries: bool = Field(
        True,
        description="Pictures are drawn with one member's update alone, and everybody here sees them.",
    )
    example_counts: bool = Field(
        True, description="Viewers see how many pictures each member trains with; all others always see it."
    )


class Policies(Settings):
    """Rules of one federation; a rule without a value forbids nothing."""

    runs: RunPolicies = RunPolicies()
    members: MemberPolicies = MemberPolicies()
    visibility: VisibilityPolicies = VisibilityPolicies()


def of(session: Session, federation_id: str) -> Policies:
    """The federation's rules, in the caller's transaction. Raises NotFound."""
    query = select(Federation.policies).where(Federation.id == federation_id)
    kept = remembered(session, (Federation.policies, federation_id), lambda: session.scalar(query))
    if kept is None:
        raise NotFound(f"there is no federation {federation_id}")
    return Policies.model_validate(kept)


def of_open(session: Session, federation_id: str) -> Policies:
    """The rules for what is to begin there, as `of`. Raises Conflict where the federation is closed."""
    if session.scalar(select(Federation.closed_at).where(Federation.id == federation_id)) is not None:
        raise Conflict("the federation is closed; its administrators can open it again")
    return of(session, federation_id)


def read(store: Store, federation_id: str) -> Policies:
    """The federation's rules. Raises NotFound."""
    with store.read() as session:
        return of(session, federation_id)


def change(store: Store, federation_id: str, wanted: Policies, by: Caller = SERVER) -> None:
    """Set all rules of the federation; from then on they hold for what is new. Raises NotFound."""
    with store.begin() as session:
        federation = session.scalar(select(Federation).where(Federation.id == federation_id).with_for_update())
        if federation is None:
            raise NotFound(f"there is no federation {federation_id}")
        before, after = _flat(of(session, federation_id)), _flat(wanted)
        told = {name: [before[name], value] for name, value in after.items() if value != before[name]}
        if not told:
            return
        federation.policies = wanted.model_dump(mode="json", exclude_defaults=True)
        audit.record(session, store, by, "rules changed", "federation", federation_id, federation_id, **told)


def broken(policies: Policies, plan: Plan) -> dict[str, str]:
    """What of a plan the rules forbid: by the plan's field, a sentence with the rule, its value and the way out."""
    found: dict[str, str] = {}
    rules = policies.runs
    models, methods = rules.allowed_models, rules.allowed_methods
    if models and plan.model not in models:
        found["model"] = (
            f"the federation's rule allows the base models {_listed(models)}, not '{plan.model}'; choose one of them, "
            "or have a coordinator change the rule"
        )
    if methods and plan.method not in methods:
        found["method"] = (
            f"the federation's rule allows the methods {_listed(methods)}, not '{plan.method}'; choose one of them, "
            "or have a coordinator change the rule"
        )
    if rules.most_rounds is not None and plan.rounds > rules.most_rounds:
        found["rounds"] = (
            f"the federation's rule allows at most {rules.most_rounds} rounds, and the plan has {plan.rounds}; "
            "plan fewer, or have a coordinator change the rule"
        )
    members = len(plan.data.clients)
    if rules.least_members is not None and members < rules.least_members:
        found["data.clients"] = (
            f"the federation's rule wants at least {rules.least_members} members in a run, and the plan has "
            f"{members}; choose more, or have a coordinator change the rule"
        )
    if rules.least_updates is not None and plan.least_updates < rules.least_updates:
        found["network.quorum"] = (
            f"the federation's rule wants at least {rules.least_updates} updates in a round, and this plan joins "
            f"{plan.least_updates}; raise the quorum, or have a coordinator change the rule"
        )
    if not policies.visibility.member_galleries and plan.evaluation.clients:
        found["evaluation.clients"] = (
            "the federation's rule lets nothing be drawn with one member's update alone; switch this off, "
            "or have a coordinator change the rule"
        )
    return found


def check_room(session: Session, federation_id: str, policies: Policies) -> None:
    """Raise Conflict where the federation has as many members as its rule allows; in the caller's transaction."""
    if policies.members.most_members is None:
        return
    here = (Member.federation_id == federation_id, Member.removed_at.is_(None))
    count = session.scalar(select(func.count()).select_from(Member).where(*here)) or 0
    if count >= policies.members.most_members:
        raise Conflict(
            f"the federation's rule allows at most {policies.members.most_members} members, and it has {count}; "
            "ask its coordinator to remove one or to change the rule"
        )


def check_devices(session: Session, member: Member, policies: Policies) -> None:
    """Raise Conflict where the member has as many devices as the rule allows; in the caller's transaction."""
    if policies.members.most_devices is None:
        return
    active = (Device.member_id == member.id, Device.revoked_at.is_(None))
    count = session.scalar(select(func.count()).select_from(Device).where(*active)) or 0
    if count >= policies.members.most_devices:
        raise Conflict(
            f"the federation's rule allows at most {policies.members.most_devices} devices of one member, and "
            f"'{member.name}' has {count}; ask its coordinator to revoke one or to change the rule"
        )


def shows_examples(session: Session, caller: Caller, federation_id: str) -> bool:
    """Whether `caller` sees with how many examples each member of the federation trains."""
    if caller.kind != "person" or roles.is_at_least(roles.role(session, caller, federation_id), "participant"):
        return True
    return of(session, federation_id).visibility.example_counts


def hides_examples(store: Store, caller: Caller, federation_id: str) -> bool:
    """Whether `caller` is not to be told with how many examples each member of the federation trains."""
    with store.read() as session:
        return not shows_examples(session, caller, federation_id)


def _flat(policies: Policies) -> dict[str, Any]:
    """All rules by their names, without the groups."""
    return {name: value for group in policies.model_dump(mode="json").values() for name, value in group.items()}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
