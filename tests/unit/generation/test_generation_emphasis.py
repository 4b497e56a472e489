"""Emphasis in prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedflow.generation import generate
from fedflow.generation.emphasis import Piece, pieces_of
from fedflow.generation.prompts import encode_prompts
from fedflow.models import BaseModel, open_model


@pytest.fixture
def model(tiny_model_folder: Path) -> BaseModel:
    return open_model(str(tiny_model_folder))


@pytest.mark.parametrize(
    ("prompt", "pieces"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("", []),
        ("(cat)", [("cat", 1.1)]),
        ("((cat))", [("cat", 1.21)]),
        ("[cat]", [("cat", 0.909)]),
        ("a (red cat:1.3) here", [("a ", 1.0), ("red cat", 1.3), (" here", 1.0)]),
        ("(a (b:2))", [("a ", 1.1), ("b", 2.2)]),
        ("(cat:0.5", [("cat:0.5", 1.1)]),
        (r"\(cat\) \[dog\] a\b", [(r"(cat) [dog] a\b", 1.0)]),
        (":) and 16:9", [(":) and 16:9", 1.0)]),
        ("(cat: 900)", [("cat", 10.0)]),
    ],
)
def test_the_grammar_is_that_of_a1111(prompt: str, pieces: list[tuple[str, float]]) -> None:
    assert [(each.text, round(each.weight, 3)) for each in pieces_of(prompt)] == pieces


def test_without_marks_every_bit_is_as_before(model: BaseModel) -> None:
    with torch.inference_mode():
        plain = model.encode_captions(["red, cat", "a 16:9 picture"])
        assert torch.equal(torch.stack(encode_prompts(model, ["red, cat", "a 16:9 picture"])), plain)
        assert torch.equal(encode_prompts(model, [r"red\, cat", "(a:1) 16:9 picture"])[1], plain[1])


def test_tokens_are_scaled_by_their_weight_and_the_mean_stays(model: BaseModel) -> None:
    with torch.inference_mode():
        [plain_LD] = model.encode_captions(["ab cd"])
        [heavy_LD] = encode_prompts(model, ["ab (cd:2)"])
    # the tiny tokenizer's tokens are letters: start, a, b, c, d, then the end
    factors_L = torch.tensor([1.0, 1.0, 1.0, 2.0, 2.0] + [1.0] * 11)
    scaled_LD = plain_LD * factors_L[:, None]
    ratio = (heavy_LD / scaled_LD).flatten()
    assert torch.allclose(ratio, ratio[0].expand_as(ratio), atol=1e-4)
    kept = torch.allclose(heavy_LD.mean(), plain_LD.mean(), atol=1e-5)
    assert kept or torch.allclose(heavy_LD, scaled_LD)


def test_emphasis_changes_the_picture_and_words_in_brackets_are_no_brackets(model: BaseModel) -> None:
    plain, heavy, escaped = (
        generate(model, [prompt], [1], steps=2) for prompt in ("red, cat", "red, (cat:3)", "(red, cat:1)")
    )
    assert not np.array_equal(plain, heavy)
    assert np.array_equal(plain, escaped)
    assert Piece("a", 1.0) == pieces_of("a")[0]


def test_a_caption_is_taken_letter_by_letter(model: BaseModel) -> None:
    """Tags hold brackets, such as `fox_(animal)`: what is scored is drawn from the caption as it was trained on."""
    weighed, literal = (generate(model, ["ab (cd)"], [1], steps=2, emphasis=each) for each in (True, False))
    assert not np.array_equal(weighed, literal)
    escaped = generate(model, [r"ab \(cd\)"], [1], steps=2)
    assert np.array_equal(escaped, literal)


def test_a_long_prompt_is_read_in_windows_to_its_end(model: BaseModel) -> None:
    """The tiny model reads 14 letters at once; a window ends at a comma, else at a word, else where it is full."""
    windows = {
        "aa bb, cc dd, ee ff gg": ["aa bb, cc dd,", " ee ff gg"],
        "aaaaaa bbbbbb ccc": ["aaaaaa bbbbbb ", "ccc"],
        "a" * 20: ["a" * 14, "a" * 6],
    }
    with torch.inference_mode():
        for prompt, parts in windows.items():
            [embeddings_LD] = encode_prompts(model, [prompt])
            assert torch.allclose(embeddings_LD, torch.cat(list(model.encode_captions(parts))), atol=1e-6)
        [heavy_LD] = encode_prompts(model, ["aa bb, cc dd, (ee:2) ff gg"])
        [plain_LD] = encode_prompts(model, ["aa bb, cc dd, ee ff gg"])
    length = model.tokenizer.model_max_length
    assert torch.equal(heavy_LD[:length], plain_LD[:length])
    assert not torch.allclose(heavy_LD[length:], plain_LD[length:], atol=1e-6)


def test_a_short_prompt_beside_a_long_one_is_drawn_as_alone(model: BaseModel) -> None:
    long = "red, cat, dog, fox, red"
    prompts = ["red", long, "cat", long + " dog"]
    together = generate(model, prompts, [1, 2, 3, 2], steps=2)
    taken: list[int] = []
    apart = [generate(model, [each], [seed], steps=2)[0] for each, seed in zip(prompts, (1, 2, 3, 2), strict=True)]
    assert all(np.abs(left.astype(int) - right).max() <= 1 for left, right in zip(together, apart, strict=True))
    assert not np.array_equal(together[1], together[3])
    generate(model, prompts, [1, 2, 3, 2], steps=2, take=lambda first, _: taken.append(first))
    assert taken == [0, 1, 2, 3], "those of other lengths are drawn apart"
    far, near = (generate(model, ["red"], [1], steps=2, negative=each)[0] for each in (long, long[:14]))
    assert not np.array_equal(far, near), "nor is the end of the negative prompt cut"
