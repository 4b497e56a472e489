"""Writing a caption beside its picture."""

from __future__ import annotations

from pathlib import Path

from fedflow.datasets.captions import CAPTION_SUFFIXES
from fedflow.datasets.records import shown
from fedflow.errors import DatasetError
from fedflow.storage import write_atomic


def write_caption(picture: Path, caption: str) -> Path:
    """Put `caption`, one line, into the file that counts for `picture`, and give that file.

    It is the `.txt` beside the picture or, where there is none, the `.caption`; else a new `.txt`, which from then on
    counts more than what a `metadata.jsonl` says. Pictures of one folder that differ by their suffix alone share it.
    The old file or the new one is there at any moment. Raises StorageError where it cannot be written, DatasetError
    where the caption holds halves of characters.
    """
    target = caption_target(picture)
    try:
        text = f"{' '.join(caption.split())}\n".encode()
    except UnicodeEncodeError:
        raise DatasetError(f"{shown(picture)}: the caption holds half of a character; type it again") from None
    write_atomic(target, text)
    return target


def caption_target(picture: Path) -> Path:
    """The file that `write_caption` writes."""
    # Of `a.TXT` and `a.txt` the latter counts, so that only files in capitals need to be looked for by name.
    names = (picture.with_suffix(form) for suffix in CAPTION_SUFFIXES for form in (suffix, suffix.upper()))
    return next((name for name in names if name.is_file()), picture.with_suffix(CAPTION_SUFFIXES[0]))
