"""What is told of a run before it starts, against what it then weighs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from fedflow.aggregation.fedex_lora import fedex_lora
from fedflow.aggregation.update import AdapterUpdate
from fedflow.federation.estimates import BaseShapes, estimate, shapes_of
from fedflow.federation.workbench import initial_adapter
from fedflow.lora import Adapter, Factors
from fedflow.models import BaseModel, adapter_bytes, model_folder, new_adapter, open_model
from fedflow.models.weights import get_weights
from fedflow.plan import STARTER, Plan
from fedflow.tensors import to_bytes

CLIENTS = ("a", "b", "c")


@pytest.fixture(scope="module")
def model() -> BaseModel:
    return open_model(STARTER)


@pytest.fixture(scope="module")
def shapes() -> BaseShapes:
    folder = model_folder(STARTER)
    assert folder is not None
    return shapes_of(folder)


def plan_of(**settings: object) -> Plan:
    return Plan.model_validate({"data": {"clients": CLIENTS}, **settings})


def trained(model: BaseModel, plan: Plan, seed: int) -> Adapter:
    """An adapter of the plan's shape with numbers in A and B."""
    generator = torch.Generator().manual_seed(seed)
    fresh = new_adapter(model, plan.lora.rank, plan.lora.alpha, plan.lora.text_encoder, generator)
    return {
        key: Factors(each.A, torch.randn(each.B.shape, generator=generator), each.alpha) for key, each in fresh.items()
    }


@pytest.mark.parametrize("text_encoder", [False, True])
@pytest.mark.parametrize("wire", ["float16", "float32"])
def test_an_update_weighs_what_was_told(model: BaseModel, shapes: BaseShapes, text_encoder: bool, wire: str) -> None:
    plan = plan_of(lora={"rank": 6, "alpha": 6, "text_encoder": text_encoder}, network={"wire": wire})
    told = estimate(plan, shapes, {}, {})
    sent = len(initial_adapter(model, plan, 1)) // (2 if wire == "float16" else 1)
    assert told.upload_bytes == pytest.approx(sent, rel=0.05)


def test_what_a_round_gives_out_weighs_what_was_told(model: BaseModel, shapes: BaseShapes) -> None:
    plan = plan_of(lora={"rank": 4, "alpha": 4})
    updates = [AdapterUpdate(name, 10, trained(model, plan, seed)) for seed, name in enumerate(CLIENTS)]
    joined = fedex_lora(updates, "samples")
    assert joined.adapter is not None
    assert joined.residual is not None
    given = sum(len(adapter_bytes(each, "diffusers", {})) for each in (joined.adapter, joined.residual))
    assert estimate(plan, shapes, {}, {}).download_bytes == pytest.approx(given, rel=0.05)


def test_a_whole_model_weighs_what_was_told(model: BaseModel, shapes: BaseShapes) -> None:
    told = estimate(plan_of(method="fedavg", network={"wire": "float32"}), shapes, {}, {})
    weighs = len(to_bytes(get_weights(model), {}))
    assert told.upload_bytes == pytest.approx(weighs, rel=0.01)
    assert told.download_bytes == pytest.approx(weighs, rel=0.01)


def test_time_is_the_slowest_members_and_unknown_where_nobody_has_told(shapes: BaseShapes) -> None:
    plan = plan_of(rounds=3, training={"batch_size": 4, "epochs": 2})
    told = estimate(plan, shapes, {"a": 20, "b": 40, "stranger": 9}, {"a": 0.5, "b": 0.2})
    assert told.steps == {"a": 10, "b": 20}
    assert (told.round_s, told.run_s) == (5.0, 15.0)
    assert estimate(plan, shapes, {"a": 20}, {}).run_s is None


def test_all_that_are_asked_are_counted(shapes: BaseShapes) -> None:
    plan = plan_of(rounds=2, clients_per_round=1, network={"over_selection": 1.5})
    told = estimate(plan, shapes, {}, {})
    assert told.total_bytes == 2 * 2 * (told.upload_bytes + told.download_bytes)


def test_no_torch_is_needed() -> None:
    code = "import sys, fedflow.federation.estimates; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
