"""Which family of models something belongs to, by its shapes: a LoRA of one does nothing good on another."""

from __future__ import annotations

from collections.abc import Mapping

from fedflow.lora import Factors
from fedflow.models.base_model import BaseModel

SD1, SD2, SDXL, OTHER = "sd1", "sd2", "sdxl", "other"

FAMILY_OF_WIDTH = {768: SD1, 1024: SD2, 2048: SDXL}
"""By the width of the text that the UNet's cross-attention reads: CLIP ViT-L, OpenCLIP ViT-H, and both of SDXL."""

KOHYA_NAMES = {
    SD1: ("sd_v1", "stable-diffusion-v1/lora"),
    SD2: ("sd_v2", "stable-diffusion-v2-768-v/lora"),
    SDXL: ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
}
"""What kohya's trainers and ModelSpec call a LoRA of the family: `ss_base_model_version`, `modelspec.architecture`."""


def family_of(model: BaseModel) -> str:
    """The family of a base model; 'other' for one of a size of its own, such as the starter."""
    return FAMILY_OF_WIDTH.get(int(model.unet.config.cross_attention_dim), OTHER)


def family_of_adapter(adapter: Mapping[str, Factors], metadata: Mapping[str, str]) -> str:
    """The family of an adapter: by its cross-attention's inputs, else by what its file says, else 'other'."""
    if any(module.startswith("text_encoder_2.") for module in adapter):
        return SDXL
    for module, factors in adapter.items():
        if module.startswith("unet.") and module.endswith((".attn2.to_k", ".attn2.to_v")):
            return FAMILY_OF_WIDTH.get(int(factors.A.shape[1]), OTHER)
    said = (metadata.get("ss_base_model_version", ""), metadata.get("modelspec.architecture", ""))
    return next((family for family, names in KOHYA_NAMES.items() if said[0].startswith(names[0][:5])), OTHER)
