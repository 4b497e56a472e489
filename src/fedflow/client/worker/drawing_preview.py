"""A small picture of what is being drawn, written beside the work at little cost."""

from __future__ import annotations

import io
import math
import time
from pathlib import Path
from types import TracebackType

from PIL import Image
from torch import Tensor

from fedflow.models import BaseModel, decode_small
from fedflow.storage import write_atomic

EVERY_S = 1.0
SHARE = 0.05
"""Of the time since the last one: what it takes to make one is measured, and that much longer is waited."""

MOST_CELLS = 32


class Preview:
    """The file at `path` while a job draws; it goes when the job ends, however that is."""

    def __init__(self, path: Path, model: BaseModel) -> None:
        self.path = path
        self.model = model
        self._cost_s: float | None = None
        self._step_s = math.inf
        self._made_at = self._looked_at = time.monotonic()

    def __enter__(self) -> Preview:
        self.path.parent.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.path.unlink(missing_ok=True)

    def begin(self) -> None:
        """The next picture begins."""
        self._looked_at = time.monotonic()

    def look(self, latents_NCHW: Tensor) -> None:
        """Show what the first of the pictures becomes, where it is time to."""
        now = time.monotonic()
        if now - self._made_at < max(EVERY_S, self._cost(latents_NCHW, now) / SHARE):
            self._looked_at = now
            return
        buffer = io.BytesIO()
        Image.fromarray(decode_small(self.model, latents_NCHW[0], MOST_CELLS)).save(buffer, "PNG", compress_level=1)
        write_atomic(self.path, buffer.getvalue())
        self._made_at = self._looked_at = time.monotonic()
        self._cost_s = self._made_at - now

    def _cost(self, latents_NCHW: Tensor, now: float) -> float:
        """What the last one took; before the first what a step takes of one of the pictures, of as many cells: to
        decode them takes less. The quickest step counts, as the first one opens what all others find open."""
        if self._cost_s is not None:
            return self._cost_s
        self._step_s = min(self._step_s, now - self._looked_at)
        pictures, _, height, width = latents_NCHW.shape
        return self._step_s / pictures * min(1.0, MOST_CELLS / max(height, width)) ** 2
