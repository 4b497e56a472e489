"""Changing tags over many captions: pure functions that give only what changes, so that undo is the change reversed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from fedflow.datasets.captions import caption_tags
from fedflow.errors import DatasetError

Key = TypeVar("Key", bound=Hashable)
"""What names a picture: a path, a row's number."""


@dataclass(frozen=True)
class Change:
    """One caption before and after."""

    before: str
    after: str


def add_tag(captions: Mapping[Key, str], tag: str, *, front: bool = False) -> dict[Key, Change]:
    """Put `tag` behind all others, or in front of them: there a caption that has it elsewhere has it moved.

    Raises DatasetError where `tag` is none.
    """
    tag = one_tag(tag)

    def changed(tags: list[str]) -> list[str]:
        if front:
            return [tag, *(other for other in tags if other != tag)]
        return tags if tag in tags else [*tags, tag]

    return _over_tags(captions, changed)


def remove_tag(captions: Mapping[Key, str], tag: str) -> dict[Key, Change]:
    """Take `tag` out wherever it stands. Raises DatasetError where `tag` is none."""
    tag = one_tag(tag)
    return _over_tags(captions, lambda tags: [other for other in tags if other != tag])


def rename_tag(captions: Mapping[Key, str], old: str, new: str) -> dict[Key, Change]:
    """Put `new` where `old` stands; a caption that has both keeps one, at the first place of the two.

    Raises DatasetError where one of them is no tag.
    """
    old, new = one_tag(old), one_tag(new)

    def changed(tags: list[str]) -> list[str]:
        if old not in tags:
            return tags
        first = next(place for place, tag in enumerate(tags) if tag in (old, new))
        return [
            new if place == first else tag for place, tag in enumerate(tags) if place == first or tag not in (old, new)
        ]

    return _over_tags(captions, changed)


def replace_text(
    captions: Mapping[Key, str], find: str, replacement: str, *, match_case: bool = True
) -> dict[Key, Change]:
    """Put `replacement` for every `find`, both plain text, anywhere in a caption; commas left alone by it go.

    Raises DatasetError for an empty `find`.
    """
    if not find:
        raise DatasetError("the text to find is empty; give at least one letter")
    pattern = re.compile(re.escape(find), re.NOFLAG if match_case else re.IGNORECASE)
    changes: dict[Key, Change] = {}
    for key, before in captions.items():
        text, count = pattern.subn(lambda _match: replacement, before)
        if count:
            tidied = re.sub(r"\s*,(?:\s*,)+\s*", ", ", " ".join(text.split())).strip(", ")
            _note(changes, key, before, tidied)
    return changes


def reversed_changes(changes: Mapping[Key, Change]) -> dict[Key, Change]:
    """The changes that undo `changes`."""
    return {key: Change(change.after, change.before) for key, change in changes.items()}


def applied(captions: Mapping[Key, str], changes: Mapping[Key, Change]) -> dict[Key, str]:
    """All captions after `changes`.

    Raises DatasetError where one of them has become another since, or is gone: nothing is then applied.
    """
    other = [key for key, change in changes.items() if captions.get(key) != change.before]
    if other:
        more = f" and {len(other) - 1} more were" if len(other) > 1 else " was"
        raise DatasetError(f"the caption of {other[0]}{more} changed meanwhile; look at it, and change it anew")
    return {**captions, **{key: change.after for key, change in changes.items()}}


def tag_counts(captions: Iterable[str]) -> dict[str, int]:
    """In how many captions each tag is, the most frequent first, equals by name."""
    counts = Counter(tag for caption in captions for tag in _tags(caption))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


@lru_cache(20_000)
def _tags(caption: str) -> tuple[str, ...]:
    """Kept, as a dataset's page counts the same captions with every look at it."""
    return tuple(caption_tags(caption))


def one_tag(text: str) -> str:
    """`text` as one tag, its white space single. Raises DatasetError where it is empty or holds a comma."""
    tag = " ".join(text.split())
    if not tag:
        raise DatasetError("the tag is empty; give at least one letter")
    if "," in tag:
        raise DatasetError(f"'{tag}': a tag holds no comma; give its tags one after the other")
    return tag


def _over_tags(captions: Mapping[Key, str], changed: Callable[[list[str]], list[str]]) -> dict[Key, Change]:
    """What `changed` changes of each caption's tags. Repeated tags stay where nobody asked about them."""
    changes: dict[Key, Change] = {}
    for key, before in captions.items():
        tags = [tag for tag in (part.strip() for part in before.split(",")) if tag]
        after = changed(tags)
        if after != tags:
            _note(changes, key, before, ", ".join(after))
    return changes


def _note(changes: dict[Key, Change], key: Key, before: str, after: str) -> None:
    if after != before:
        changes[key] = Change(before, after)
