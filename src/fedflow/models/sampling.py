"""Drawing pictures from caption embeddings with a diffusers pipeline."""

# N pictures, L caption tokens, D width of the text encoder

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from torch import Tensor

from fedflow.errors import ModelError
from fedflow.models.base_model import BaseModel

SAMPLERS: dict[str, tuple[Any, str]] = {
    "dpm++": (DPMSolverMultistepScheduler, "DPM++ 2M"),
    "unipc": (UniPCMultistepScheduler, "UniPC"),
    "ddim": (DDIMScheduler, "DDIM"),
    "euler": (EulerDiscreteScheduler, "Euler"),
    "euler-a": (EulerAncestralDiscreteScheduler, "Euler a"),
}
"""Name to scheduler and to what other tools call it."""

FLOW_SAMPLERS = ("dpm++", "unipc")


def draw(
    model: BaseModel,
    context_NLD: Tensor,
    negative_NLD: Tensor,
    generators: Sequence[torch.Generator],
    *,
    steps: int,
    guidance: float,
    sampler: str,
    size: int,
    step: Callable[[int], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Pictures (N, size, size, 3), each from its own embedding and CPU generator.

    `guidance` is the classifier-free guidance scale, 1 for none. `step` is told after each denoising step how many are
    done; what it raises ends the drawing. Raises ModelError for a sampler that is not in
    SAMPLERS or that cannot sample a flow model.
    """
    pipeline = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=_scheduler(model, sampler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def after_step(_pipeline: Any, index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step is not None:
            step(index + 1)
        return tensors

    pictures: npt.NDArray[np.float32] = pipeline(
        prompt_embeds=context_NLD,
        negative_prompt_embeds=negative_NLD if guidance > 1.0 else None,
        generator=list(generators),
        num_inference_steps=steps,
        guidance_scale=guidance,
        height=size,
        width=size,
        output_type="np",
        callback_on_step_end=after_step,
    ).images
    return (pictures * 255.0).round().astype(np.uint8)


def _scheduler(model: BaseModel, sampler: str) -> Any:
    if sampler not in SAMPLERS:
        raise ModelError(f"sampler '{sampler}' is unknown; choose one of {', '.join(SAMPLERS)}")
    kind, _ = SAMPLERS[sampler]
    config = {**model.scheduler.config, "steps_offset": 1, "clip_sample": False}
    if model.is_flow:
        if sampler not in FLOW_SAMPLERS:
            known = ", ".join(FLOW_SAMPLERS)
            raise ModelError(f"sampler '{sampler}' cannot sample a flow model; choose one of {known}")
        shift = config.get("shift", config.get("flow_shift", 1.0))
        config |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}
    return kind.from_config(config)
