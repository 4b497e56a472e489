"""Scores, floors, and the ranking of concepts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedflow.evaluation.distances import frechet_distance, kernel_distance
from fedflow.evaluation.recognition import nearest_concepts
from fedflow.evaluation.scores import Score, halves_floor, real_floor, score


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_score_holds_both_distances_and_names_its_extractor() -> None:
    draws = np.random.default_rng(1)
    real, generated = draws.standard_normal((40, 4)), 2.0 + draws.standard_normal((30, 4))
    found = score(real, generated, "icons-v1", seeded())
    assert found == Score(
        fid=frechet_distance(real, generated),
        kid=kernel_distance(real, generated),
        kid_low=found.kid_low,
        kid_high=found.kid_high,
        extractor="icons-v1",
        num_real=40,
        num_generated=30,
    )
    assert 0.0 < found.kid_low < found.kid < found.kid_high


def test_real_floor_takes_as_many_pictures_on_both_sides() -> None:
    draws = np.random.default_rng(2)
    real, other = draws.standard_normal((20, 3)), draws.standard_normal((50, 3))
    found = real_floor(real, other, "icons-v1", seeded(3))
    assert (found.num_real, found.num_generated) == (20, 20)
    assert found == real_floor(real, other, "icons-v1", seeded(3))
    # None is drawn twice: all 20 against themselves are the same set.
    assert real_floor(real, real, "icons-v1", seeded()).fid == pytest.approx(0.0, abs=1e-9)


def test_halves_do_not_overlap() -> None:
    # 11 pictures make halves of 5; a picture in both would bring the means together.
    real = np.arange(11.0)[:, None]
    found = halves_floor(real, "icons-v1", seeded(4))
    order = torch.randperm(11, generator=seeded(4)).numpy()
    assert (found.num_real, found.num_generated) == (5, 5)
    assert found.fid == pytest.approx(frechet_distance(real[order[:5]], real[order[5:10]]))


def test_concepts_are_ranked_by_their_nearest_style() -> None:
    # Two styles of three concepts; the second concept is near only in its second style.
    prototypes = np.array([[[1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]], [[1.0, 0.1], [1.0, 1.0], [-1.0, 0.2]]])
    pictures = np.array([[2.0, 2.1], [-3.0, 0.0], [5.0, 0.0]])
    assert nearest_concepts(pictures, prototypes).tolist() == [[1, 0, 2], [2, 1, 0], [0, 1, 2]]
