"""A save that is stopped on its way, as a process of its own does it: what it runs must be found by its name."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fedflow.models import open_model, save_model


def saves_and_stops(model: Path, folder: Path, number: signal.Signals, rename: int) -> None:
    """Save a model again, and stop by this signal at the rename that has this number."""
    opened, left = open_model(str(model)), rename

    def watch(event: str, arguments: object) -> None:
        nonlocal left
        if event == "os.rename":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    sys.addaudithook(watch)
    try:
        save_model(opened, folder)
    except KeyboardInterrupt:
        sys.exit(130)
