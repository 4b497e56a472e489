"""A base model in memory: UNet, VAE, text encoder, tokenizer and scheduler, and what training asks of them."""

# N captions or pictures, L caption tokens, D width of the text encoder, C latent channels, H W latent size

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fedflow.diffusion import NoiseLevels, flow_levels, variance_preserving_levels
from fedflow.errors import ModelError
from fedflow.tensors.making import MAKING

PARTS = ("unet", "vae", "text_encoder")


@dataclass
class BaseModel:
    """A latent diffusion model of the Stable Diffusion 1 and 2 family.

    `unet`, `vae` and `text_encoder` are held in float32 and frozen; a part that was released comes back from the
    model's files when it is asked for. `content_hash` names the weights, the schedule and the vocabulary as they
    were opened, whatever the layout of the files. `resolution` is in pixels. diffusers and transformers ship no
    types, hence `Any`.
    """

    name: str
    tokenizer: Any
    scheduler: Any
    load_part: Callable[[str], Any]  # of PARTS, in float32
    content_hash: str = ""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _parts: dict[str, Any] = field(default_factory=dict, repr=False)
    _changed: set[str] = field(default_factory=set)

    @property
    def unet(self) -> Any:
        """The denoiser, `unet(latents_NCHW, timesteps_N, context_NLD).sample` is (N, C, H, W)."""
        return self.part("unet")

    @property
    def vae(self) -> Any:
        """The autoencoder between pictures and latents."""
        return self.part("vae")

    @property
    def text_encoder(self) -> Any:
        """The caption encoder."""
        return self.part("text_encoder")

    def part(self, name: str) -> Any:
        """`name` of PARTS, read from the model's files where it is not in memory."""
        if name not in self._parts:
            with MAKING, torch.inference_mode(False):  # weights born in inference mode could never be trained
                module = self.load_part(name).to(self.device).eval()
            self._parts[name] = module.requires_grad_(False)
        return self._parts[name]

    def is_loaded(self, name: str) -> bool:
        """Whether the part `name` is in memory."""
        return name in self._parts

    def changed_parts(self) -> frozenset[str]:
        """Parts whose weights no longer are those of the model's files."""
        return frozenset(self._changed)

    def mark_changed(self, *names: str) -> None:
        """Note that weights of these parts no longer are those of the model's files."""
        self._changed.update(names)

    def mark_unchanged(self, *names: str) -> None:
        """Note that these parts have their files' weights again, bit for bit."""
        self._changed.difference_update(names)

    def release(self, *names: str) -> None:
        """Drop parts from memory until they are asked for again; a changed part, or one with LoRA layers, is kept."""
        for name in names:
            if name not in self._changed and not hasattr(self._parts.get(name), "peft_config"):
                self._parts.pop(name, None)

    def to(self, device: str | torch.device) -> BaseModel:
        """Move the parts in memory, and every part that comes later, to `device`."""
        self.device = torch.device(device)
        for module in self._parts.values():
            module.to(self.device)
        return self

    @property
    def prediction_type(self) -> str:
        """What the denoiser predicts: 'epsilon', 'v_prediction' or 'flow', a key of fedflow.diffusion.TARGETS."""
        return "flow" if self.is_flow else str(self.scheduler.config.get("prediction_type", "epsilon"))

    @property
    def is_flow(self) -> bool:
        """Whether the model was trained by flow matching."""
        config = self.scheduler.config
        return "FlowMatch" in type(self.scheduler).__name__ or config.get("prediction_type") == "flow_prediction"

    def levels(self) -> NoiseLevels:
        """The noise levels that the model was trained on; a rescaled zero terminal SNR is in them."""
        config = self.scheduler.config
        if self.is_flow:
            shift = config.get("shift", config.get("flow_shift", 1.0))
            return flow_levels(int(config["num_train_timesteps"]), float(shift))
        return variance_preserving_levels(self.scheduler.alphas_cumprod)

    @property
    def resolution(self) -> int:
        """Side of the pictures that the model was trained on, in pixels."""
        return int(self.unet.config.sample_size) * self.pixels_per_latent

    @property
    def pixels_per_latent(self) -> int:
        """Pixels along one side of a latent cell."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def latent_size(self, size: int | None = None) -> tuple[int, int, int]:
        """(C, H, W) of the latents of square pictures of `size` pixels, or of the model's resolution.

        Raises ModelError where the model has no latents of that size.
        """
        size = size or self.resolution
        if size < 1 or size % self.pixels_per_latent:
            raise ModelError(
                f"size {size}: model '{self.name}' needs a multiple of {self.pixels_per_latent} pixels; "
                f"its own is {self.resolution}"
            )
        side = size // self.pixels_per_latent
        return int(self.vae.config.latent_channels), side, side

    def picture_size(self, width: int | None = None, height: int | None = None) -> tuple[int, int]:
        """Width and height of pictures in pixels, the model's resolution where None.

        Raises ModelError where the model has no latents of that size.
        """
        sides = (width or self.resolution, height or self.resolution)
        for side in sides:
            self.latent_size(side)
        return sides

    def halved(self, size: tuple[int, int]) -> tuple[int, int]:
        """About half of a width and height in pixels, of which the model has latents."""
        cell = self.pixels_per_latent
        width, height = (max(cell, side // 2 // cell * cell) for side in size)
        return width, height

    def too_long(self, captions: list[str]) -> list[int]:
        """The places of those of which `encode_captions` cuts the end."""
        tokens = self.tokenizer(captions, verbose=False).input_ids if captions else []
        return [place for place, found in enumerate(tokens) if len(found) > self.tokenizer.model_max_length]

    def encode_captions(self, captions: list[str]) -> Tensor:
        """Embeddings of the captions' tokens, (N, L, D), on the model's device; a caption too long is cut."""
        tokens = self.tokenizer(
            captions,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )
        mask = tokens.attention_mask if getattr(self.text_encoder.config, "use_attention_mask", False) else None
        output = self.text_encoder(
            tokens.input_ids.to(self.device), attention_mask=None if mask is None else mask.to(self.device)
        )
        embeddings: Tensor = output.last_hidden_state
        return embeddings

    def encode_pictures(self, pixels_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents of pictures in [-1, 1], (N, C, H, W) each, in the UNet's scale."""
        posterior = self.vae.encode(pixels_NCHW.to(self.device)).latent_dist
        config = self.vae.config
        shift = config.get("shift_factor") or 0.0
        return (posterior.mean - shift) * config.scaling_factor, posterior.std * config.scaling_factor


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def content_hash_of(model: BaseModel) -> str:
    """SHA-256 over all weights as float32, the noise levels, the latent scale and the vocabulary.

    Two files of the same weights in another layout (folder or single file, another tool's version) agree.
    """
    digest = hashlib.sha256()
    facts = {
        "prediction_type": model.prediction_type,
        "scaling_factor": float(model.vae.config.scaling_factor),
        "vocabulary": sorted(model.tokenizer.get_vocab().items()),
    }
    digest.update(json.dumps(facts, ensure_ascii=True).encode())
    levels = model.levels()
    for tensor in (levels.signal_T, levels.noise_T):
        digest.update(_float32_bytes(tensor))
    for part in PARTS:
        # transformers 5 dropped the prefix 'text_model.' from the same encoder
        named = {name.removeprefix("text_model."): tensor for name, tensor in model.part(part).named_parameters()}
        for name in sorted(named):
            digest.update(f"{part}.{name} {list(named[name].shape)}".encode())
            digest.update(_float32_bytes(named[name]))
    return digest.hexdigest()


def _float32_bytes(tensor: Tensor) -> memoryview:
    values = tensor.detach().to("cpu", torch.float32).contiguous()
    return values.view(-1).view(torch.uint8).numpy().data
