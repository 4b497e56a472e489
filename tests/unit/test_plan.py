"""Plans: defaults, files, overrides, and one clear line for every fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from fedflow.errors import PlanError
from fedflow.plan import Plan, read_plan

PLANS = Path(__file__).parents[2] / "src" / "fedflow" / "data" / "plans"


def write(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_plans_are_valid_and_follow_the_reference_protocol() -> None:
    paper = read_plan(PLANS / "paper.toml")
    assert paper.model == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert (paper.rounds, len(paper.data.clients), paper.method) == (3, 5, "fedex-lora")
    assert read_plan(PLANS / "demo.toml").model == "starter"


def test_the_starter_takes_one_line_in_the_paper_plan() -> None:
    assert read_plan(PLANS / "paper.toml", ("model=starter",)).model == "starter"


def test_relative_folders_count_from_the_plan(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, '[data]\nroot = "pictures"\n'))
    assert plan.data.root == str(tmp_path / "pictures")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rond = 3", ["unknown key 'rond'"]),
        ("[training]\nepoch = 3", ["unknown key 'training.epoch'"]),
        ('rounds = "3"', ["rounds", "whole number", "'3'"]),
        ("rounds = 0", ["rounds", "greater than or equal to 1"]),
        ("rounds = true", ["rounds", "whole number"]),
        ("[training]\nlearning_rate = true", ["training.learning_rate", "must be a number", "True"]),
        ("[training]\nmin_snr_gamma = 5e-324", ["training.min_snr_gamma", "0.001"]),
        ("[lora]\nalpha = nan", ["lora.alpha", "finite"]),
        ('method = "fedsgd"', ["method", "'fedavg'"]),
        ("seeds = [1, 1]", ["seeds"]),
        ("clients_per_round = 9", ["clients_per_round", "9 of only 5"]),
        ('method = "fedit"\nmax_residual_rank = 4', ["max_residual_rank", "fedit"]),
        ('[data]\nclients = ["a", "a"]', ["clients", "twice"]),
        ("rounds = ", ["not valid TOML"]),
    ],
)
def test_a_fault_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for word in words:
        assert word in message
    assert caught.value.exit_status == 2


def test_a_missing_plan_and_a_plan_in_another_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no such plan"):
        read_plan(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes('name = "café"'.encode("latin-1"))
    with pytest.raises(PlanError, match="not UTF-8"):
        read_plan(path)


def test_overrides_are_read_as_toml_or_text(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path, ""), ("training.epochs=7", "model=some/model", "seeds=[3, 4]"))
    assert (plan.training.epochs, plan.model, plan.seeds) == (7, "some/model", (3, 4))
    with pytest.raises(PlanError, match="KEY=VALUE"):
        read_plan(write(tmp_path, ""), ("training.epochs",))
    with pytest.raises(PlanError, match="'rounds' is a value"):
        read_plan(write(tmp_path, "rounds = 2"), ("rounds.number=2",))


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [("training", "learning_rate", 500.0), ("training", "epochs", 10_001), ("network", "deadline_s", 1e9)],
)
def test_a_number_beyond_its_limit_is_refused_where_it_is_given_and_opens_where_it_was_kept(
    tmp_path: Path, group: str, key: str, value: float
) -> None:
    with pytest.raises(PlanError, match=rf"{group}\.{key}: input should be less than or equal to"):
        read_plan(write(tmp_path, f"[{group}]\n{key} = {value}\n"))
    kept = Plan.model_validate({group: {key: value}})
    assert getattr(getattr(kept, group), key) == value


def test_seeds_and_deadlines_have_limits_where_they_are_given(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"seeds\.1: input should be less than or equal to"):
        read_plan(write(tmp_path, f"seeds = [1, {2**32}]\n"))
    with pytest.raises(PlanError, match=r"network\.deadline_s: input should be greater than or equal to 10"):
        read_plan(write(tmp_path, "[network]\ndeadline_s = 1e-9\n"))
    assert Plan.model_validate({"network": {"deadline_s": 0.5}}).network.deadline_s == 0.5


def test_a_plan_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Plan().rounds = 4  # type: ignore[misc]


def test_unequal_plans_are_unequal() -> None:
    assert Plan() == Plan.model_validate({})
    assert Plan() != Plan.model_validate({"rounds": 4})
