"""Targets and weights of diffusion training, for epsilon, v and flow models alike.

A noise level mixes a latent and noise as `signal * latent + noise_scale * noise`. Variance-preserving
schedules (DDPM, arXiv 2006.11239) have signal^2 + noise_scale^2 = 1; rectified flow (arXiv 2210.02747)
has signal + noise_scale = 1. Everything else follows from the two numbers.
"""

# B batch, C latent channels, H W latent size, T noise levels of the schedule

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NoiseLevels:
    """A schedule: per level the signal's and the noise's factor, and the time that the denoiser is told.

    `signal_T`, `noise_T`: float32 (T,), both in [0, 1]. `timesteps_T`: (T,), the denoiser's input.
    """

    signal_T: Tensor
    noise_T: Tensor
    timesteps_T: Tensor

    def __len__(self) -> int:
        return len(self.signal_T)

    def snr(self) -> Tensor:
        """Signal-to-noise ratio signal^2 / noise^2, (T,)."""
        return (self.signal_T / self.noise_T).square()


def variance_preserving_levels(alphas_cumprod_T: Tensor) -> NoiseLevels:
    """Levels of a DDPM-like schedule from its cumulative products of alpha, (T,)."""
    alphas = alphas_cumprod_T.float()
    return NoiseLevels(alphas.sqrt(), (1.0 - alphas).sqrt(), torch.arange(len(alphas)))


def flow_levels(num_levels: int = 1000, shift: float = 1.0) -> NoiseLevels:
    """Levels of rectified flow: noise share sigma = i/T for i = 1..T, told as 1000 sigma.

    `shift` moves levels towards noise, sigma' = shift sigma / (1 + (shift - 1) sigma)
    (Stable Diffusion 3, arXiv 2403.03206, Eq. 23).
    """
    sigma = torch.arange(1, num_levels + 1, dtype=torch.float32) / num_levels
    sigma = shift * sigma / (1.0 + (shift - 1.0) * sigma)
    return NoiseLevels(1.0 - sigma, sigma, 1000.0 * sigma)


def _column(values_B: Tensor) -> Tensor:
    return values_B.view(-1, 1, 1, 1)


def noisy_latents(levels: NoiseLevels, index_B: Tensor, latents_BCHW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """`signal * latent + noise_scale * noise` at level `index_B` of each example, (B, C, H, W)."""
    return _column(levels.signal_T[index_B]) * latents_BCHW + _column(levels.noise_T[index_B]) * noise_BCHW


def _epsilon_target(levels: NoiseLevels, index_B: Tensor, latents_BCHW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """The noise itself. DDPM, arXiv 2006.11239, Eq. 14."""
    return noise_BCHW


def _v_target(levels: NoiseLevels, index_B: Tensor, latents_BCHW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """v = signal * noise - noise_scale * latent. arXiv 2202.00512, appendix D."""
    return _column(levels.signal_T[index_B]) * noise_BCHW - _column(levels.noise_T[index_B]) * latents_BCHW


def _flow_target(levels: NoiseLevels, index_B: Tensor, latents_BCHW: Tensor, noise_BCHW: Tensor) -> Tensor:
    """The velocity noise - latent. arXiv 2210.02747, Eq. 23."""
    return noise_BCHW - latents_BCHW


TARGETS: dict[str, Callable[[NoiseLevels, Tensor, Tensor, Tensor], Tensor]] = {
    "epsilon": _epsilon_target,
    "v_prediction": _v_target,
    "flow": _flow_target,
}
"""Prediction type to its target of (levels, index_B, latents_BCHW, noise_BCHW)."""


def min_snr_weight(levels: NoiseLevels, prediction_type: str, gamma: float) -> Tensor:
    """Weight of the squared error at each level, (T,). Min-SNR, arXiv 2303.09556, section 3.4.

    The paper clamps the weight of the latent's error, min(SNR, gamma); it is expressed here for the
    target that the denoiser predicts: divided by SNR for epsilon, by SNR + 1 for v, times sigma^2 for flow.
    A level of zero SNR has weight 1 for epsilon, as the limit says.
    """
    snr = levels.snr()
    clamped = snr.clamp(max=gamma)
    if prediction_type == "epsilon":
        return torch.where(snr > 0, clamped / snr, torch.ones_like(snr))
    if prediction_type == "v_prediction":
        return clamped / (snr + 1.0)
    if prediction_type == "flow":
        return clamped * levels.noise_T.square()
    raise ValueError(f"prediction type '{prediction_type}': known are {', '.join(TARGETS)}")
