"""Scores of drawn pictures, the same wherever they are taken: every interval has its own seed from the run's."""

from __future__ import annotations

import numpy as np
import torch

from fedflow.evaluation.scores import Score, real_floor, score
from fedflow.federation.jobs import DrawJob, derived_seed


def score_drawing(job: DrawJob, real_nd: np.ndarray, drawn_nd: np.ndarray, extractor: str) -> Score:
    """The score of what `job` drew, features (n, d), against those of the held-out pictures (n, d)."""
    return score(real_nd, drawn_nd, extractor, _generator(job.seed, f"interval of {job.who} in round {job.round}"))


def score_floor(seed: int, real_nd: np.ndarray, other_md: np.ndarray, extractor: str) -> Score:
    """Held-out pictures' features (n, d) against those of other real pictures (m, d): what 0 means here."""
    return real_floor(real_nd, other_md, extractor, _generator(seed, "floor"))


def _generator(seed: int, purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, purpose))
