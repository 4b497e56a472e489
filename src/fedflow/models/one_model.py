"""The one model that a worker keeps open from one job to the next: two would take twice the memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, cast

T = TypeVar("T")

_open: dict[Hashable, object] = {}


def kept_open(key: Hashable, make: Callable[[], T]) -> T:
    """What `make` gave for this key the last time, or gives now; what another key has opened is closed before."""
    if key not in _open:
        close()
        _open[key] = make()
    return cast(T, _open[key])


def close() -> None:
    """Keep nothing open."""
    _open.clear()
