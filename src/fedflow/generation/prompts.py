"""Embeddings of prompts as people write them: with emphasis, and as long as they like.

A text encoder reads so many tokens at once (Stable Diffusion's 75 beside start and end). A longer prompt is read in
windows, whose embeddings are put one behind the other, as in AUTOMATIC1111's web UI: a window ends at a comma where one
stands near its end.
"""

# N prompts, K windows of a prompt, L tokens of a window, D width of the text encoder

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from fedflow.generation.emphasis import Piece, pieces_of, scaled
from fedflow.models import BaseModel

ENDS = 2
"""Start and end of a text, which take a token each."""

NEAR_THE_END = 20
"""Tokens. A1111's "Prompt word wrap length limit": so far back a comma is looked for."""


def encode_prompts(model: BaseModel, prompts: Sequence[str]) -> list[Tensor]:
    """Embeddings of each prompt, (K * L, D), those of tokens in brackets scaled by their weight.

    Prompts of one window are encoded together, and without marks as they stand: their bits are those of
    `model.encode_captions`.
    """
    pieces = [pieces_of(prompt) for prompt in prompts]
    texts = ["".join(piece.text for piece in each) for each in pieces]
    embeddings = list(model.encode_captions(texts))
    for number, text in enumerate(texts):
        borders = [0, *_ends_of_windows(model, text)]
        windows = [_part(pieces[number], first, end) for first, end in pairwise(borders)]
        if len(windows) > 1:
            embeddings[number] = torch.cat([_window(model, window) for window in windows])
        elif any(piece.weight != 1.0 for piece in windows[0]):
            embeddings[number] = scaled(embeddings[number], _weights(model, windows[0]))
    return embeddings


def as_long(model: BaseModel, embeddings: Sequence[Tensor]) -> list[Tensor]:
    """Embeddings (K * L, D) brought to the windows of the longest among them, by windows of no text."""
    longest = max(len(each) for each in embeddings)
    if all(len(each) == longest for each in embeddings):
        return list(embeddings)
    [empty_LD] = model.encode_captions([""])
    return [torch.cat([each, *[empty_LD] * ((longest - len(each)) // len(empty_LD))]) for each in embeddings]


def _ends_of_windows(model: BaseModel, text: str) -> list[int]:
    """Where each window of the text ends, in letters; the last at the text's end."""
    room = model.tokenizer.model_max_length - ENDS
    tokens = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    spans, words = tokens["offset_mapping"], tokens.word_ids()
    ends: list[int] = []
    first = 0
    while len(spans) - first > room:
        after = first + room
        starts = [place for place in range(after, first, -1) if words[place] != words[place - 1]]
        commas = [place for place in starts if place > after - NEAR_THE_END and text[spans[place - 1][0]] == ","]
        first = next(iter(commas or starts), after)
        ends.append(spans[first][0])
    return [*ends, len(text)]


def _part(pieces: Sequence[Piece], first: int, end: int) -> list[Piece]:
    """What stands from letter `first` up to `end`, in pieces."""
    part: list[Piece] = []
    at = 0
    for piece in pieces:
        text = piece.text[max(first - at, 0) : max(end - at, 0)]
        at += len(piece.text)
        if text:
            part.append(Piece(text, piece.weight))
    return part


def _window(model: BaseModel, pieces: Sequence[Piece]) -> Tensor:
    [embeddings_LD] = model.encode_captions(["".join(piece.text for piece in pieces)])
    return scaled(embeddings_LD, _weights(model, pieces))


def _weights(model: BaseModel, pieces: Sequence[Piece]) -> Tensor:
    """What each of the L tokens weighs; a token over the border of two pieces as the first of them."""
    text = "".join(piece.text for piece in pieces)
    of_letters = [piece.weight for piece in pieces for _ in piece.text]
    limit = model.tokenizer.model_max_length
    tokens = model.tokenizer(text, padding="max_length", truncation=True, max_length=limit, return_offsets_mapping=True)
    spans = tokens["offset_mapping"]
    return torch.tensor([of_letters[first] if end > first else 1.0 for first, end in spans])
