"""Tags of a caption."""

from __future__ import annotations

from fedflow.datasets import caption_tags


def test_tags_once_each_in_their_order() -> None:
    assert caption_tags("fluent_style, red_apple,red , apple,, food, red") == [
        "fluent_style",
        "red_apple",
        "red",
        "apple",
        "food",
    ]
    assert caption_tags(" , ") == []
