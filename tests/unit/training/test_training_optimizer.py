"""The flat optimiser is torch's AdamW, and gives the parameters back."""

from __future__ import annotations

import torch
from torch import nn

from fedflow.training.optimizer import FlatAdamW


def parameters() -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"a": (3, 2), "b": (4,), "c": (1, 2, 2)}
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


def loss(named: dict[str, nn.Parameter]) -> torch.Tensor:
    return sum(((parameter - 1) ** 4).sum() for parameter in named.values())  # type: ignore[return-value]


def test_steps_are_those_of_adamw_with_clipping() -> None:
    ours, theirs = parameters(), parameters()
    flat = FlatAdamW(ours, weight_decay=0.1)
    reference = torch.optim.AdamW(theirs.values(), weight_decay=0.1)
    for rate in (0.1, 0.05, 0.2):
        loss(ours).backward()
        flat.step(rate, 0.5)
        loss(theirs).backward()
        nn.utils.clip_grad_norm_(theirs.values(), 0.5)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        reference.zero_grad()
    for name, parameter in theirs.items():
        torch.testing.assert_close(ours[name].detach(), parameter.detach())


def test_a_state_goes_on_where_it_was_taken() -> None:
    first, second = parameters(), parameters()
    flat = FlatAdamW(first, weight_decay=0.1)
    loss(first).backward()
    flat.step(0.1, 1.0)
    state = {name: tensor.clone() for name, tensor in flat.state().items()}
    assert sorted(state) == sorted(f"{kind}/{name}" for kind in ("weight", "exp_avg", "exp_avg_sq") for name in "abc")
    other = FlatAdamW(second, weight_decay=0.1)
    other.restore(state, 1)
    for named, optimizer in ((first, flat), (second, other)):
        loss(named).backward()
        optimizer.step(0.1, 1.0)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_released_parameters_have_memory_of_their_own() -> None:
    named = parameters()
    flat = FlatAdamW(named, weight_decay=0.0)
    assert len({parameter.untyped_storage().data_ptr() for parameter in named.values()}) == 1
    flat.release()
    assert len({parameter.untyped_storage().data_ptr() for parameter in named.values()}) == 3
    assert all(parameter.grad is None for parameter in named.values())
