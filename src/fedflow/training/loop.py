"""The training loop: cached latents and captions in, trained LoRA factors or UNet weights out."""

# B batch, L caption tokens, D width of the text encoder, C latent channels, H W latent size, T noise levels

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fedflow.diffusion import TARGETS, min_snr_weight, noisy_latents
from fedflow.errors import AdapterError, DatasetError, RunError
from fedflow.lora import Adapter
from fedflow.models import (
    BaseModel,
    bfloat16_convolutions,
    carries_lora,
    cpu_multiplies_bfloat16,
    folded_lora,
    get_adapter,
    get_weights,
    remove_lora,
    trainable_parameters,
    unfreeze_unet,
)
from fedflow.training.caches import CaptionCache, LatentCache
from fedflow.training.checkpoint import identity_of, load_checkpoint, save_checkpoint
from fedflow.training.optimizer import FlatAdamW
from fedflow.training.randomness import ExampleOrder, generator_for
from fedflow.training.recipe import Recipe

Progress = Callable[[int, int, float], None]
"""Told steps done, steps in all, and the loss of the last step whose loss is known. An error that it raises ends the
training after a checkpoint of that step."""


@dataclass(frozen=True)
class TrainResult:
    """What a training made: `adapter` of LoRA training or `tensors` (`unet.<parameter>`) of UNet training.

    `losses` holds one weighted squared error per step, those before a resume too; `seconds` counts this call alone.
    """

    steps: int
    losses: tuple[float, ...]
    seconds: float
    adapter: Adapter | None = None
    tensors: dict[str, Tensor] | None = None


def train_lora(
    model: BaseModel,
    latents: LatentCache,
    captions: CaptionCache,
    recipe: Recipe,
    checkpoint_folder: Path | None = None,
    *,
    progress: Progress | None = None,
    of_other_data: bool = False,
) -> TrainResult:
    """Train the LoRA layers that `model` carries (add_lora, set_adapter); the model carries the trained ones after.

    Where the text encoder has LoRA layers, captions are encoded in the loop, and otherwise taken from the cache.
    A checkpoint in `checkpoint_folder` is gone on from: the result is, bit for bit, that of a training never stopped.
    The finished training's checkpoint stays, so that running it again returns at once. With `of_other_data` one of
    other examples is gone on from too: weights and moments fit any, the steps left are taken on those that there are.

    Raises AdapterError where the model has no LoRA layers, PlanError where the checkpoint is of another training,
    RunError where the loss is not finite, StorageError where a checkpoint cannot be written or read;
    KeyboardInterrupt comes back with a message that says how to go on.
    """
    parameters = trainable_parameters(model)
    if not parameters:
        raise AdapterError(f"model '{model.name}' has no LoRA layers to train; add them with add_lora or set_adapter")
    with ExitStack() as faster:
        if not _in_bfloat16(model, recipe):
            faster.enter_context(folded_lora(model))
            if recipe.precision == "auto" and cpu_multiplies_bfloat16():
                faster.enter_context(bfloat16_convolutions(model))
        losses, seconds = _train(
            model, parameters, latents, captions, recipe, checkpoint_folder, progress, of_other_data=of_other_data
        )
    return TrainResult(recipe.steps, losses, seconds, adapter=get_adapter(model))


def train_unet(
    model: BaseModel,
    latents: LatentCache,
    captions: CaptionCache,
    recipe: Recipe,
    checkpoint_folder: Path | None = None,
    *,
    progress: Progress | None = None,
    of_other_data: bool = False,
) -> TrainResult:
    """Train all of the UNet's weights in place, with the same loop, checkpoints and errors as `train_lora`.

    LoRA layers are taken out first, unmerged.
    """
    remove_lora(model)
    parameters = unfreeze_unet(model)
    try:
        losses, seconds = _train(
            model, parameters, latents, captions, recipe, checkpoint_folder, progress, of_other_data=of_other_data
        )
    finally:
        model.unet.requires_grad_(False)
    return TrainResult(recipe.steps, losses, seconds, tensors=get_weights(model))


