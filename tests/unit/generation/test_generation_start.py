"""Pictures drawn over others, whole or within a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedflow.errors import ModelError
from fedflow.generation import generate
from fedflow.models import SAMPLERS, BaseModel, Start, decode_small, open_model


@pytest.fixture
def model(tiny_model_folder: Path) -> BaseModel:
    return open_model(str(tiny_model_folder))


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_strength_says_how_many_steps_are_done(model: BaseModel, pictures: np.ndarray, sampler: str) -> None:
    for strength, wanted in ((1.0, 4), (0.5, 2), (0.05, 1)):
        done: list[int] = []
        start = Start(pictures[:1], strength)
        generate(model, ["red"], [1], steps=4, start=start, sampler=sampler, step=done.append)
        assert done == list(range(1, wanted + 1))


def test_a_picture_depends_on_its_own_start_and_seed(model: BaseModel, pictures: np.ndarray) -> None:
    together = generate(model, ["red", "green"], [1, 2], steps=4, start=Start(pictures, 0.5))
    for number, prompt in enumerate(("red", "green")):
        own = Start(pictures[number : number + 1], 0.5)
        alone = generate(model, [prompt], [number + 1], steps=4, start=own)[0]
        assert np.abs(alone.astype(int) - together[number].astype(int)).max() <= 1
    assert not np.array_equal(together, generate(model, ["red", "green"], [1, 2], steps=4))


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_outside_the_mask_every_bit_stays(model: BaseModel, pictures: np.ndarray, sampler: str) -> None:
    masks = np.zeros((2, 16, 16), np.uint8)
    masks[:, :, :8] = 255
    drawn = generate(model, ["red"] * 2, [1, 2], steps=3, start=Start(pictures, 0.9, masks), sampler=sampler)
    assert np.array_equal(drawn[:, :, 8:], pictures[:, :, 8:])
    assert not np.array_equal(drawn[:, :, :8], pictures[:, :, :8])


def test_starts_of_another_size_are_refused(model: BaseModel, pictures: np.ndarray) -> None:
    with pytest.raises(ModelError, match="give 1 of 16 by 16 pixels"):
        generate(model, ["red"], [1], start=Start(pictures, 0.5))


def test_one_who_looks_sees_what_the_picture_becomes_and_changes_nothing(model: BaseModel) -> None:
    looks: list[np.ndarray] = []
    seen = generate(model, ["red"], [1], steps=4, look=lambda latents: looks.append(decode_small(model, latents[0])))
    assert np.array_equal(seen, generate(model, ["red"], [1], steps=4))
    assert [each.shape for each in looks] == [(16, 16, 3)] * 4
    assert np.abs(looks[-1].astype(int) - seen[0]).mean() <= 2, "the last guess is the picture"


@pytest.mark.parametrize(("height", "width", "shown"), [(64, 64, (16, 16)), (64, 32, (16, 8)), (16, 640, (2, 16))])
def test_a_small_picture_has_the_shape_of_the_large_one(
    model: BaseModel, height: int, width: int, shown: tuple[int, int]
) -> None:
    with torch.inference_mode():
        assert decode_small(model, torch.zeros(4, height, width), most=8).shape == (*shown, 3)


def test_a_start_that_is_not_square_is_drawn_over_outside_the_mask_bit_for_bit(model: BaseModel) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (1, 16, 24, 3), dtype=np.uint8)
    masks = np.zeros((1, 16, 24), np.uint8)
    masks[:, :, :8] = 255
    over = generate(model, ["red"], [1], steps=3, start=Start(pictures, 0.9), size=(24, 16))
    assert over.shape == (1, 16, 24, 3)
    within = generate(model, ["red"], [1], steps=3, start=Start(pictures, 0.9, masks), size=(24, 16))
    assert np.array_equal(within[:, :, 8:], pictures[:, :, 8:])
    assert not np.array_equal(within[:, :, :8], pictures[:, :, :8])
    with pytest.raises(ModelError, match="give 1 of 16 by 24 pixels"):
        generate(model, ["red"], [1], start=Start(pictures, 0.5), size=(16, 24))
