"""Tags over many captions: what changes, and that it can be undone."""

from __future__ import annotations

import pytest

from fedflow.datasets.tags import (
    Change,
    add_tag,
    applied,
    one_tag,
    remove_tag,
    rename_tag,
    replace_text,
    reversed_changes,
    tag_counts,
)
from fedflow.errors import DatasetError

CAPTIONS = {1: "red, cat", 2: "cat", 3: "dog ,big,  dog", 4: ""}


def after(changes: dict[int, Change]) -> dict[int, str]:
    return {key: change.after for key, change in changes.items()}


def test_add_behind_and_in_front() -> None:
    assert after(add_tag(CAPTIONS, "cat")) == {3: "dog, big, dog, cat", 4: "cat"}
    assert after(add_tag(CAPTIONS, " my  style ", front=True)) == {
        1: "my style, red, cat",
        2: "my style, cat",
        3: "my style, dog, big, dog",
        4: "my style",
    }
    assert after(add_tag(CAPTIONS, "cat", front=True)) == {1: "cat, red", 3: "cat, dog, big, dog", 4: "cat"}


def test_remove_whole_tags_alone() -> None:
    assert after(remove_tag(CAPTIONS, "dog")) == {3: "big"}
    assert after(remove_tag(CAPTIONS, "cat")) == {1: "red", 2: ""}
    assert remove_tag(CAPTIONS, "ca") == {}


def test_rename_keeps_one_of_two() -> None:
    assert after(rename_tag(CAPTIONS, "cat", "kitten")) == {1: "red, kitten", 2: "kitten"}
    assert after(rename_tag(CAPTIONS, "cat", "red")) == {1: "red", 2: "red"}
    assert after(rename_tag(CAPTIONS, "big", "dog")) == {3: "dog"}
    assert rename_tag(CAPTIONS, "cat", "cat") == {}


def test_replace_is_plain_text_and_leaves_no_lone_commas() -> None:
    captions = {"a": "a (big) cat, 1,000 dogs", "b": "A (BIG) cat", "c": "x, (big), y", "d": "(big)"}
    assert {key: change.after for key, change in replace_text(captions, "(big)", "").items()} == {
        "a": "a cat, 1,000 dogs",
        "c": "x, y",
        "d": "",
    }
    assert replace_text(captions, "(Big)", r"\1", match_case=False)["b"].after == r"A \1 cat"
    assert replace_text(captions, ".", "!") == {}


def test_undo_is_the_change_reversed() -> None:
    for changes in (add_tag(CAPTIONS, "cat"), remove_tag(CAPTIONS, "cat"), replace_text(CAPTIONS, "o", "0")):
        done = applied(CAPTIONS, changes)
        assert done != CAPTIONS
        assert applied(done, reversed_changes(changes)) == CAPTIONS


def test_undo_of_what_was_changed_meanwhile_is_refused() -> None:
    changes = add_tag(CAPTIONS, "new")
    done = applied(CAPTIONS, changes) | {2: "mine"}
    with pytest.raises(DatasetError, match=r"the caption of 2 was changed meanwhile; look at it"):
        applied(done, reversed_changes(changes))
    with pytest.raises(DatasetError, match=r"the caption of 1 and 3 more were changed meanwhile"):
        applied({}, reversed_changes(changes))


def test_counts_each_caption_once() -> None:
    assert list(tag_counts(CAPTIONS.values()).items()) == [("cat", 2), ("big", 1), ("dog", 1), ("red", 1)]


@pytest.mark.parametrize(("tag", "words"), [(" \n", "the tag is empty"), ("a, b", "'a, b': a tag holds no comma")])
def test_what_is_no_tag(tag: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        one_tag(tag)
    with pytest.raises(DatasetError, match="the text to find is empty"):
        replace_text(CAPTIONS, "", "x")
