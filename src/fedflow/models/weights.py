"""The UNet's full weights as named tensors, for training and averaging without LoRA."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fedflow.errors import UpdateError
from fedflow.models.base_model import BaseModel


def unfreeze_unet(model: BaseModel) -> dict[str, nn.Parameter]:
    """Make the UNet's parameters trainable and return them, named `unet.<parameter>`, on the model's device."""
    model.unet.requires_grad_(True)
    model.mark_changed("unet")
    return {f"unet.{name}": parameter for name, parameter in model.unet.named_parameters()}


def get_weights(model: BaseModel) -> dict[str, Tensor]:
    """A copy of the UNet's weights, `unet.<parameter>`, float32 on the CPU."""
    return {
        f"unet.{name}": parameter.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, parameter in model.unet.named_parameters()
    }


def set_weights(model: BaseModel, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite the UNet's weights. Raises UpdateError where a name is missing or unknown, or a shape differs."""
    parameters = {f"unet.{name}": parameter for name, parameter in model.unet.named_parameters()}
    for name in sorted(parameters.keys() ^ tensors.keys()):
        where = "weights" if name in parameters else f"model '{model.name}'"
        raise UpdateError(f"tensor '{name}' is missing in the {where}; both must be of the same base model")
    for name, parameter in parameters.items():
        if parameter.shape != tensors[name].shape:
            got, wanted = tuple(tensors[name].shape), tuple(parameter.shape)
            raise UpdateError(
                f"tensor '{name}' has shape {got}, model '{model.name}' {wanted}; use the same base model"
            )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])
    model.mark_changed("unet")
