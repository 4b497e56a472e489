"""What is told of a run before it starts, against what it then weighs."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fedflow.aggregation.fedex_lora import fedex_lora
from fedflow.aggregation.update import AdapterUpdate
from fedflow.federation.estimates import FEW_PICTURES, BaseShapes, estimate, shapes_of
from fedflow.federation.pace import USUAL_FLOPS_S
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


def test_the_work_of_a_step_is_what_torch_counts(model: BaseModel, shapes: BaseShapes) -> None:
    side, tokens = int(model.unet.config.sample_size), model.tokenizer.model_max_length
    width = int(model.unet.config.cross_attention_dim)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.unet(torch.zeros(1, 4, side, side), torch.tensor([5]), torch.zeros(1, tokens, width))
    forth = counter.get_total_flops()
    assert shapes.step_flops(plan_of(method="fedavg", training={"batch_size": 2})) == 3 * 2 * forth
    assert shapes.step_flops(plan_of(training={"batch_size": 1, "gradient_accumulation": 5})) == 2 * 5 * forth
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model.text_encoder(torch.zeros(1, tokens, dtype=torch.long))
    with_text = plan_of(lora={"text_encoder": True}, training={"batch_size": 1})
    assert shapes.step_flops(with_text) == 2 * (forth + counter.get_total_flops())


def test_time_is_the_slowest_members_by_its_own_pace_or_the_usual_one(shapes: BaseShapes) -> None:
    plan = plan_of(rounds=3, training={"batch_size": 4, "epochs": 2})
    flops = shapes.step_flops(plan)
    told = estimate(plan, shapes, {"a": 20, "b": 40, "stranger": 9}, {"a": flops / 0.5, "b": flops / 0.2})
    assert told.steps == {"a": 10, "b": 20}
    assert (told.round_s, told.is_measured) == (pytest.approx(5.0), True)
    usual = estimate(plan, shapes, {"b": 40}, {})
    assert (usual.round_s, usual.is_measured) == (pytest.approx(20 * flops / USUAL_FLOPS_S), False)
    nobody = estimate(plan, shapes, {}, {})
    assert nobody.round_s == pytest.approx(usual.round_s * FEW_PICTURES / 40)


def test_the_usual_pace_is_the_one_that_was_measured(shapes: BaseShapes) -> None:
    step = shapes.step_flops(plan_of(lora={"rank": 16}, training={"batch_size": 8}))
    assert step / USUAL_FLOPS_S == pytest.approx(0.103, rel=0.05), "benchmarks/RESULTS.md, Training"


def test_all_that_are_asked_are_counted(shapes: BaseShapes) -> None:
    plan = plan_of(rounds=2, clients_per_round=1, network={"over_selection": 1.5})
    told = estimate(plan, shapes, {}, {})
    assert told.total_bytes == 2 * 2 * (told.upload_bytes + told.download_bytes)


def test_no_torch_is_needed() -> None:
    code = "import sys, fedflow.federation.estimates; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
