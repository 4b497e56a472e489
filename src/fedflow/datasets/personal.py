"""What in a caption says who somebody is: e-mail addresses, telephone numbers, names from the owner's list."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import phonenumbers

from fedflow.datasets.records import shown
from fedflow.errors import DatasetError

REGIONS = ("UA", "US", "GB", "DE", "FR")
"""Whose national numbers are known as such; numbers with + and a country's code are found from everywhere."""
FEWEST_DIGITS = 7
EMAIL = re.compile(r"[\w.+%'-]*[\w+%]@(?:[\w-]+\.)+(?P<end>[^\W\d_]{2,24})\b")
FILE_ENDINGS = frozenset("png jpg jpeg webp gif bmp tif tiff txt svg".split())
"""`icon@2x.png` is a file's name."""
DATE = re.compile(
    r"(?<![\d./-])(?:\d{1,2}([./-])\d{1,2}\1(?:19|20)?\d\d|(?:19|20)\d\d([./-])\d{1,2}\2\d{1,2})(?![./-]?\d)"
)
"""Three parts and no fourth: French telephone numbers have dots, too."""
WORD = re.compile(r"[^\W_]+")


class Kind(StrEnum):
    """What was found."""

    EMAIL = "e-mail address"
    TELEPHONE = "telephone number"
    NAME = "name"


@dataclass(frozen=True)
class Found:
    """`text` stands in the caption from letter `start` up to `end`."""

    kind: Kind
    text: str
    start: int
    end: int


class Names:
    """Names of people as an owner lists them; found whatever their case, and whether spaces, `_` or `-` part them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_first: dict[str, list[tuple[str, ...]]] = {}
        for name in names:
            words = tuple(_folded(word) for word in WORD.findall(unicodedata.normalize("NFC", name)))
            if words:
                self._by_first.setdefault(words[0], []).append(words)
        for same in self._by_first.values():
            same.sort(key=len, reverse=True)  # 'anna maria' before 'anna'

    def find(self, caption: str) -> list[Found]:
        """Where the names stand, the longest first where one begins another."""
        matches = list(WORD.finditer(caption))
        words = [_folded(match.group()) for match in matches]
        found: list[Found] = []
        for place, word in enumerate(words):
            for name in self._by_first.get(word, ()):
                if tuple(words[place : place + len(name)]) == name and _together(caption, matches, place, len(name)):
                    start, end = matches[place].start(), matches[place + len(name) - 1].end()
                    found.append(Found(Kind.NAME, caption[start:end], start, end))
                    break
        return found


def read_names(path: Path) -> Names:
    """The names of a UTF-8 file, one a line; empty lines and those that begin with # do not count.

    Raises DatasetError where it cannot be read.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DatasetError(f"{shown(path)}: is not UTF-8; save the list of names as UTF-8") from None
    except OSError as error:
        raise DatasetError(f"{shown(path)}: cannot be read ({error.strerror}); check the path") from None
    return Names(line for line in lines if not line.lstrip().startswith("#"))


def personal_data(caption: str, names: Names | None = None, regions: Sequence[str] = REGIONS) -> list[Found]:
    """What of the three kinds stands in `caption`, from left to right.

    `regions` are two-letter codes of countries whose numbers are known without the country's code too.
    """
    found = [] if names is None else names.find(caption)
    found += _emails(caption)
    found += _telephones(caption, regions)
    return sorted(found, key=lambda each: (each.start, -each.end))


def known_region(region: str) -> str:
    """`region` in capitals. Raises DatasetError where it is no country's code."""
    code = region.strip().upper()
    if code not in phonenumbers.SUPPORTED_REGIONS:
        raise DatasetError(f"'{region}': is no country's code; give two letters such as UA or DE")
    return code


def _emails(caption: str) -> list[Found]:
    return [
        Found(Kind.EMAIL, match.group(), match.start(), match.end())
        for match in (EMAIL.finditer(caption) if "@" in caption else ())
        if match["end"].lower() not in FILE_ENDINGS
    ]


def _telephones(caption: str, regions: Sequence[str]) -> list[Found]:
    if sum(map(str.isdigit, caption)) < FEWEST_DIGITS:
        return []
    found: dict[tuple[int, int], Found] = {}
    from_everywhere: Sequence[str | None] = (None,)
    for region in regions or from_everywhere:
        # Grouped as numbers of that country are: what merely has the right count of digits is a seed or a size.
        for match in phonenumbers.PhoneNumberMatcher(caption, region, leniency=phonenumbers.Leniency.STRICT_GROUPING):
            bare = match.raw_string.isdigit() and not match.raw_string.startswith("0")
            overlaps = any(start < match.end and match.start < end for start, end in found)
            if not bare and not overlaps and not DATE.search(match.raw_string):
                found[match.start, match.end] = Found(Kind.TELEPHONE, match.raw_string, match.start, match.end)
    return list(found.values())


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word).casefold()


def _together(caption: str, matches: list[re.Match[str]], place: int, count: int) -> bool:
    """Whether nothing but space, `_`, `-`, a dot or an apostrophe parts the words: two tags are no name."""
    return all(
        re.fullmatch(r"[\s_.'\u2019-]{1,3}", caption[matches[i].end() : matches[i + 1].start()])
        for i in range(place, place + count - 1)
    )
