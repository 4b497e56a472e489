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

    def called(self, step: int, steps: int) -> str:
        """What it is called at a step: before the end it is not the one that is kept."""
        return self.name if step == steps else f"{self.name} (step {step})"


def sample(
    model: BaseModel,
    prompt: str,
    seed: int,
    side: int,
    learner: Learner,
    at: tuple[int, int],
    step: Callable[[int], None] | None = None,
) -> bytes:
    """A PNG of what the model draws by now, with its settings; what only drawing needs leaves the memory again.

    `side` is in pixels, `at` the training's step and how many it has; `step` is told the denoising steps done. Raises
    as `generate`.
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
        model_name=learner.called(*at) if learner.is_whole else model.name,
        model_hash="" if learner.is_whole else model.content_hash,
        adapters=[] if learner.is_whole else [(learner.called(*at), 1.0)],
    )
    return png_bytes(pixels, text)
