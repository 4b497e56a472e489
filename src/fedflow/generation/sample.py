"""A picture on the way of a training, to see how it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedflow.generation.pictures import generate
from fedflow.generation.png import parameters_text, png_bytes
from fedflow.models import SAMPLERS, BaseModel

STEPS, GUIDANCE, SAMPLER = 12, 3.0, "unipc"


@dataclass(frozen=True)
class Learner:
    """What a training's pictures are drawn with: an adapter called `name`, or the whole model where `is_whole`."""

    name: str
    is_whole: bool

    def drawn_with(self, base: BaseModel, step: int) -> tuple[str, str, list[tuple[str, float]]]:
        """The model's name and hash, and the adapters, at a step; what is kept in the end has a name of its own."""
        called = f"{self.name} (step {step})"
        return (called, "", []) if self.is_whole else (base.name, base.content_hash, [(called, 1.0)])


def sample(
    model: BaseModel,
    prompt: str,
    seed: int,
    side: int,
    learner: Learner,
    at: int,
    step: Callable[[int], None] | None = None,
) -> bytes:
    """A PNG of what the model draws by now, with its settings; what only drawing needs leaves the memory again.

    `side` is in pixels, `at` the training's step; `step` is told the denoising steps done. Raises as `generate`.
    """
    [pixels] = generate(model, [prompt], [seed], steps=STEPS, guidance=GUIDANCE, size=side, sampler=SAMPLER, step=step)
    model.release("vae")
    name, content_hash, adapters = learner.drawn_with(model, at)
    text = parameters_text(
        prompt,
        negative="",
        steps=STEPS,
        sampler=SAMPLERS[SAMPLER][1],
        guidance=GUIDANCE,
        seed=seed,
        size=side,
        model_name=name,
        model_hash=content_hash,
        adapters=adapters,
    )
    return png_bytes(pixels, text)
