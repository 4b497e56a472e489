"""LoRA layers on a model: setting, reading, removing and merging."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fedflow.errors import AdapterError, UpdateError
from fedflow.lora import Adapter, Factors
from fedflow.models import (
    BaseModel,
    add_lora,
    carries_lora,
    folded_lora,
    get_adapter,
    get_weights,
    lora_targets,
    merge,
    merged,
    new_adapter,
    open_model,
    remove_lora,
    set_adapter,
    set_weights,
    trainable_parameters,
)

TO_Q = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
Q_PROJ = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture
def model(tiny_model_folder: Path) -> BaseModel:
    return open_model(str(tiny_model_folder))


def random_adapter(model: BaseModel, text_encoder: bool = False) -> Adapter:
    generator = torch.Generator().manual_seed(5)
    fresh = new_adapter(model, 2, 3.0, text_encoder, generator)
    return {
        key: Factors(factors.A, 0.3 * torch.randn(factors.B.shape, generator=generator), factors.alpha)
        for key, factors in fresh.items()
    }


def denoised(model: BaseModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(2, 4, 8, 8, generator=generator)
    with torch.no_grad():
        context = model.encode_captions(["red", "green"])
        output: torch.Tensor = model.unet(noisy, torch.tensor([10, 900]), context).sample
    return output


def test_targets_are_the_attention_projections(model: BaseModel) -> None:
    unet = lora_targets(model, "unet")
    # one transformer block on the way down, one in the middle, two on the way up; two attentions of four layers each
    assert len(unet) == 4 * 2 * 4
    assert TO_Q in unet
    assert TO_Q.replace("to_q", "to_out.0") in unet
    text_encoder = lora_targets(model, "text_encoder")
    assert len(text_encoder) == 4
    assert Q_PROJ in text_encoder


def test_targets_are_the_same_with_lora_layers_in_place(model: BaseModel) -> None:
    before = list(lora_targets(model, "unet"))
    add_lora(model, 2, 2.0, False, torch.Generator().manual_seed(0))
    assert list(lora_targets(model, "unet")) == before


def test_a_new_adapter_follows_from_its_generator_and_does_nothing(model: BaseModel) -> None:
    first = new_adapter(model, 4, 8.0, True, torch.Generator().manual_seed(3))
    again = new_adapter(model, 4, 8.0, True, torch.Generator().manual_seed(3))
    other = new_adapter(model, 4, 8.0, True, torch.Generator().manual_seed(4))
    assert Q_PROJ in first
    assert first[TO_Q].A.shape == (4, 16)
    assert first[TO_Q].alpha == 8.0
    assert torch.equal(first[TO_Q].A, again[TO_Q].A)
    assert not torch.equal(first[TO_Q].A, other[TO_Q].A)
    # Kaiming's bound for a = sqrt(5) is 1 / sqrt(k)
    assert 0.15 < first[TO_Q].A.abs().max().item() <= 0.25
    assert not first[TO_Q].B.any()


def test_only_lora_parameters_are_trainable(model: BaseModel) -> None:
    add_lora(model, 2, 2.0, True, torch.Generator().manual_seed(0))
    named = trainable_parameters(model)
    assert len(named) == 2 * (32 + 4)
    assert named[f"{TO_Q}.lora_A"].shape == (2, 16)
    trainable = [p for part in ("unet", "text_encoder") for p in model.part(part).parameters() if p.requires_grad]
    assert {id(p) for p in trainable} == {id(p) for p in named.values()}
    assert carries_lora(model, "unet")
    assert carries_lora(model, "text_encoder")


def test_an_adapter_comes_back_as_it_was_set(model: BaseModel) -> None:
    adapter = random_adapter(model, text_encoder=True)
    set_adapter(model, adapter)
    got = get_adapter(model)
    assert list(got) == list(adapter)
    for key, factors in adapter.items():
        assert torch.equal(got[key].A, factors.A)
        assert torch.equal(got[key].B, factors.B)
        assert got[key].alpha == 3.0


def test_setting_another_rank_replaces_the_layers(model: BaseModel) -> None:
    add_lora(model, 4, 4.0, True, torch.Generator().manual_seed(0))
    set_adapter(model, random_adapter(model))
    got = get_adapter(model)
    assert {factors.rank for factors in got.values()} == {2}
    assert not any(key.startswith("text_encoder.") for key in got)


@pytest.mark.parametrize("text_encoder", [False, True])
def test_merging_draws_what_the_layers_draw(model: BaseModel, text_encoder: bool) -> None:
    adapter = random_adapter(model, text_encoder)
    base = denoised(model)
    set_adapter(model, adapter)
    layered = denoised(model)
    assert (layered - base).abs().max() > 1e-2
    remove_lora(model)
    assert torch.equal(denoised(model), base)
    merge(model, adapter)
    torch.testing.assert_close(denoised(model), layered, rtol=1e-4, atol=1e-5)


def test_folded_layers_have_the_same_output_and_gradients(model: BaseModel) -> None:
    set_adapter(model, random_adapter(model, text_encoder=True))
    parameters = trainable_parameters(model)

    def gradients() -> tuple[torch.Tensor, list[torch.Tensor]]:
        noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        output = model.unet(noisy, torch.tensor([10, 900]), model.encode_captions(["red", "green"])).sample
        return output.detach(), list(torch.autograd.grad(output.square().mean(), list(parameters.values())))

    output, plain = gradients()
    with folded_lora(model):
        folded_output, folded = gradients()
    assert not torch.equal(folded_output, output)  # another order of the same sums
    torch.testing.assert_close(folded_output, output, rtol=1e-4, atol=1e-5)
    for left, right in zip(folded, plain, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-6)
    assert torch.equal(gradients()[0], output)


def test_merging_reaches_the_weights_behind_lora_layers(model: BaseModel) -> None:
    adapter = random_adapter(model)
    add_lora(model, 4, 4.0, False, torch.Generator().manual_seed(0))
    before = lora_targets(model, "unet")[TO_Q].get_base_layer().weight.detach().clone()
    merge(model, adapter, 0.5)
    after = lora_targets(model, "unet")[TO_Q].get_base_layer().weight
    torch.testing.assert_close(after, before + 0.5 * adapter[TO_Q].delta())


def test_a_convolution_merges(model: BaseModel) -> None:
    A = torch.arange(36, dtype=torch.float32).reshape(1, 4, 3, 3)
    B = torch.zeros(8, 1, 1, 1)
    B[2] = 1.0
    before = model.unet.conv_in.weight.detach().clone()
    merge(model, {"unet.conv_in": Factors(A, B, 2.0)})
    assert torch.equal(model.unet.conv_in.weight[2], before[2] + 2 * A[0])
    assert torch.equal(model.unet.conv_in.weight[3], before[3])


def test_merged_adapters_add_up_and_leave_every_bit_as_it_was(model: BaseModel) -> None:
    adapter = random_adapter(model, text_encoder=True)
    base = denoised(model)
    with merged(model, [(adapter, 0.25), (adapter, 0.5)]):
        inside = denoised(model)
    assert torch.equal(denoised(model), base)
    assert model.changed_parts() == frozenset()
    merge(model, adapter, 0.75)
    torch.testing.assert_close(inside, denoised(model), rtol=1e-4, atol=1e-5)
    assert model.changed_parts() == {"unet", "text_encoder"}


def test_what_does_not_fit_is_named_and_changes_nothing(model: BaseModel) -> None:
    good = random_adapter(model)
    before = get_weights(model)
    unknown = {**good, "unet.mid_block.nothing": good[TO_Q]}
    with pytest.raises(AdapterError, match=r"'unet\.mid_block\.nothing' is not in model"):
        merge(model, unknown)
    wrong = {**good, TO_Q: Factors(torch.zeros(2, 5), torch.zeros(16, 2), 2.0)}
    with pytest.raises(AdapterError, match=r"to_q' has shape \(16, 5\), model .* has \(16, 16\)"):
        set_adapter(model, wrong)
    with pytest.raises(AdapterError, match="is empty"):
        merge(model, {})
    mixed = {**good, TO_Q: Factors(good[TO_Q].A, good[TO_Q].B, 7.0)}
    with pytest.raises(AdapterError, match="mixes ranks or alphas"):
        set_adapter(model, mixed)
    with pytest.raises(AdapterError, match="has no LoRA layers"):
        get_adapter(model)
    after = get_weights(model)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_come_back_as_they_were_set(model: BaseModel) -> None:
    weights = get_weights(model)
    doubled = {name: 2 * tensor for name, tensor in weights.items()}
    set_weights(model, doubled)
    assert torch.equal(get_weights(model)["unet.conv_in.weight"], doubled["unet.conv_in.weight"])
    with pytest.raises(UpdateError, match=r"'unet\.conv_in\.weight' is missing in the weights"):
        set_weights(model, {name: tensor for name, tensor in weights.items() if name != "unet.conv_in.weight"})
    with pytest.raises(UpdateError, match=r"'unet\.more' is missing in the model"):
        set_weights(model, {**weights, "unet.more": torch.zeros(1)})
    with pytest.raises(UpdateError, match=r"'unet\.conv_in\.bias' has shape \(3,\)"):
        set_weights(model, {**weights, "unet.conv_in.bias": torch.zeros(3)})
