"""Steps, learning rates and example order."""

from __future__ import annotations

import pytest
import torch

from fedflow.plan import steps_for
from fedflow.training import Recipe, smaller_batches
from fedflow.training.randomness import ExampleOrder, generator_for


@pytest.mark.parametrize(
    ("num_examples", "batch_size", "epochs", "accumulation", "steps"),
    [(20, 8, 1, 1, 3), (20, 8, 2, 1, 5), (40, 8, 4, 1, 20), (3, 8, 1, 1, 1), (200, 8, 4, 2, 50), (1, 1, 1, 1, 1)],
)
def test_steps_round_up_once(num_examples: int, batch_size: int, epochs: int, accumulation: int, steps: int) -> None:
    assert steps_for(num_examples, batch_size, epochs, accumulation) == steps


def test_counts_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="0 examples, batch size 8, 1 epochs"):
        steps_for(0, 8, 1)
    with pytest.raises(ValueError, match="batch_size 0"):
        Recipe(steps=1, batch_size=0)
    with pytest.raises(ValueError, match="schedule 'linear': known are constant, cosine"):
        Recipe(steps=1, schedule="linear")


@pytest.mark.parametrize(
    ("batch", "accumulation", "smaller"),
    [(8, 1, (4, 2)), (3, 1, (1, 3)), (9, 1, (3, 3)), (6, 4, (3, 8)), (5, 2, (2, 5)), (1, 1, None), (1, 8, None)],
)
def test_smaller_batches_hold_as_many_pictures_a_step(
    batch: int, accumulation: int, smaller: tuple[int, int] | None
) -> None:
    assert smaller_batches(batch, accumulation) == smaller


def test_rates_warm_up_and_fall() -> None:
    constant = Recipe(steps=10, learning_rate=1.0, warmup_steps=3)
    assert [constant.rate_at(step) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    cosine = Recipe(steps=12, learning_rate=2.0, schedule="cosine", warmup_steps=2)
    assert cosine.rate_at(2) == 2.0
    assert cosine.rate_at(7) == pytest.approx(1.0)
    assert 0.0 < cosine.rate_at(11) < 0.06


def test_every_epoch_holds_every_example_once() -> None:
    stream = ExampleOrder(5, seed=1).take(0, 15).tolist()
    epochs = [stream[0:5], stream[5:10], stream[10:15]]
    assert [sorted(epoch) for epoch in epochs] == [[0, 1, 2, 3, 4]] * 3
    assert epochs[0] != epochs[1]
    assert ExampleOrder(5, seed=2).take(0, 15).tolist() != stream


def test_the_order_is_the_same_from_any_position() -> None:
    stream = ExampleOrder(5, seed=1).take(0, 20).tolist()
    later = ExampleOrder(5, seed=1)
    assert later.take(12, 8).tolist() == stream[12:]
    assert later.take(3, 4).tolist() == stream[3:7]


def test_generators_differ_by_seed_purpose_and_index() -> None:
    draws = {
        float(torch.rand(1, generator=generator_for(*arguments)))
        for arguments in [(1, "step", 0), (2, "step", 0), (1, "epoch", 0), (1, "step", 1)]
    }
    assert len(draws) == 4
    assert float(torch.rand(1, generator=generator_for(1, "step", 0))) in draws
