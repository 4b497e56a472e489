"""FID and KID against closed forms, hand-made numbers and a naive double loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedflow.errors import MistakeError
from fedflow.evaluation.distances import (
    _frechet_of,
    bootstrap_interval,
    frechet_distance,
    frechet_interval,
    kernel_distance,
    paired_interval,
)


def gaussian(seed: int, *shape: int, mean: float = 0.0) -> np.ndarray:
    return mean + np.random.default_rng(seed).standard_normal(shape)


def naive_kid(left: np.ndarray, right: np.ndarray) -> float:
    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / len(x) + 1.0) ** 3

    def within(rows: np.ndarray) -> float:
        pairs = [kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in left for y in right]
    return within(left) + within(right) - 2.0 * sum(across) / len(across)


def test_fid_of_one_feature_by_hand() -> None:
    # Means 1 and 5, standard deviations sqrt(2) and sqrt(8): (1 - 5)^2 + (sqrt(2) - sqrt(8))^2 = 16 + 2.
    assert frechet_distance(np.array([[0.0], [2.0]]), np.array([[3.0], [7.0]])) == pytest.approx(18.0, abs=1e-12)


def test_fid_of_two_features_by_hand() -> None:
    # Means (0, 0) and (1, 2); covariances diag(2/3, 8/3) and diag(6, 0): 5 + (2/3 + 8/3 + 6) - 2 sqrt(2/3 * 6).
    left = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    right = np.array([[4.0, 2.0], [-2.0, 2.0], [1.0, 2.0], [1.0, 2.0]])
    assert frechet_distance(left, right) == pytest.approx(5.0 + 28.0 / 3.0 - 4.0, abs=1e-12)


def test_fid_of_covariances_that_do_not_commute() -> None:
    # For 2x2 matrices tr (S S')^(1/2) = sqrt(tr(S S') + 2 sqrt(det S det S')).
    left = gaussian(1, 50, 2) @ np.array([[2.0, 0.5], [0.0, 1.0]])
    right = gaussian(2, 40, 2) @ np.array([[1.0, -0.8], [0.3, 3.0]]) + [1.0, -2.0]
    first, second = np.cov(left.T), np.cov(right.T)
    shared = np.sqrt(np.trace(first @ second) + 2.0 * np.sqrt(np.linalg.det(first) * np.linalg.det(second)))
    shift = left.mean(axis=0) - right.mean(axis=0)
    expected = shift @ shift + np.trace(first) + np.trace(second) - 2.0 * shared
    assert frechet_distance(left, right) == pytest.approx(expected, rel=1e-10)


def test_fid_is_symmetric_and_zero_on_itself_with_a_singular_covariance() -> None:
    left, right = gaussian(3, 20, 64), gaussian(4, 30, 64, mean=0.5)
    assert frechet_distance(left, left) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(left, right) == pytest.approx(frechet_distance(right, left), rel=1e-12)
    # A shift that all pictures share changes the means alone.
    assert frechet_distance(left, left + 0.5) == pytest.approx(64 * 0.25, rel=1e-9)


def test_fid_reaches_the_closed_form_of_gaussians() -> None:
    left, right = gaussian(5, 40_000, 3), 2.0 * gaussian(6, 40_000, 3, mean=0.5)
    # Means 0 and 1, standard deviations 1 and 2, in each of three features.
    assert frechet_distance(left, right) == pytest.approx(3 * (1.0 + 1.0), rel=0.03)


def test_kid_equals_the_double_loop() -> None:
    left, right = gaussian(7, 9, 4), gaussian(8, 12, 4, mean=0.3)
    assert kernel_distance(left, right) == pytest.approx(naive_kid(left, right), rel=1e-12)


def test_kid_by_hand() -> None:
    # One feature: k(0, 1) = 1 within the first set, k(1, 2) = 27 within the second, across 1, 1, 8, 27.
    assert kernel_distance(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])) == pytest.approx(1 + 27 - 37 / 2)


def test_kid_is_unbiased() -> None:
    generator = np.random.default_rng(9)
    found = np.array([kernel_distance(*generator.standard_normal((2, 10, 3))) for _ in range(600)])
    assert abs(found.mean()) < 3.0 * found.std() / np.sqrt(len(found))
    assert (found < 0).mean() > 0.3


def test_interval_covers_the_true_distance() -> None:
    # One feature, N(0, 1) against N(1, 1): (xy + 1)^3 compares the moments 0, 1, 0 and 1, 2, 4 with weights 3, 3, 1.
    true, covered = 3.0 * 1.0 + 3.0 * 1.0 + 16.0, 0
    draws = np.random.default_rng(10)
    for seed in range(100):
        left, right = draws.standard_normal((100, 1)), 1.0 + draws.standard_normal((100, 1))
        low, high = bootstrap_interval(left, right, torch.Generator().manual_seed(seed), resamples=200)
        covered += low <= true <= high
    assert covered >= 85


def test_interval_is_centred_and_wide_enough_where_there_is_no_difference() -> None:
    draws = np.random.default_rng(11)
    covered = 0
    for seed in range(60):
        left, right = draws.standard_normal((2, 50, 8))
        low, high = bootstrap_interval(left, right, torch.Generator().manual_seed(seed), resamples=200)
        covered += low <= 0.0 <= high
    assert covered >= 55
    # The mean of the resamples is the estimate itself: duplicates put no bias on it.
    estimate = kernel_distance(left, right)
    assert low < estimate < high


def test_interval_repeats_with_its_generator() -> None:
    left, right = gaussian(12, 30, 5), gaussian(13, 20, 5)
    first = bootstrap_interval(left, right, torch.Generator().manual_seed(1))
    assert first == bootstrap_interval(left, right, torch.Generator().manual_seed(1))
    assert first != bootstrap_interval(left, right, torch.Generator().manual_seed(2))


def test_interval_of_three_pictures_leaves_out_resamples_without_a_pair() -> None:
    low, high = bootstrap_interval(np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [2.0], [5.0]]), torch.Generator())
    assert np.isfinite([low, high]).all()
    assert low < high


def captioned(seed: int, count: int, *shifts: float) -> list[np.ndarray]:
    """Real pictures of `count` captions, and those of models that lie `shifts` beside them; a caption's go together."""
    draws = np.random.default_rng(seed)
    captions = draws.standard_normal((count, 4))
    return [captions + 0.5 * draws.standard_normal((count, 4)) + shift for shift in (0.0, *shifts)]


