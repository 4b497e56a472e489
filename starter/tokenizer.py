"""The starter's CLIPTokenizer: every word of a caption is one token, and so is every compound tag."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from starter import vocabulary

MAX_TOKENS = 32
START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges that join each of `words` into one token."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=20_000, min_frequency=1, show_progress=False, end_of_word_suffix="</w>", continuing_subword_prefix=""
    )
    bpe.train_from_iterator(words, trainer)
    merges: list[list[str]] = json.loads(bpe.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges]


def kept(work: Path, concepts: dict[str, str]) -> CLIPTokenizer:
    """The tokenizer in `work`, built there once: byte-pair training breaks ties anew at every call.

    Training and packaging must use the same one, or some words change their embeddings.
    """
    folder = work / "tokenizer"
    if not folder.is_dir():
        partial = work / "tokenizer.partial"
        _build(concepts).save_pretrained(partial)
        partial.rename(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _build(concepts: dict[str, str]) -> CLIPTokenizer:
    """A tokenizer over the vocabulary's `concepts` (icon name to category tag)."""
    tags = [
        tag
        for name, category in concepts.items()
        for style in vocabulary.STYLE_TAGS
        for tag in vocabulary.caption_tags(name, category, style)
    ]
    compound = sorted({tag for tag in tags if "_" in tag and tag != vocabulary.STYLE_TAGS["fluent-emoji-flat"]})
    words = sorted({word for tag in tags for word in tag.split("_")} | {"style", ","})
    merges = _merges(words)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *(left + right for left, right in merges), START, END]
    tokenizer = CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(dict.fromkeys(pieces))},
        merges=merges,
        model_max_length=MAX_TOKENS,
    )
    tokenizer.add_tokens([AddedToken(tag, single_word=True, normalized=True) for tag in compound])
    return tokenizer