def _train(
    model: BaseModel,
    parameters: dict[str, nn.Parameter],
    latents: LatentCache,
    captions: CaptionCache,
    recipe: Recipe,
    folder: Path | None,
    progress: Progress | None,
    *,
    of_other_data: bool,
) -> tuple[tuple[float, ...], float]:
    if len(latents) != len(captions):
        raise DatasetError(f"{len(latents)} pictures, but {len(captions)} captions; cache both from the same dataset")
    trains_text = carries_lora(model, "text_encoder")
    model.release("vae")
    if not trains_text:
        model.release("text_encoder")
    batches = _Batches(model, latents, captions, recipe, trains_text)
    losses = torch.zeros(recipe.steps, device=model.device)
    identity = ""
    if folder is not None:
        facts: dict[str, str | int] = {"num_examples": len(latents), "data": data_of(latents, captions)}
        identity = identity_of(recipe, {"model": model.content_hash, **facts}, parameters)
    step = saved = 0
    began = time.monotonic()
    optimizer = FlatAdamW(parameters, recipe.weight_decay)
    try:
        if folder is not None:
            done = load_checkpoint(folder, identity, optimizer, of_other_data=of_other_data)
            step = saved = len(done)
            losses[:saved] = done
        while step < recipe.steps:
            generator = generator_for(recipe.seed, "step", step)
            for part in range(recipe.accumulation):
                loss = batches.loss(step * recipe.accumulation + part, generator) / recipe.accumulation
                loss.backward()  # type: ignore[no-untyped-call]
                losses[step] += loss.detach()
            optimizer.step(recipe.rate_at(step), recipe.clip_norm)
            step += 1
            # One step late: reading the newest loss would make a GPU wait for its own next step.
            known = max(0, step - 2)
            _check_finite(float(losses[known]), known + 1)
            if progress is not None:
                try:
                    progress(step, recipe.steps, float(losses[known]))
                except Exception:
                    if folder is not None and math.isfinite(float(losses[step - 1])):
                        save_checkpoint(folder, identity, optimizer, losses[:step])
                    raise
            if folder is not None and (step % recipe.checkpoint_every == 0 or step == recipe.steps):
                _check_finite(float(losses[step - 1]), step)
                save_checkpoint(folder, identity, optimizer, losses[:step])
                saved = step
    except KeyboardInterrupt:
        where = f"run the same command again to go on from step {saved}" if folder is not None else "nothing was kept"
        raise KeyboardInterrupt(f"stopped after step {step} of {recipe.steps}; {where}") from None
    finally:
        optimizer.release()
    _check_finite(float(losses[-1]), recipe.steps)
    return tuple(losses.tolist()), time.monotonic() - began


class _Batches:
    """Draws noisy examples and computes their loss; everything random follows from the generator it is given."""

    def __init__(
        self, model: BaseModel, latents: LatentCache, captions: CaptionCache, recipe: Recipe, trains_text: bool
    ) -> None:
        self._model = model
        self._latents = latents
        self._captions = captions
        self._recipe = recipe
        self._trains_text = trains_text
        self._order = ExampleOrder(len(latents), recipe.seed)
        self._levels = model.levels()
        self._target = TARGETS[model.prediction_type]
        weights = torch.ones(len(self._levels))
        if recipe.min_snr_gamma is not None:
            weights = min_snr_weight(self._levels, model.prediction_type, recipe.min_snr_gamma)
        self._weights_T = weights.clamp(min=recipe.weight_floor)
        self._bfloat16 = _in_bfloat16(model, recipe)

    def loss(self, number: int, generator: torch.Generator) -> Tensor:
        """Weighted mean squared error of batch `number`."""
        device, size = self._model.device, self._recipe.batch_size
        chosen_B = self._order.take(number * size, size)
        latents_BCHW = self._latents.sample(chosen_B, generator)
        noise_BCHW = torch.randn(latents_BCHW.shape, generator=generator)
        level_B = self._spread_levels(size, generator)
        caption_B = self._captions.draw(chosen_B, self._recipe.caption_dropout, generator)
        noisy_BCHW = noisy_latents(self._levels, level_B, latents_BCHW, noise_BCHW)
        target_BCHW = self._target(self._levels, level_B, latents_BCHW, noise_BCHW)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self._bfloat16):
            context_BLD = self._context(caption_B)
            predicted_BCHW = self._model.unet(
                noisy_BCHW.to(device), self._levels.timesteps_T[level_B].to(device), context_BLD
            ).sample
        error_B = (predicted_BCHW.float() - target_BCHW.to(device)).square().mean(dim=(1, 2, 3))
        loss: Tensor = (self._weights_T[level_B].to(device) * error_B).mean()
        return loss

    def _spread_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Noise levels (B,), one from each of B equal strata: uniform, with less variance than independent draws."""
        share_B = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        return (share_B * len(self._levels)).long().clamp(max=len(self._levels) - 1)

    def _context(self, caption_B: Tensor) -> Tensor:
        if self._trains_text:
            return self._model.encode_captions([self._captions.texts[number] for number in caption_B.tolist()])
        return self._captions.embeddings_ULD[caption_B].to(self._model.device)


def _in_bfloat16(model: BaseModel, recipe: Recipe) -> bool:
    return recipe.precision == "bfloat16" or (recipe.precision == "auto" and model.device.type == "cuda")


def data_of(latents: LatentCache, captions: CaptionCache) -> str:
    """SHA-256 over the examples as they are learnt from."""
    digest = hashlib.sha256("\n".join(captions.texts).encode())
    for tensor in (captions.index_N, latents.mean_NVCHW, latents.std_NVCHW):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_finite(loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise RunError(f"the loss of step {step} is {loss}; lower the learning rate or train in float32")
