"""Scores of drawn pictures, the same wherever they are taken: every interval has its own seed from the run's."""

from __future__ import annotations

import numpy as np
import torch

from fedflow.evaluation.distances import frechet_interval
from fedflow.evaluation.scores import Score, halves_floor, real_floor, score
from fedflow.federation.jobs import DrawJob, derived_seed

FEWEST_TO_HALVE = 4
"""Each half wants two pictures."""


def score_drawing(job: DrawJob, real_nd: np.ndarray, drawn_nd: np.ndarray, extractor: str) -> Score:
    """The score of what `job` drew, features (n, d), against those of the held-out pictures (n, d)."""
    return score(real_nd, drawn_nd, extractor, _generator(job.seed, f"interval of {job.who} in round {job.round}"))


def fid_interval(job: DrawJob, real_nd: np.ndarray, drawn_nd: np.ndarray) -> tuple[float, float]:
    """The 95% interval of the FID of the same: (low, high)."""
    return frechet_interval(real_nd, drawn_nd, _generator(job.seed, f"FID of {job.who} in round {job.round}"))


def score_floor(seed: int, real_nd: np.ndarray, other_md: np.ndarray, extractor: str) -> Score:
    """Held-out pictures' features (n, d) against those of other real pictures (m, d): what 0 means here."""
    return real_floor(real_nd, other_md, extractor, _generator(seed, "floor"))


def halved_floor(seed: int, real_nd: np.ndarray, extractor: str) -> Score | None:
    """One half of the held-out pictures (n, d) against the other, where no other real pictures are at hand.

    None of fewer than four. Its KID may stand beside others of n pictures, its FID may not: that is of n / 2.
    """
    if len(real_nd) < FEWEST_TO_HALVE:
        return None
    return halves_floor(real_nd, extractor, _generator(seed, "floor"))


def _generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, purpose))
