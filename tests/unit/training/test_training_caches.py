"""Cached latents and captions stand for what the model would compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fedflow.datasets import Dataset, read_folder
from fedflow.errors import DatasetError, ModelError
from fedflow.models import BaseModel, open_model
from fedflow.training import CaptionCache, LatentCache, cache_captions, cache_latents


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> BaseModel:
    return open_model(str(tiny_model_folder))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0)
    for name, caption in (("a", "red, apple"), ("b", "green, pear"), ("c", "red, apple")):
        Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(caption)
    return read_folder(folder, 16)


def test_latents_are_the_posterior_of_both_views(model: BaseModel, dataset: Dataset) -> None:
    told: list[tuple[int, int]] = []
    cache = cache_latents(model, dataset, True, lambda done, total: told.append((done, total)))
    assert cache.mean_NVCHW.shape == cache.std_NVCHW.shape == (3, 2, 4, 8, 8)
    assert told == [(3, 3)]
    pixels = torch.from_numpy(np.array(Image.open(dataset.pictures[1].path))).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        plain = model.vae.encode(pixels).latent_dist
        mirrored = model.vae.encode(pixels.flip(-1)).latent_dist
    # 0.5 is the model's scaling factor
    torch.testing.assert_close(cache.mean_NVCHW[1, 0], 0.5 * plain.mean[0])
    torch.testing.assert_close(cache.mean_NVCHW[1, 1], 0.5 * mirrored.mean[0])
    torch.testing.assert_close(cache.std_NVCHW[1, 0], 0.5 * plain.std[0])
    assert cache_latents(model, dataset, flip=False).mean_NVCHW.shape == (3, 1, 4, 8, 8)


def test_every_draw_is_a_fresh_sample_of_one_view() -> None:
    mean = torch.tensor([10.0, 20.0]).view(1, 2, 1, 1, 1).expand(1, 2, 4, 2, 2)
    cache = LatentCache(mean, torch.full_like(mean, 0.1))
    generator = torch.Generator().manual_seed(0)
    drawn = cache.sample(torch.zeros(400, dtype=torch.long), generator)
    assert drawn.shape == (400, 4, 2, 2)
    of_second_view = drawn[:, 0, 0, 0] > 15
    assert 160 < int(of_second_view.sum()) < 240
    residual = drawn - torch.where(of_second_view, 20.0, 10.0).view(-1, 1, 1, 1)
    assert residual.std().item() == pytest.approx(0.1, rel=0.05)


def test_captions_are_encoded_once_each_with_the_empty_one_last(model: BaseModel, dataset: Dataset) -> None:
    cache = cache_captions(model, dataset)
    assert cache.texts == ("red, apple", "green, pear", "")
    assert cache.index_N.tolist() == [0, 1, 0]
    with torch.no_grad():
        torch.testing.assert_close(cache.embeddings_ULD, model.encode_captions(["red, apple", "green, pear", ""]))


def test_captions_are_dropped_at_the_share_asked_for() -> None:
    cache = CaptionCache(("one", "two", ""), torch.tensor([0, 1]), torch.zeros(3, 1, 1))
    index = torch.ones(1000, dtype=torch.long)
    assert cache.draw(index, 0.0, torch.Generator().manual_seed(0)).tolist() == [1] * 1000
    dropped = cache.draw(index, 0.25, torch.Generator().manual_seed(0))
    assert set(dropped.tolist()) == {1, 2}
    assert 210 < int((dropped == 2).sum()) < 290


def test_what_cannot_be_encoded_is_named(model: BaseModel, dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="has no pictures"):
        cache_latents(model, Dataset(dataset.folder, 16, (), ()))
    with pytest.raises(ModelError, match="size 15"):
        cache_latents(model, Dataset(dataset.folder, 15, dataset.pictures, ()))
