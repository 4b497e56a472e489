"""What a denoiser learns: noise levels, prediction targets and loss weights. Plain functions over tensors."""

from fedflow.diffusion.objective import (
    TARGETS,
    NoiseLevels,
    flow_levels,
    min_snr_weight,
    noisy_latents,
    variance_preserving_levels,
)

__all__ = [
    "TARGETS",
    "NoiseLevels",
    "flow_levels",
    "min_snr_weight",
    "noisy_latents",
    "variance_preserving_levels",
]