def test_paired_interval_of_one_model_with_itself_is_zero() -> None:
    real, first = captioned(16, 30, 0.5)
    assert paired_interval(real, [first], [first], torch.Generator()) == (0.0, 0.0)


def test_paired_interval_tells_a_better_model_where_the_two_intervals_overlap() -> None:
    real, first, second = captioned(17, 100, 1.0, 0.8)
    generator = torch.Generator().manual_seed(1)
    low, high = paired_interval(real, [first], [second], generator)
    assert 0.0 < low < kernel_distance(real, first) - kernel_distance(real, second) < high
    assert bootstrap_interval(real, first, generator)[0] < bootstrap_interval(real, second, generator)[1]
    opposite = paired_interval(real, [second], [first], torch.Generator().manual_seed(1))
    assert opposite == pytest.approx((-high, -low), rel=1e-9)


def test_paired_interval_covers_the_true_difference() -> None:
    # The models lie equally far from the real pictures: the difference is 0.
    covered = 0
    for seed in range(100):
        real, first, second = captioned(100 + seed, 60, 0.7, 0.7)
        low, high = paired_interval(real, [first], [second], torch.Generator().manual_seed(seed), resamples=200)
        covered += low <= 0.0 <= high
    assert 85 <= covered < 100


def test_paired_interval_centres_on_the_difference_of_the_kids() -> None:
    # Few pictures, where duplicates and a caption's own pair weigh most.
    real, first, second = captioned(18, 12, 0.9, 0.3)
    draws = [
        paired_interval(real, [first], [second], torch.Generator().manual_seed(seed), resamples=1)[0]
        for seed in range(3000)
    ]
    found = kernel_distance(real, first) - kernel_distance(real, second)
    assert np.mean(draws) == pytest.approx(found, abs=4.0 * np.std(draws) / np.sqrt(len(draws)))


