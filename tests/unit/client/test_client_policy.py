"""What an owner's policy allows and refuses."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from fedflow.client.policy import Policy, is_open, read_policy, refusal
from fedflow.errors import MistakeError
from fedflow.federation.protocol import RunFacts
from fedflow.plan import Plan

HASH = "ab" * 32


def facts(plan: Plan) -> RunFacts:
    return RunFacts(
        id="r1",
        federation_id="f1",
        name="run",
        status="running",
        round=1,
        rounds=plan.rounds,
        plan=plan.model_dump(mode="json"),
        members=("studio",),
        base_hash=HASH,
        base_files=(),
        tensors={"a": (2, 3)},
        upload_bytes=2_500_000,
        message="",
    )


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Policy(), None),
        (Policy(models=("starter",)), None),
        (Policy(models=(HASH,)), None),
        (Policy(models=("cd" * 32,)), "the policy does not allow the base model 'starter'"),
        (Policy(methods=("fedit", "fedex-lora")), None),
        (Policy(methods=("fedit",)), "the run's method is fedex-lora, and the policy allows fedit"),
        (Policy(max_rounds=5), None),
        (Policy(max_rounds=4), "the run has 5 rounds, and the policy allows 4"),
        (Policy(max_pictures=24), None),
        (Policy(max_pictures=23), "the folder holds 24 pictures, and the policy allows 23"),
        (Policy(max_upload_mb=2.5), None),
        (Policy(max_upload_mb=2.4), "the run's updates have about 2.5 MB, and the policy allows 2.4 MB"),
        (Policy(min_members=1), None),
        (Policy(min_members=3), "the policy wants at least 3 members, and the run has 1"),
        (Policy(min_updates=2), None),
        (Policy(min_updates=3), "the policy wants rounds joined of at least 3 updates, and the run allows 2"),
        (Policy(drawn_alone=False), "the server may draw with each member's update alone, which the policy forbids"),
        (
            Policy(max_epsilon=8),
            "the policy wants differential privacy (epsilon at most 8), and the run has none",
        ),
    ],
)
def test_each_limit_refuses_in_one_sentence(policy: Policy, reason: str | None) -> None:
    plan = Plan(rounds=5)
    assert refusal(policy, facts(plan), plan, 24) == reason


@pytest.mark.parametrize(
    ("hours", "open_at", "closed_at"),
    [
        ("22:00-06:00", ("22:00", "23:59", "00:00", "05:59"), ("06:00", "12:00", "21:59")),
        ("08:30-17:00", ("08:30", "16:59"), ("08:29", "17:00", "00:00")),
        (None, ("00:00", "12:00"), ()),
    ],
)
def test_hours_may_go_over_midnight(hours: str | None, open_at: tuple[str, ...], closed_at: tuple[str, ...]) -> None:
    policy = Policy(hours=hours)
    for times, expected in ((open_at, True), (closed_at, False)):
        for time in times:
            assert is_open(policy, datetime.fromisoformat(f"2031-03-01T{time}")) is expected


def test_a_policy_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        'models = ["starter"]\nmethods = ["fedavg"]\nmax_rounds = 3\nmax_upload_mb = 5\nhours = "22:00-06:00"'
    )
    assert read_policy(path) == Policy(
        models=("starter",), methods=("fedavg",), max_rounds=3, max_upload_mb=5, hours="22:00-06:00"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('hours = "22-6"', "hours: '22-6' is no span of the day; write for example '22:00-06:00'"),
        ('hours = "22:00-24:00"', "is no span of the day"),
        ('hours = "22:00-22:00"', "is empty; leave hours out"),
        ("max_round = 3", "unknown key 'max_round'"),
        ('methods = ["fedprox"]', "methods.0"),
        ("max_rounds = true", "max_rounds"),
        ("max_rounds = ", "not valid TOML"),
    ],
)
def test_a_wrong_policy_is_refused_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(MistakeError) as error:
        read_policy(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")


def test_a_missing_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="the policy cannot be read"):
        read_policy(tmp_path / "none.toml")
