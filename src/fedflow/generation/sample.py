"""A picture on the way of a training, to see how it goes."""

from __future__ import annotations

from collections.abc import Callable

from fedflow.generation.pictures import generate
from fedflow.generation.png import parameters_text, png_bytes
from fedflow.models import SAMPLERS, BaseModel

STEPS, GUIDANCE, SAMPLER = 12, 3.0, "unipc"


def sample(model: BaseModel, prompt: str, seed: int, side: int, step: Callable[[int], None] | None = None) -> bytes:
    """A PNG of what the model draws by now, with its settings; what only drawing needs leaves the memory again.

    `side` is in pixels; `step` is told the denoising steps done. Raises as `generate`.
    """
    [pixels] = generate(model, [prompt], [seed], steps=STEPS, guidance=GUIDANCE, size=side, sampler=SAMPLER, step=step)
    model.release("vae")
    text = parameters_text(
        prompt,
        negative="",
        steps=STEPS,
        sampler=SAMPLERS[SAMPLER][1],
        guidance=GUIDANCE,
        seed=seed,
        size=side,
        model_name=model.name,
        model_hash=model.content_hash,
    )
    return png_bytes(pixels, text)