def test_paired_interval_of_several_seeds_is_that_of_the_mean() -> None:
    real, first, second, third = captioned(19, 40, 1.0, 0.2, 0.2)
    low, high = paired_interval(real, [first, first], [second, third], torch.Generator().manual_seed(1))
    mean = kernel_distance(real, first) - (kernel_distance(real, second) + kernel_distance(real, third)) / 2
    assert low < mean < high
    once = paired_interval(real, [first], [second], torch.Generator().manual_seed(1))
    twice = paired_interval(real, [first, first], [second, second], torch.Generator().manual_seed(1))
    assert twice == pytest.approx(once, rel=1e-9)


def test_paired_interval_needs_one_picture_per_caption() -> None:
    real, first = captioned(20, 10, 0.5)
    with pytest.raises(MistakeError, match="9 pictures beside 10 real ones"):
        paired_interval(real, [first], [first[:9]], torch.Generator())


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_bad_features_are_refused_in_one_line(distance: object) -> None:
    good = gaussian(14, 5, 3)
    for bad, word in (
        (good[:1], "at least two pictures"),
        (np.where(good > 0, np.nan, good), "NaN or Inf"),
        (gaussian(15, 5, 4), "one extractor"),
    ):
        with pytest.raises(MistakeError, match=word) as raised:
            distance(good, bad)  # type: ignore[operator]
        assert "\n" not in str(raised.value)


def test_a_frechet_resample_is_the_distance_of_its_pictures() -> None:
    generator = torch.Generator().manual_seed(3)
    real, generated = torch.randn(9, 5, generator=generator).numpy(), torch.randn(7, 5, generator=generator).numpy()
    real, generated = real.astype(np.float64), generated.astype(np.float64)
    counts_n, counts_m = np.array([2.0, 0, 1, 1, 3, 0, 1, 1, 0]), np.array([1.0, 1, 0, 2, 2, 1, 0])
    drawn = np.repeat(real, counts_n.astype(int), axis=0), np.repeat(generated, counts_m.astype(int), axis=0)
    assert _frechet_of(real, generated, counts_n, counts_m) == pytest.approx(frechet_distance(*drawn), rel=1e-9)


def test_the_frechet_interval_holds_the_estimate_and_narrows_with_more_pictures() -> None:
    generator = torch.Generator().manual_seed(5)
    widths = []
    for count in (40, 640):
        real = torch.randn(count, 6, generator=generator).double().numpy()
        generated = (1.5 + torch.randn(count, 6, generator=generator)).double().numpy()
        low, high = frechet_interval(real, generated, generator)
        assert 0.0 <= low < frechet_distance(real, generated) < high
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.35), "as one over the root of the number"


def test_the_frechet_interval_covers_the_distance_of_as_many_other_pictures() -> None:
    generator = torch.Generator().manual_seed(11)

    def pictures(shift: float) -> np.ndarray:
        return (shift + torch.randn(60, 4, generator=generator)).double().numpy()

    expected = np.mean([frechet_distance(pictures(0.0), pictures(1.0)) for _ in range(200)])
    covered = 0
    for _ in range(60):
        low, high = frechet_interval(real := pictures(0.0), drawn := pictures(1.0), generator)
        covered += low <= expected <= high
        assert real.shape == drawn.shape
    assert covered >= 51, "95 of 100 on average; 85 of 100 at the least"
