"""The participant's app as its two real processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from network import SETTINGS, Start, Started, start_command, wait_for

SLOW_MS = 240_000
START_S = 120.0
CUT = "[object Event]"
"""What is said of the stream of a page that is left."""


@contextmanager
def app(
    folder: Path,
    start: Start = start_command,
    more: Sequence[str] = (),
    further: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[str, Started]]:
    """The app on `folder`, by itself started as a person starts it; gives its address and its process.

    `more` are options of the command, `further` variables of its environment.
    """
    log = folder.with_name(f"{folder.name}.log")
    log.unlink(missing_ok=True)
    words = ["client", "--folder", str(folder), "--port", "0", "--no-browser", *more]
    process = start(words, {**os.environ, **SETTINGS, **further}, log)
    try:
        told = wait_for(lambda: log.is_file() and re.search(r"open at (\S+);", log.read_text()), START_S, "the app")
        yield told[1], process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def worker_of(parent: int) -> int:
    """The process that draws and trains; where it was forked, it is the child of the app's only child."""
    while children := subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    ).stdout.split():
        [child] = children
        parent = int(child)
    return parent
