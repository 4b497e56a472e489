"""Pictures from prompts: each depends on its own prompt and seed, not on its neighbours in the batch."""

# N pictures, L caption tokens, D width of the text encoder

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from fedflow.errors import ModelError, RunError
from fedflow.generation.prompts import as_long, encode_prompts
from fedflow.lora import Adapter
from fedflow.models import BaseModel, Start, draw, merged

PROMPTS_AT_ONCE = 64


def generate(
    model: BaseModel,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = 12,
    guidance: float = 3.0,
    negative: str = "",
    batch_size: int = 16,
    size: int | tuple[int, int] | None = None,
    sampler: str = "unipc",
    adapters: Sequence[tuple[Adapter, float]] = (),
    progress: Callable[[int, int], None] | None = None,
    take: Callable[[int, npt.NDArray[np.uint8]], None] | None = None,
    step: Callable[[int], None] | None = None,
    start: Start | None = None,
    emphasis: bool = True,
    look: Callable[[torch.Tensor], None] | None = None,
) -> npt.NDArray[np.uint8]:
    """One picture per prompt and seed, (N, height, width, 3); none where `take` is given, which has each already.

    `size` is width and height in pixels, one number where they are alike, the model's resolution where None.

    With `emphasis` parts of a prompt weigh more or less as the module of that name reads them; without it a prompt is
    taken letter by letter, as captions are, whose tags may hold brackets. `start` holds N pictures that are drawn over.

    `steps` denoising steps of `sampler`, a key of fedflow.models.SAMPLERS; `guidance` is the classifier-free
    guidance scale (1: none) away from `negative`; `adapters` act with their weights while the pictures are drawn.
    `take` is given each batch as soon as it is drawn, with the position of its first picture; `progress` is told
    pictures done and in all, `step` the denoising steps done of the present batch, `look` is shown its latents; what
    one of them raises ends the drawing, and the model is as it was before. Noise comes from a CPU generator per
    picture, so a seed means the same picture on every device, within rounding.

    Raises ModelError where prompts and seeds differ in number, or size, sampler or `start` do not fit; AdapterError
    where an adapter does not; RunError where a picture comes out as NaN.
    """
    if len(prompts) != len(seeds):
        raise ModelError(f"{len(prompts)} prompts, but {len(seeds)} seeds; give one seed for each prompt")
    width, height = model.picture_size(*(size if isinstance(size, tuple) else (size, size)))
    if start is not None and start.pictures.shape != (len(prompts), height, width, 3):
        raise ModelError(
            f"pictures to start from have shape {start.pictures.shape}; "
            f"give {len(prompts)} of {width} by {height} pixels"
        )
    drawn: list[npt.NDArray[np.uint8]] = [np.empty((0, height, width, 3), np.uint8)]
    with torch.inference_mode(), merged(model, adapters):
        texts = list(dict.fromkeys([*prompts, negative]))
        embeddings = dict(zip(texts, _encoded(model, texts, emphasis), strict=True))
        for batch in _batches([len(embeddings[prompt]) for prompt in prompts], batch_size):
            together = as_long(model, [*(embeddings[prompts[position]] for position in batch), embeddings[negative]])
            context_NLD = torch.stack(together[:-1])
            negative_NLD = together[-1].expand_as(context_NLD)
            generators = [torch.Generator().manual_seed(seeds[position]) for position in batch]
            with _no_nan(model, len(adapters)):
                pictures = draw(
                    model,
                    context_NLD,
                    negative_NLD,
                    generators,
                    steps=steps,
                    guidance=guidance,
                    sampler=sampler,
                    size=(width, height),
                    step=step,
                    start=_of_batch(start, batch),
                    look=look,
                )
            if take is None:
                drawn.append(pictures)
            else:
                take(batch.start, pictures)
            if progress is not None:
                progress(batch.stop, len(prompts))
    return np.concatenate(drawn)


def _encoded(model: BaseModel, texts: Sequence[str], emphasis: bool) -> list[torch.Tensor]:
    """Embeddings of each text, all of one length without `emphasis`."""
    encoded: list[torch.Tensor] = []
    for first in range(0, len(texts), PROMPTS_AT_ONCE):
        chunk = list(texts[first : first + PROMPTS_AT_ONCE])
        encoded += encode_prompts(model, chunk) if emphasis else list(model.encode_captions(chunk))
    return encoded


def _batches(lengths: Sequence[int], batch_size: int) -> Iterator[range]:
    """Stretches of at most `batch_size` pictures, whose embeddings are equally long: no picture asks for another's."""
    first = 0
    for position in range(1, len(lengths) + 1):
        if position == len(lengths) or position - first == batch_size or lengths[position] != lengths[first]:
            yield range(first, position)
            first = position


def _of_batch(start: Start | None, batch: range) -> Start | None:
    if start is None:
        return None
    part = slice(batch.start, batch.stop)
    return Start(start.pictures[part], start.strength, None if start.masks is None else start.masks[part])


@contextmanager
def _no_nan(model: BaseModel, num_adapters: int) -> Iterator[None]:
    """Refuse pictures that hold NaN, which have no whole numbers: numpy notes it where they are made such."""
    try:
        with np.errstate(invalid="raise"):
            yield
    except FloatingPointError:
        culprit = f"model '{model.name}' with its {num_adapters} adapters" if num_adapters else f"model '{model.name}'"
        way_out = "lower the adapters' weights or leave one out" if num_adapters else "take another model"
        raise RunError(f"{culprit} draws no picture but NaN; {way_out}, or lower the guidance") from None
