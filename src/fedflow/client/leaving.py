"""What a request takes away from this machine: where to, how many bytes, and for which run and round."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from fedflow.federation.protocol import API, Told

OF_RUN = re.compile(rf"{API}/runs/([^/]+)(?:/rounds/(\d+)/|/|$)")

About = tuple[str | None, int | None]
"""A run, and one of its rounds; None where it is of none."""

NOTHING: About = (None, None)

TakeBack = Callable[[], object]
"""Takes back what was told of a request that then never went."""


@dataclass(frozen=True)
class Leaving:
    """A request before it goes: its method, the path of its address, and its bytes, encryption apart.

    `run` and `round` are what it belongs to, None where it belongs to none.
    """

    method: str
    path: str
    size_bytes: int
    run: str | None = None
    round: int | None = None


class TellingClient(httpx.Client):
    """Tells each request before it goes, so that none goes untold, and takes back one that no connection was made for.

    A request that was cut off, or answered by nobody, may have gone, and stays told.
    """

    def __init__(self, tell: Callable[[httpx.Request], TakeBack], **settings: Any) -> None:
        super().__init__(event_hooks={"request": [self._tell]}, **settings)
        self._told = tell
        self._take_back: TakeBack = lambda: None

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As httpx does; with the requests for a token, of which the one told last is the one that fails."""
        try:
            return super().send(request, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            self._take_back()
            raise

    def _tell(self, request: httpx.Request) -> None:
        self._take_back = self._told(request)


def leaving(request: httpx.Request, about: About) -> Leaving:
    """What `request` takes away; it is `about` this run and round where neither address nor question name one."""
    head = sum(len(name) + len(value) + 4 for name, value in request.headers.raw)
    body = int(request.headers.get("Content-Length", "0"))
    size_bytes = len(request.url.raw_path) + head + body
    return Leaving(request.method, request.url.path, size_bytes, *(_named(request.url) or about))


def _named(url: httpx.URL) -> About | None:
    """The run and round that the address names, or all that the question for work tells of; None where neither does."""
    found = OF_RUN.search(url.path)
    if found is not None:
        return found[1], None if found[2] is None else int(found[2])
    told = [Told.of(text) for text in url.params.get_list("doing")]
    runs, rounds = {each.run for each in told}, {each.round for each in told}
    if len(runs) != 1:
        return None
    return runs.pop(), rounds.pop() if len(rounds) == 1 else None
