"""Captions of pictures: same-stem `.txt` or `.caption` files, or `metadata.jsonl`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fedflow.datasets.records import Problem, shown

CAPTION_SUFFIXES = (".txt", ".caption")  # the first that is there counts
METADATA_NAME = "metadata.jsonl"
TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Signs that nobody sees, and that turn the direction of what follows: 'evil' is read as 'live' behind U+202E."""


class CaptionError(Exception):
    """Why a picture has no caption: the file to look at, and one line."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.problem = Problem(path, reason)


def caption_tags(caption: str) -> list[str]:
    """The comma-separated tags of `caption`, each once, in their order."""
    return list(dict.fromkeys(tag for tag in (part.strip() for part in caption.split(",")) if tag))


def in_sight(text: str) -> str:
    """A caption or tag to be read: with a mark for each sign that would turn its direction unseen."""
    return TURNS.sub("\N{REPLACEMENT CHARACTER}", text)


def with_trigger(caption: str, trigger: str) -> str:
    """`caption` with `trigger` as its first tag; unchanged where it is that already."""
    tags = caption_tags(caption)
    if tags[:1] == [trigger]:
        return caption
    return ", ".join([trigger, *(tag for tag in tags if tag != trigger)])


def caption_file_of(picture: Path, files: dict[Path, dict[str, Path]]) -> Path | None:
    """The file beside `picture` whose text counts; None where there is none. `files` is as for `caption_of`."""
    beside = files.get(picture.with_suffix(""), {})
    return next((beside[suffix] for suffix in CAPTION_SUFFIXES if suffix in beside), None)


def caption_of(picture: Path, files: dict[Path, dict[str, Path]], metadata: dict[Path, tuple[Path, str]]) -> str:
    """The caption of `picture` in one line.

    `files` maps a picture's path without its suffix to its caption files by suffix; `metadata` maps a
    picture's path to the metadata file that names it and the text there. Raises CaptionError.
    """
    beside = caption_file_of(picture, files)
    if beside is not None:
        return _one_line(_text(beside), beside, "write the picture's tags into it")
    if picture in metadata:
        source, text = metadata[picture]
        return _one_line(text, source, f"fill in 'text' of {shown(Path(picture.name))}")
    raise CaptionError(
        picture, f"has no caption; write its tags into {shown(Path(picture.stem + '.txt'))} in the same folder"
    )


def read_metadata(path: Path) -> tuple[dict[Path, tuple[Path, str]], list[Problem]]:
    """Texts by picture path of a `metadata.jsonl` (lines with `file_name` and `text`), and what is wrong in it."""
    texts: dict[Path, tuple[Path, str]] = {}
    problems: list[Problem] = []
    try:
        lines = _text(path).split("\n")
    except CaptionError as error:
        return {}, [error.problem]
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, text = row["file_name"], row["text"]
            if not isinstance(text, str):
                raise TypeError
            texts[path.parent / name] = (path, text)
        except (ValueError, TypeError, KeyError, RecursionError):
            problems.append(Problem(path, f"line {number} is not JSON with 'file_name' and 'text'; repair the line"))
    return texts, problems


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start}); save it as UTF-8"
        raise CaptionError(path, reason) from error
    except OSError as error:
        raise CaptionError(path, f"cannot be read ({error.strerror}); check its permission and the disk") from error


def _one_line(text: str, path: Path, way_out: str) -> str:
    caption = " ".join(text.split())
    if not caption_tags(caption):
        raise CaptionError(path, f"the caption is empty; {way_out}")
    return caption
