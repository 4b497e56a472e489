"""Whether a training is still wanted, looked at from time to time while it lasts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from fedflow.errors import FedFlowError

LOOK_S = 15.0


class Unwanted(FedFlowError):  # noqa: N818 - what the training is
    """The training was ended before its last step; the message says why. Its last checkpoint stays."""


class Watch:
    """Asks `look` every LOOK_S in a thread of its own, so that training waits for no answer.

    `look` returns why the training is to end, or None; it must raise nothing.
    """

    def __init__(self, look: Callable[[], str | None]) -> None:
        self._look = look
        self._over = threading.Event()
        self._reason: str | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()  # an answer that is on its way is not waited for

    def check(self, _step: int, _steps: int, _loss: float) -> None:
        """What the training calls after each step. Raises Unwanted."""
        if self._reason is not None:
            raise Unwanted(self._reason)

    def _watch(self) -> None:
        while self._reason is None and not self._over.wait(LOOK_S):
            self._reason = self._look()
