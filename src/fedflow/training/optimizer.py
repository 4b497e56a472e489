"""AdamW over all trained parameters as one vector: one kernel per step in the place of one per parameter.

A LoRA has hundreds of small factors; on a CPU, looping over them took 7% of a training step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

MOMENTS = ("exp_avg", "exp_avg_sq")
WEIGHT = "weight"


class FlatAdamW:
    """Decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), torch's fused kernel.

    From construction to `release` the parameters and their gradients are views of two vectors.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], weight_decay: float) -> None:
        self._parameters = parameters
        self._flat = nn.Parameter(torch.cat([parameter.detach().flatten() for parameter in parameters.values()]))
        self._flat.grad = torch.zeros_like(self._flat)
        weights, gradients = self._views(self._flat.detach()), self._views(self._flat.grad)
        for name, parameter in parameters.items():
            parameter.data = weights[name]
            parameter.grad = gradients[name]
        self._optimizer = torch.optim.AdamW([self._flat], weight_decay=weight_decay, fused=True)

    def step(self, rate: float, clip_norm: float) -> None:
        """One step at learning rate `rate` along the gradient cut to `clip_norm`; the gradient is zero afterwards."""
        self._optimizer.param_groups[0]["lr"] = rate
        nn.utils.clip_grad_norm_([self._flat], clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=False)

    def state(self) -> dict[str, Tensor]:
        """Views of weights and moments as `weight/<name>`, `exp_avg/<name>`, `exp_avg_sq/<name>`, after a step."""
        vectors = {
            WEIGHT: self._flat.detach(),
            **{moment: self._optimizer.state[self._flat][moment] for moment in MOMENTS},
        }
        return {
            f"{kind}/{name}": view for kind, vector in vectors.items() for name, view in self._views(vector).items()
        }

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Take a `state` as it was after `steps` steps. Raises KeyError where a tensor is missing."""
        count = torch.tensor(float(steps), device=self._flat.device)
        moments = {moment: torch.zeros_like(self._flat) for moment in MOMENTS}
        self._optimizer.state[self._flat] = {"step": count, **moments}
        with torch.no_grad():
            for key, view in self.state().items():
                view.copy_(state[key])

    def release(self) -> None:
        """Give every parameter memory of its own again, without gradient."""
        for parameter in self._parameters.values():
            parameter.data = parameter.data.clone()
            parameter.grad = None

    def _views(self, vector: Tensor) -> dict[str, Tensor]:
        pieces = torch.split(vector, [parameter.numel() for parameter in self._parameters.values()])
        return {
            name: piece.view(parameter.shape)
            for (name, parameter), piece in zip(self._parameters.items(), pieces, strict=True)
        }
