"""How many of the threads one caller may hold for long: bytes that come or go at the other side's speed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response

from fedflow.server.errors import ApiError

MOST_OF_A_DEVICE = 4
"""Uploads and downloads of one device at once; FedFlow's own client makes one."""

PAGES = "the pages of the description"
MOST_PAGES = 4
"""What anybody may fetch without a token, and is too large for the network's buffers."""


class TooManyAtOnce(ApiError):  # noqa: N818 - what they are
    """The caller has as many transfers under way as it may have."""

    status = 429
    code = "too_many_at_once"


class Slots:
    """Counts what is under way, by who does it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def enter(self, who: str, most: int) -> Callable[[], None]:
        """Take a slot; what is returned gives it back, once however often it is called. Raises TooManyAtOnce."""
        with self._lock:
            if self._held[who] >= most:
                raise TooManyAtOnce(f"{most} transfers are under way already, which is all there may be; end one first")
            self._held[who] += 1
        held = True

        def leave() -> None:
            nonlocal held
            with self._lock:
                if held:
                    held = False
                    self._held[who] -= 1
                    if not self._held[who]:
                        del self._held[who]

        return leave

    @contextmanager
    def held(self, who: str, most: int) -> Iterator[None]:
        """A slot for as long as the context lasts. Raises TooManyAtOnce."""
        leave = self.enter(who, most)
        try:
            yield
        finally:
            leave()


TRANSFERS = Slots()


def until_sent(response: Response, leave: Callable[[], None]) -> Response:
    """Call `leave` when the response is sent or given up, whichever way the WSGI server takes its content."""
    sent: Any = response.response
    close = getattr(sent, "close", None)
    if close is None:
        response.call_on_close(leave)
        return response

    def both() -> None:
        try:
            close()
        finally:
            leave()

    sent.close = both  # a server that sends a file by itself closes the file alone
    return response
