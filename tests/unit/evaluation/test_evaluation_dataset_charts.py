"""Drawings of a dataset, with people's own words in them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from fedflow.evaluation.dataset_charts import bars_svg
from fedflow.evaluation.drawing import without_styles

SVG = "{http://www.w3.org/2000/svg}"


def parsed(drawing: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawing.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))  # noqa: S314


def texts(drawing: str) -> list[str]:
    """All that can be read, sorted: titles come after what they stand above."""
    return sorted("".join(element.itertext()) for element in parsed(drawing).iter(f"{SVG}text"))


def test_bars_with_names_and_counts() -> None:
    drawing = bars_svg("tags", "Tags", {"cat": 10, "red": 5})
    assert texts(drawing) == ["10", "5", "Tags", "cat", "red"]
    assert drawing.startswith('<svg role="img" aria-label="Tags: cat 10, red 5" viewBox="0 0 416 86"')
    assert "var(--chart-accent, #3454d1)" in drawing
    assert drawing == bars_svg("tags", "Tags", {"cat": 10, "red": 5}), "the same bytes each time"
    assert 'id="tags-' in drawing
    assert "style" not in without_styles(drawing)
    assert texts(without_styles(drawing)) == texts(drawing)


def test_the_first_twenty_alone() -> None:
    drawing = bars_svg("tags", "Tags", {f"tag-{number:02}": 100 - number for number in range(30)})
    assert "tag-19" in texts(drawing)
    assert "tag-20" not in drawing


def test_nothing_to_draw() -> None:
    assert texts(bars_svg("tags", "Tags", {})) == ["Tags"]
    assert texts(bars_svg("tags", "Tags", {"none": 0})) == ["0", "Tags", "none"]


@pytest.mark.parametrize(
    "word",
    [
        "<script>alert(1)</script>",
        "</text><b>",
        'x" onload="alert(1)',
        "$a_1$ \\alpha {",
        "#3454d1",
        'style="a" id="b',
        "--><b>",
        "שלום",
        "猫 \N{CAT FACE}",
        "ї-є",
    ],
)
def test_peoples_words_stay_words(word: str) -> None:
    for drawing in (bars_svg("tags", word, {word: 1}), without_styles(bars_svg("tags", word, {word: 1}))):
        root = parsed(drawing)
        assert texts(drawing) == sorted([word, word if len(word) <= 20 else word[:20] + "…", "1"])
        assert root.attrib["aria-label"] == f"{word}: {word} 1"
        assert not {element.tag for element in root.iter()} & {f"{SVG}script", f"{SVG}b"}
        assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)


@pytest.mark.parametrize(
    ("word", "letters"), [("ann.smith@museum.example", 16), ("W" * 22, 10), ("猫" * 22, 9), ("i" * 22, 22)]
)
def test_a_name_that_has_no_room_is_cut_at_its_end(word: str, letters: int) -> None:
    shown = word if letters == len(word) else word[:letters] + "…"
    assert shown in texts(bars_svg("tags", "Tags", {word: 1}))


def test_control_characters_have_no_place() -> None:
    assert texts(bars_svg("tags", "Tags", {"a\x00\x1bb": 1})) == ["1", "Tags", "a\ufffd\ufffdb"]
