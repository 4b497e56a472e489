"""How often one caller may ask: so many requests at once, and so many a minute after that.

Beside this an account waits after wrong passwords (services/sign_in), which no number of addresses gets around, and
what is slow is limited by how much of it is under way (api/slots).

Why not Flask-Limiter: what processes share of its counts stands in Redis or Memcached, which a server need not have; in
one process it keeps them as we do, and with a route's decorators there would be two places that say who may do what.
With several web processes each counts for itself.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app, request

from fedflow.server.errors import ApiError
from fedflow.server.services.networks import network

MOST_KNOWN = 20_000
"""Callers that are kept in mind; whoever was not heard of for the longest is forgotten first."""

EXTENSION = "fedflow.limits"


class TooOften(ApiError):  # noqa: N818 - what it is
    """The caller has asked too often, and may again after `retry_after_s`."""

    status = 429
    code = "too_often"

    def __init__(self, wait_s: float) -> None:
        self.retry_after_s = max(1, math.ceil(wait_s))
        super().__init__(f"too many requests came from you; wait {self.retry_after_s} seconds, and try again")


@dataclass(frozen=True)
class Allowance:
    """`at_once` requests, and `a_minute` after them; routes that have the same `of` share them."""

    of: str
    at_once: int
    a_minute: float


COMING_IN = Allowance("coming in", 300, 120)
"""Signing in, registering, links, the OpenID provider: of one address, behind which may be a whole organisation."""

JOINING = Allowance("joining", 1200, 1200)
"""A device's joining and its key's proof, of one address."""

WAITING = Allowance("waiting to be let in", 60, 60)
"""Devices of one address that begin to wait for a person who lets them in."""

LETTERS = Allowance("letters", 5, 5 / 60)
"""Letters to one address that somebody who is not signed in asks for."""

CALLS = Allowance("calls", 6000, 6000)
"""Everything that a device or a person asks for by a token or their browser."""

OF_AN_ADDRESS = {
    "devices.join": JOINING,
    "devices.challenge": JOINING,
    "devices.token": JOINING,
    "devices.begin_sign_in": WAITING,
    "devices.sign_in_state": JOINING,
    "pages.entry.signs_in": COMING_IN,
    "pages.entry.asks_for_link": COMING_IN,
    "pages.entry.registers": COMING_IN,
    "pages.entry.invitation": COMING_IN,
    "pages.entry.takes_up": COMING_IN,
    "pages.entry.sets_password": COMING_IN,
    "pages.provider.leaves": COMING_IN,
    "pages.provider.returns": COMING_IN,
}
"""What anybody may do without having proved who they are, and costs the server something, or could be guessed at."""


class Limits:
    """Who has how many requests left. Each is a bucket that fills by the clock; its whole state is when it is full."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def take(self, allowance: Allowance, who: str) -> None:
        """Count one request of `who`. Raises TooOften, which counts nothing, where none is left."""
        each_s = 60 / allowance.a_minute
        key = (allowance.of, who)
        with self._lock:
            now = self._clock()
            full_at = max(self._full_at.get(key, now), now) + each_s
            wait_s = full_at - now - allowance.at_once * each_s
            if wait_s > 1e-9:
                raise TooOften(wait_s)
            self._full_at[key] = full_at
            self._full_at.move_to_end(key)
            if len(self._full_at) > MOST_KNOWN:
                self._full_at.popitem(last=False)


def set_up(app: Flask) -> None:
    """Give the app its counts."""
    app.extensions[EXTENSION] = Limits()


def limits() -> Limits:
    """The app's counts."""
    found: Limits = current_app.extensions[EXTENSION]
    return found


def check_address() -> None:
    """Count a request of somebody who has not proved who they are. Raises TooOften."""
    allowance = OF_AN_ADDRESS.get(request.endpoint or "")
    if allowance is not None:
        limits().take(allowance, network(request.remote_addr or ""))
