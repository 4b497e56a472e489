"""The folder that a command writes into: made before anything heavy starts, and gone again where nothing came of it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fedflow.errors import MistakeError


@contextlib.contextmanager
def out_folder(out: Path) -> Iterator[None]:
    """Make `out`, and on leaving take away again those folders made here that are empty.

    Raises:
        MistakeError: it cannot be made, is a file, or nothing may be written there.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        _make(out)
        yield
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MistakeError(f"{out}: cannot be made a folder ({error.strerror}); choose another --out") from None
    try:
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise MistakeError(f"{out}: cannot be written into ({error.strerror}); choose another --out") from None
