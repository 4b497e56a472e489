"""Drawing pictures from caption embeddings with a diffusers pipeline."""

# N pictures, L caption tokens, D width of the text encoder, C latent channels, H W latent size

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from torch import Tensor
from torch.nn import functional

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


@dataclass(frozen=True)
class Start:
    """Pictures to begin from instead of noise alone.

    `pictures` are uint8 (N, height, width, 3), `strength` in (0, 1] is how much of the way back to noise they go first:
    of `steps`, the last `steps * strength` are done, at least one. `masks`, uint8 (N, height, width), are above 127
    where something new is drawn; elsewhere the picture stays as it is, bit for bit. None: all of it is drawn anew.
    """

    pictures: npt.NDArray[np.uint8]
    strength: float
    masks: npt.NDArray[np.uint8] | None = None


def draw(
    model: BaseModel,
    context_NLD: Tensor,
    negative_NLD: Tensor,
    generators: Sequence[torch.Generator],
    *,
    steps: int,
    guidance: float,
    sampler: str,
    size: tuple[int, int],
    step: Callable[[int], None] | None = None,
    start: Start | None = None,
    look: Callable[[Tensor], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """Pictures (N, height, width, 3), each from its own embedding and CPU generator, and from `start` if given.

    `size` is their width and height, both multiples of the model's pixels per latent, and those of `start`.
    `guidance` is the classifier-free guidance scale, 1 for none. `step` is told after each denoising step how many are
    done, `look` is shown the latents (N, C, H, W) of what the pictures become by then; what they raise ends the
    drawing. Raises ModelError for a sampler that is not in SAMPLERS or that cannot sample a flow model.
    """
    kind = StableDiffusionPipeline
    if start is not None:
        kind = StableDiffusionImg2ImgPipeline if start.masks is None else StableDiffusionInpaintPipeline
    pipeline = kind(
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
    # diffusers wants multiples of 8 of every model, also of one whose latents stand for fewer pixels.
    pipeline.check_inputs = lambda *_, **__: None

    def after_step(_pipeline: Any, index: int, _time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if look is not None:
            look(_clean(pipeline.scheduler, tensors["latents"]))
        if step is not None:
            step(index + 1)
        return tensors

    pictures: npt.NDArray[np.float32] = pipeline(
        **_beginning(start, steps, size),
        prompt_embeds=context_NLD,
        negative_prompt_embeds=negative_NLD if guidance > 1.0 else None,
        generator=list(generators),
        num_inference_steps=steps,
        guidance_scale=guidance,
        output_type="np",
        callback_on_step_end=after_step,
    ).images
    drawn = (pictures * 255.0).round().astype(np.uint8)
    if start is None or start.masks is None:
        return drawn
    return np.where(start.masks[..., None] > 127, drawn, start.pictures)


def decode_small(model: BaseModel, latents_CHW: Tensor, most: int = 32) -> npt.NDArray[np.uint8]:
    """A picture of latents at low cost, uint8 (h, w, 3): decoded from at most `most` latent cells a side."""
    latents_NCHW = latents_CHW[None]
    sides = latents_NCHW.shape[-2:]
    if max(sides) > most:
        height, width = (max(1, round(side * most / max(sides))) for side in sides)
        latents_NCHW = functional.adaptive_avg_pool2d(latents_NCHW, (height, width))
    config = model.vae.config
    pixels_NCHW = model.vae.decode(latents_NCHW / config.scaling_factor + (config.get("shift_factor") or 0.0)).sample
    pixels_HWC = (pixels_NCHW[0].float().clamp(-1, 1) + 1).permute(1, 2, 0) * 127.5
    small: npt.NDArray[np.uint8] = pixels_HWC.nan_to_num().round().to("cpu", torch.uint8).numpy()
    return small


def _beginning(start: Start | None, steps: int, size: tuple[int, int]) -> dict[str, Any]:
    """What a pipeline is told of where it begins."""
    width, height = size
    if start is None:
        return {"height": height, "width": width}
    told: dict[str, Any] = {
        "image": start.pictures.astype(np.float32) / 255.0,
        "strength": min(max(start.strength, 1.0 / steps + 1e-6), 1.0),
    }
    if start.masks is not None:
        told |= {"mask_image": (start.masks > 127).astype(np.float32)[..., None], "height": height, "width": width}
    return told


def _clean(scheduler: Any, latents_NCHW: Tensor) -> Tensor:
    """The scheduler's own guess at the picture without noise, which multistep ones keep; else the present latents."""
    guesses = [each for each in getattr(scheduler, "model_outputs", None) or () if each is not None]
    return guesses[-1] if guesses else latents_NCHW


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
