"""Emphasis in prompts: `(word)` and `(word:1.3)` weigh more, `[word]` less, as in AUTOMATIC1111's web UI.

The grammar and the scaling are those of its `modules/prompt_parser.py` and `modules/sd_emphasis.py` ("Original"):
each `(` multiplies by 1.1, each `[` divides by it, `\\(` and the like stand for themselves; embeddings of tokens are
multiplied by their weight, then all together scaled to the mean that they had. The library compel reads another
grammar.
"""

# L caption tokens, D width of the text encoder

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

STRONGER = 1.1
GREATEST = 10.0
"""A weight beyond this, either way, is taken as this: nothing that draws a picture lies there."""

LEAST_MEAN = 0.05
"""Of the standard deviation; below it the ratio of the two means is an accident of the tokens."""

_PIECE = re.compile(r"\\[\\()\[\]]|\\|[()\[\]]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|:")


@dataclass(frozen=True)
class Piece:
    """A stretch of a prompt and what it weighs."""

    text: str
    weight: float


def pieces_of(prompt: str) -> list[Piece]:
    """The prompt without its marks, in stretches of one weight. A bracket that nothing closes weighs to the end."""
    found: list[tuple[str, float]] = []
    open_at: dict[str, list[int]] = {"(": [], "[": []}

    def weigh(first: int, factor: float) -> None:
        for place in range(first, len(found)):
            found[place] = (found[place][0], found[place][1] * factor)

    for match in _PIECE.finditer(prompt):
        text, weight = match[0], match[1]
        if text in open_at:
            open_at[text].append(len(found))
        elif weight is not None and open_at["("]:
            weigh(open_at["("].pop(), float(weight))
        elif text == ")" and open_at["("]:
            weigh(open_at["("].pop(), STRONGER)
        elif text == "]" and open_at["["]:
            weigh(open_at["["].pop(), 1 / STRONGER)
        elif len(text) == 2 and text[0] == "\\":
            found.append((text[1], 1.0))
        else:
            found.append((text, 1.0))
    for first in open_at["("]:
        weigh(first, STRONGER)
    for first in open_at["["]:
        weigh(first, 1 / STRONGER)
    joined: list[Piece] = []
    for text, asked in found:
        weight = min(max(asked, -GREATEST), GREATEST)
        if joined and joined[-1].weight == weight:
            joined[-1] = Piece(joined[-1].text + text, weight)
        else:
            joined.append(Piece(text, weight))
    return joined


def scaled(embeddings_LD: Tensor, weights_L: Tensor) -> Tensor:
    """Embeddings (L, D) scaled by token's weight (L), then all to the mean that they had.

    An encoder whose embeddings are nearly 0 in the mean has no such scale, the starter's is one: they are scaled by
    token alone, as A1111's "No norm" does.
    """
    scaled_LD = embeddings_LD * weights_L.to(embeddings_LD)[:, None]
    if embeddings_LD.mean().abs() < LEAST_MEAN * embeddings_LD.std():
        return scaled_LD
    back = embeddings_LD.mean() / scaled_LD.mean()
    return scaled_LD * back if torch.isfinite(back) and back > 0 else scaled_LD
