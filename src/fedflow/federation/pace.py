"""How much work a step of training is, and how long it takes a usual machine; from shapes alone, without torch.

Beside the work stand the numbers that a step keeps for its way back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

USUAL_FLOPS_S = 8.5e10
"""Floating-point operations a second of FedFlow's training on two processor cores.

A LoRA step of the starter, 8 pictures, took 0.103 s there (`benchmarks/RESULTS.md`, Training).
"""

FROM_CAPTION = ("attn2.to_k.weight", "attn2.to_v.weight")
_LEVEL = re.compile(r"(?P<part>down|up)_blocks\.(?P<index>\d+)\.")


def unet_flops(shapes: Mapping[str, tuple[int, ...]], side: int, tokens: int) -> float:
    """Floating-point operations of a UNet's way forth for one picture.

    Args:
        shapes: of its tensors, by their names in diffusers.
        side: height and width of the latents.
        tokens: length of a caption.
    """
    levels = _levels(shapes)
    total = 0.0
    for name, shape in shapes.items():
        if len(shape) < 2:
            continue
        positions = tokens if name.endswith(FROM_CAPTION) else _positions(name, side, levels)
        total += 2.0 * math.prod(shape) * positions
        if name.endswith("attn1.to_q.weight"):  # every position looks at every other
            total += 4.0 * positions**2 * shape[0]
        elif name.endswith("attn2.to_q.weight"):
            total += 4.0 * positions * tokens * shape[0]
    return total


def unet_outputs(shapes: Mapping[str, tuple[int, ...]], side: int, tokens: int) -> int:
    """How many numbers the UNet's layers give out for one picture, those with weights; arguments as `unet_flops`."""
    levels = _levels(shapes)
    return sum(
        shape[0] * (tokens if name.endswith(FROM_CAPTION) else _positions(name, side, levels))
        for name, shape in shapes.items()
        if len(shape) > 1
    )


def text_outputs(shapes: Mapping[str, tuple[int, ...]], tokens: int) -> int:
    """The same of a text encoder for one caption."""
    return sum(shape[0] * tokens for name, shape in shapes.items() if len(shape) > 1 and "embedding" not in name)


def text_flops(shapes: Mapping[str, tuple[int, ...]], tokens: int) -> float:
    """The same of a text encoder for one caption."""
    total = 0.0
    for name, shape in shapes.items():
        if len(shape) > 1 and "embedding" not in name:  # looking a token up costs nothing
            total += 2.0 * tokens * math.prod(shape)
        if name.endswith("q_proj.weight"):
            total += 4.0 * tokens**2 * shape[0]
    return total


def _levels(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return 1 + max((int(found["index"]) for name in shapes if (found := _LEVEL.match(name))), default=0)


def _positions(name: str, side: int, levels: int) -> int:
    """Where a tensor is used once each: pixels of its level of the UNet, or once for the time."""
    if "time_emb" in name:
        return 1
    level = levels - 1 if name.startswith("mid_block.") else 0
    if found := _LEVEL.match(name):
        index = int(found["index"])
        level = index if found["part"] == "down" else levels - 1 - index
        level += ("downsamplers" in name) - ("upsamplers" in name)
    return max(1, side >> level) ** 2
