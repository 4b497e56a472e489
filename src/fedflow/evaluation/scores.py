"""One line of figures: FID and KID of one set of pictures against another, and the floor that real pictures reach."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fedflow.evaluation.distances import bootstrap_interval, frechet_distance, kernel_distance


@dataclass(frozen=True)
class Score:
    """FID and KID (unscaled) with the KID's 95% interval, over `num_real` and `num_generated` pictures.

    Compare scores of the same extractor and the same numbers of pictures only: FID is biased by them.
    """

    fid: float
    kid: float
    kid_low: float
    kid_high: float
    extractor: str
    num_real: int
    num_generated: int


def score(real_nd: np.ndarray, generated_md: np.ndarray, extractor: str, generator: torch.Generator) -> Score:
    """The score of generated features (m, d) against real ones (n, d), both made by the extractor so named.

    `generator` draws the interval's resamples. Raises MistakeError for fewer than two pictures on a side.
    """
    low, high = bootstrap_interval(real_nd, generated_md, generator)
    return Score(
        fid=frechet_distance(real_nd, generated_md),
        kid=kernel_distance(real_nd, generated_md),
        kid_low=low,
        kid_high=high,
        extractor=extractor,
        num_real=len(real_nd),
        num_generated=len(generated_md),
    )


def real_floor(real_nd: np.ndarray, other_md: np.ndarray, extractor: str, generator: torch.Generator) -> Score:
    """Real against other real pictures of the same style, as many on both sides as the smaller set has.

    No generator that has not copied can be expected below it, so that it says what 0 means at this number.
    """
    count = min(len(real_nd), len(other_md))
    return score(_drawn(real_nd, count, generator), _drawn(other_md, count, generator), extractor, generator)


def halves_floor(real_nd: np.ndarray, extractor: str, generator: torch.Generator) -> Score:
    """One random half of the real pictures against the other: the floor where there are no other real pictures.

    Its FID is that of n / 2 pictures, so it stands above the floor at n; its KID is unbiased all the same.
    """
    order = torch.randperm(len(real_nd), generator=generator).numpy()
    half = len(real_nd) // 2
    return score(real_nd[order[:half]], real_nd[order[half : 2 * half]], extractor, generator)


def _drawn(features_nd: np.ndarray, count: int, generator: torch.Generator) -> np.ndarray:
    """`count` rows without replacement; all of them in their order where that is all there are."""
    if count == len(features_nd):
        return features_nd
    chosen: np.ndarray = features_nd[torch.randperm(len(features_nd), generator=generator)[:count].numpy()]
    return chosen
