"""Emphasis in prompts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedflow.generation import generate
from fedflow.generation.emphasis import Piece, encode_prompts, pieces_of
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
        assert torch.equal(encode_prompts(model, ["red, cat", "a 16:9 picture"]), plain)
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
