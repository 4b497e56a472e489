"""Whether a drawing is still wanted, asked within its steps too: one of a large picture takes minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import OperationalError
from torch import nn

from fedflow.client.worker.main import Interrupted
from fedflow.models import BaseModel

EVERY_S = 0.5
PATIENCE_S = 10.0
"""How long a stop waits for a layer to end: the attention of a large picture is one operation of minutes."""


@contextmanager
def watched(model: BaseModel, wanted: Callable[[], str | None], give_up: Callable[[str], None]) -> Iterator[None]:
    """Have `wanted` asked while the UNet and the VAE work, not more often than a person can tell.

    What it gives ends the drawing: it raises Interrupted between two layers, and calls `give_up`, in a thread of its
    own, where none comes to its end.
    """
    asked_at = time.monotonic()

    def before(_layer: nn.Module, _inputs: object) -> None:
        nonlocal asked_at
        if time.monotonic() - asked_at >= EVERY_S:
            asked_at = time.monotonic()
            what = wanted()
            if what is not None:
                raise Interrupted(what)

    # Before convolutions alone: they stand all along the way, and every layer would cost small pictures some percent.
    layers = [layer for part in (model.unet, model.vae) for layer in part.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(before) for layer in layers]
    ended, deciding = threading.Event(), threading.Lock()
    threading.Thread(target=_watch, args=(wanted, give_up, ended, deciding), daemon=True).start()
    try:
        yield
    finally:
        with deciding:  # what has ended is not given up any more, and no other job for it
            ended.set()
        for hook in hooks:
            hook.remove()


def _watch(
    wanted: Callable[[], str | None], give_up: Callable[[str], None], ended: threading.Event, deciding: threading.Lock
) -> None:
    since: float | None = None
    while not ended.wait(EVERY_S):
        try:
            what = wanted()
        except OperationalError:  # a full disk, which the drawing tells itself
            continue
        if what is None:
            since = None
            continue
        since = time.monotonic() if since is None else since
        if time.monotonic() - since >= PATIENCE_S:
            with deciding:
                if not ended.is_set():
                    give_up(what)
            return
