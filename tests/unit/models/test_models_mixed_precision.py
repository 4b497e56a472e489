"""Frozen convolutions in bfloat16: nearly the same picture, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import torch

from fedflow.models import add_lora, bfloat16_convolutions, open_model, trainable_parameters


def test_frozen_convolutions_round_and_nothing_else_changes(tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    add_lora(model, 2, 2.0, False, torch.Generator().manual_seed(0))
    for parameter in trainable_parameters(model).values():
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    weights = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    context = model.encode_captions(["red", "green"])

    def step() -> tuple[torch.Tensor, list[torch.Tensor]]:
        noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        output = model.unet(noisy, torch.tensor([10, 900]), context).sample
        return output.detach(), list(
            torch.autograd.grad(output.square().mean(), list(trainable_parameters(model).values()))
        )

    output, gradients = step()
    with bfloat16_convolutions(model):
        rounded_output, rounded = step()
    assert rounded_output.dtype == torch.float32
    assert not torch.equal(rounded_output, output)
    assert (rounded_output - output).norm() < 0.02 * output.norm()
    left, right = (torch.cat([gradient.flatten() for gradient in side]) for side in (rounded, gradients))
    assert (left - right).norm() < 0.05 * right.norm()
    assert torch.equal(step()[0], output)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.unet.state_dict().items())


def test_trained_convolutions_are_left_alone(tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    model.unet.requires_grad_(True)
    with bfloat16_convolutions(model):
        model.unet(torch.zeros(1, 4, 8, 8), torch.tensor([1]), model.encode_captions([""])).sample.mean().backward()
    assert model.unet.conv_in.weight.grad is not None
