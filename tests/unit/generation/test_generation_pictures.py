"""Pictures from prompts and seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedflow.errors import ModelError
from fedflow.generation import generate
from fedflow.lora import Factors
from fedflow.models import SAMPLERS, BaseModel, new_adapter, open_model, set_adapter


@pytest.fixture
def model(tiny_model_folder: Path) -> BaseModel:
    return open_model(str(tiny_model_folder))


def difference(left: np.ndarray, right: np.ndarray) -> int:
    return int(np.abs(left.astype(int) - right.astype(int)).max())


def test_a_picture_depends_on_its_prompt_and_seed_alone(model: BaseModel) -> None:
    prompts, seeds = ["red", "green", "red", "blue", "red"], [1, 2, 3, 4, 1]
    together = generate(model, prompts, seeds, steps=3, batch_size=3)
    assert together.shape == (5, 16, 16, 3)
    assert together.dtype == np.uint8
    assert difference(together[0], together[4]) <= 1
    assert difference(together[0], together[2]) > 1
    for position, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
        alone = generate(model, [prompt], [seed], steps=3)
        assert difference(alone[0], together[position]) <= 1


def test_prompt_negative_and_guidance_matter(model: BaseModel) -> None:
    plain = generate(model, ["red"], [1], steps=3)
    assert difference(plain, generate(model, ["green"], [1], steps=3)) > 0
    assert difference(plain, generate(model, ["red"], [1], steps=3, negative="blue")) > 0
    unguided = generate(model, ["red"], [1], steps=3, guidance=1.0)
    assert difference(plain, unguided) > 0
    assert np.array_equal(unguided, generate(model, ["red"], [1], steps=3, guidance=1.0, negative="blue"))


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_every_sampler_draws(model: BaseModel, sampler: str) -> None:
    assert generate(model, ["red"], [1], steps=2, sampler=sampler, size=32).shape == (1, 32, 32, 3)


def test_adapters_act_with_their_weights_and_leave_the_model_as_it_was(model: BaseModel) -> None:
    generator = torch.Generator().manual_seed(0)
    adapter = {
        key: Factors(factors.A, torch.randn(factors.B.shape, generator=generator), 2.0)
        for key, factors in new_adapter(model, 2, 2.0, True, generator).items()
    }
    base = generate(model, ["red"], [1], steps=3)
    half = generate(model, ["red"], [1], steps=3, adapters=[(adapter, 0.5)])
    twice_a_quarter = generate(model, ["red"], [1], steps=3, adapters=[(adapter, 0.25), (adapter, 0.25)])
    full = generate(model, ["red"], [1], steps=3, adapters=[(adapter, 1.0)])
    assert np.array_equal(generate(model, ["red"], [1], steps=3), base)
    assert difference(half, twice_a_quarter) <= 1
    assert min(difference(base, half), difference(half, full)) > 1
    set_adapter(model, adapter)
    assert difference(generate(model, ["red"], [1], steps=3), full) <= 1


def test_released_parts_come_back_and_no_prompts_is_no_pictures(model: BaseModel) -> None:
    model.release("vae", "text_encoder")
    told: list[tuple[int, int]] = []
    pictures = generate(
        model, ["red"] * 3, [1, 2, 3], steps=1, batch_size=2, progress=lambda done, total: told.append((done, total))
    )
    assert len(pictures) == 3
    assert told == [(2, 3), (3, 3)]
    assert not next(model.vae.parameters()).is_inference()
    assert generate(model, [], []).shape == (0, 16, 16, 3)


def test_width_and_height_are_two_things(model: BaseModel) -> None:
    wide, alone = (generate(model, ["red"] * n, [1, 2][:n], steps=2, size=(32, 16)) for n in (2, 1))
    assert (wide.shape, alone.shape) == ((2, 16, 32, 3), (1, 16, 32, 3))
    assert difference(wide[:1], alone) <= 1
    assert generate(model, ["red"], [1], steps=2, size=(10, 18)).shape == (1, 18, 10, 3)


def test_what_does_not_fit_is_named(model: BaseModel) -> None:
    with pytest.raises(ModelError, match="2 prompts, but 1 seeds"):
        generate(model, ["red", "green"], [1])
    with pytest.raises(ModelError, match="sampler 'plms' is unknown; choose one of dpm"):
        generate(model, ["red"], [1], sampler="plms")
    with pytest.raises(ModelError, match="size 33"):
        generate(model, ["red"], [1], size=(32, 33))


def test_what_takes_each_batch_has_all_and_nothing_is_kept_beside_it(tiny_model_folder: Path) -> None:
    taken: list[tuple[int, int]] = []
    left = generate(
        open_model(str(tiny_model_folder)), ["red"] * 3, [1, 2, 3], steps=1, batch_size=2,
        take=lambda first, pictures: taken.append((first, len(pictures))),
    )  # fmt: skip
    assert (taken, left.shape) == ([(0, 2), (2, 1)], (0, 16, 16, 3))
