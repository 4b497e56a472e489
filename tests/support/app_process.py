"""The participant's app as its two real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLOW_MS = 240_000
CUT = "[object Event]"
"""What is said of the stream of a page that is left."""


@contextmanager
def app(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The app on `folder`, started as a person starts it; gives its address and its process."""
    words = [sys.executable, "-m", "fedflow", "client", "--folder", str(folder), "--port", "0", "--no-browser"]
    settings = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=settings) as process:
        try:
            assert process.stdout is not None
            told = process.stdout.readline()
            yield told.split()[4].removesuffix(";"), process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def worker_of(parent: int) -> int:
    """The process that draws and trains."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=True)
    [child] = listed.stdout.split()
    return int(child)
