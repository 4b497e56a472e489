"""Distances between two sets of features: Frechet (FID) and kernel (KID), with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fedflow.errors import MistakeError

RESAMPLES = 1000
CONFIDENCE = 0.95
FRECHET_RESAMPLES = 100
"""Enough for a standard error, which is all that is taken from them; each costs a singular value decomposition."""

STANDARD_ERRORS = 1.96
"""Half the width of a normal 95% interval."""


# n m pictures, d features
def frechet_distance(real_nd: np.ndarray, generated_md: np.ndarray) -> float:
    """Frechet distance of the Gaussians fitted to two sets of features (n, d) and (m, d).

    |mean - mean'|^2 + tr(S + S' - 2 (S S')^(1/2)), S the covariance with n - 1 (FID, arXiv 1706.08500, Eq. 6).
    With S = A'A and S' = B'B (A, B the centred features over sqrt(n - 1)) the singular values of A B' are the
    square roots of the eigenvalues of S S', so the last trace is the nuclear norm of A B': no matrix square
    root is taken, and a singular covariance (fewer pictures than features) costs no accuracy.

    Raises MistakeError for fewer than two pictures, widths that differ, or features that are not finite.
    """
    real, generated = _checked(real_nd), _checked(generated_md)
    _check_widths(real, generated)
    return max(_frechet_of(real, generated), 0.0)


def frechet_interval(
    real_nd: np.ndarray,
    generated_md: np.ndarray,
    generator: torch.Generator,
    resamples: int = FRECHET_RESAMPLES,
) -> tuple[float, float]:
    """The 95% interval of `frechet_distance` at these numbers of pictures: (low, high), low at least 0.

    The estimate and 1.96 standard errors to both sides, the standard error from a bootstrap of both sets (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, Sec. 6.2 and 12.5). Percentiles are not taken: a resample holds
    pictures twice, its covariances have a lower rank, and FID is biased by that, so that resamples lie above the
    estimate; their spread is what other pictures would change. The interval says nothing of FID's own bias.

    Raises MistakeError as `frechet_distance` does.
    """
    real, generated = _checked(real_nd), _checked(generated_md)
    estimate = frechet_distance(real, generated)
    counts = zip(
        _resampled(len(real), resamples, generator), _resampled(len(generated), resamples, generator), strict=True
    )
    spread = STANDARD_ERRORS * float(np.std([_frechet_of(real, generated, *pair) for pair in counts], ddof=1))
    return max(estimate - spread, 0.0), estimate + spread


def _frechet_of(
    real_nd: np.ndarray,
    generated_md: np.ndarray,
    real_n: np.ndarray | None = None,
    generated_m: np.ndarray | None = None,
) -> float:
    """`frechet_distance` where each picture counts as often as said, once where nothing is said; may be below 0."""
    mean, first = _fitted(real_nd, real_n)
    generated_mean, second = _fitted(generated_md, generated_m)
    shift = mean - generated_mean
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    return float(shift @ shift + np.square(first).sum() + np.square(second).sum() - 2.0 * shared)


def kernel_distance(real_nd: np.ndarray, generated_md: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy under k(x, y) = (x.y / d + 1)^3, over the full sets (KID).

    Demystifying MMD GANs, arXiv 1801.01401, Sec. 4; the U-statistic of A Kernel Two-Sample Test (Gretton
    et al., JMLR 2012), Eq. 3. It is not scaled (some tables print it times 1000), and being unbiased it may
    be a little below 0 where the two sets come from one distribution.

    Raises MistakeError as `frechet_distance` does.
    """
    kernels = _Kernels(_checked(real_nd), _checked(generated_md))
    return float(kernels.discrepancy(np.ones((1, len(real_nd))), np.ones((1, len(generated_md))))[0])


def bootstrap_interval(
    real_nd: np.ndarray, generated_md: np.ndarray, generator: torch.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of `kernel_distance`: (low, high).

    Both sets are drawn anew with replacement `resamples` times. A picture drawn twice would meet itself in the
    U-statistic, and k(x, x) is large, so that the plain bootstrap lies above the estimate; here pairs of a
    picture with itself are left out, as the U-statistic leaves them out, and the resamples centre on the
    estimate. Where the two distributions are the same, the U-statistic is degenerate and the bootstrap is not
    consistent (Arcones and Gine, On the bootstrap of U and V statistics, Annals of Statistics 1992): there
    the interval is too wide rather than too narrow. A resample of one picture alone has no pairs and is left
    out; that happens with a handful of pictures only.
    """
    kernels = _Kernels(_checked(real_nd), _checked(generated_md))
    draws = kernels.discrepancy(
        _resampled(len(real_nd), resamples, generator), _resampled(len(generated_md), resamples, generator)
    )
    return _percentiles(draws)


# S training seeds
def paired_interval(
    real_nd: np.ndarray,
    firsts_Snd: Sequence[np.ndarray],
    seconds_Snd: Sequence[np.ndarray],
    generator: torch.Generator,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of KID(first) - KID(second), two models against one real set: (low, high).

    Row i of all sets belongs to caption i, and captions are what is drawn anew: each brings its real picture and both
    models' pictures along, so what the two KIDs share does not count as noise. The difference is the U-statistic of
    A Test of Relative Similarity (Bounliphone et al., arXiv 1511.04581, Sec. 3), in which k(x, x') of the real
    pictures cancels, plus the n pairs of a real picture with its own caption's, which `kernel_distance` counts; those
    are drawn as the single rows that they are, and pairs of a caption with its copy are left out, so that the
    resamples centre on the difference of the KIDs. Of several training seeds the mean difference is taken: the
    interval speaks for other captions, not for other training seeds.

    Raises MistakeError as `frechet_distance` does, and for sets that are not of one size.
    """
    real = _checked(real_nd)
    count = len(real)
    apart_nn, own_n = np.zeros((count, count)), np.zeros(count)
    for first_nd, second_nd in zip(firsts_Snd, seconds_Snd, strict=True):
        for sign, features_nd in ((1.0, _checked(first_nd)), (-1.0, _checked(second_nd))):
            _check_widths(real, features_nd)
            if len(features_nd) != count:
                raise MistakeError(f"{len(features_nd)} pictures beside {count} real ones: pairs need one per caption")
            cross_nn = _polynomial(real, features_nd)
            share = sign / len(firsts_Snd)
            apart_nn += share * (_polynomial(features_nd, features_nd) - (1.0 - 1.0 / count) * (cross_nn + cross_nn.T))
            own_n += share * cross_nn.diagonal()
    np.fill_diagonal(apart_nn, 0.0)
    counts_Rn = _resampled(count, resamples, generator)
    return _percentiles(_within(apart_nn, counts_Rn) - 2.0 / count * (counts_Rn @ own_n / count))


def _percentiles(draws: np.ndarray) -> tuple[float, float]:
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.nanquantile(draws, [tail, 1.0 - tail])
    return float(low), float(high)


class _Kernels:
    """The three kernel matrices of two sets, pairs of a picture with itself zeroed."""

    def __init__(self, real_nd: np.ndarray, generated_md: np.ndarray) -> None:
        _check_widths(real_nd, generated_md)
        self.real_nn = _polynomial(real_nd, real_nd)
        self.generated_mm = _polynomial(generated_md, generated_md)
        self.cross_nm = _polynomial(real_nd, generated_md)
        np.fill_diagonal(self.real_nn, 0.0)
        np.fill_diagonal(self.generated_mm, 0.0)

    # R resamples
    def discrepancy(self, real_Rn: np.ndarray, generated_Rm: np.ndarray) -> np.ndarray:
        """The unbiased statistic (R,) where each picture counts as often as the rows of counts say."""
        cross = np.einsum("rn,nm,rm->r", real_Rn, self.cross_nm, generated_Rm, optimize=True)
        pairs = real_Rn.sum(axis=1) * generated_Rm.sum(axis=1)
        own: np.ndarray = _within(self.real_nn, real_Rn) + _within(self.generated_mm, generated_Rm)
        found: np.ndarray = own - 2.0 * cross / pairs
        return found


def _within(kernel_nn: np.ndarray, counts_Rn: np.ndarray) -> np.ndarray:
    """Mean kernel over pairs of different pictures, (R,); NaN where there is no pair."""
    pairs = np.square(counts_Rn.sum(axis=1)) - np.square(counts_Rn).sum(axis=1)
    mean: np.ndarray = np.einsum("rn,rn->r", counts_Rn @ kernel_nn, counts_Rn) / np.where(pairs > 0, pairs, np.nan)
    return mean


def _resampled(count: int, resamples: int, generator: torch.Generator) -> np.ndarray:
    """How often each of `count` pictures is drawn, (resamples, count)."""
    drawn = torch.randint(count, (resamples, count), generator=generator)
    once = torch.ones(1, 1, dtype=torch.float64).expand_as(drawn)
    counts: np.ndarray = torch.zeros(resamples, count, dtype=torch.float64).scatter_add_(1, drawn, once).numpy()
    return counts


def _polynomial(left_nd: np.ndarray, right_md: np.ndarray) -> np.ndarray:
    kernel: np.ndarray = (left_nd @ right_md.T / left_nd.shape[1] + 1.0) ** 3
    return kernel


def _fitted(features_nd: np.ndarray, counts_n: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and A with A'A the covariance; A has at most d rows, so that many pictures cost no memory."""
    counts_n = np.ones(len(features_nd)) if counts_n is None else counts_n
    features_nd, counts_n = features_nd[counts_n > 0], counts_n[counts_n > 0]
    number = counts_n.sum()
    mean_d = counts_n @ features_nd / number
    weighted = np.sqrt(counts_n / (number - 1))[:, None] * (features_nd - mean_d)
    return mean_d, np.linalg.qr(weighted).R if len(weighted) > weighted.shape[1] else weighted


def _checked(features_nd: np.ndarray) -> np.ndarray:
    """The features in float64; at least two rows, all finite."""
    features = np.asarray(features_nd, dtype=np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise MistakeError(f"features of shape {features.shape}: a distance needs at least two pictures on each side")
    if not np.isfinite(features).all():
        raise MistakeError("features hold NaN or Inf: the extractor's weight file is damaged, install it anew")
    return features


def _check_widths(real_nd: np.ndarray, generated_md: np.ndarray) -> None:
    if real_nd.shape[1] != generated_md.shape[1]:
        raise MistakeError(
            f"features of {real_nd.shape[1]} and {generated_md.shape[1]} numbers: take both from one extractor"
        )
