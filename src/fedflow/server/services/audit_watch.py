"""What the last look at the whole audit log found, kept for a while: a long log takes seconds to look through."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from fedflow.server.services import audit
from fedflow.server.services.audit import Verified
from fedflow.server.store import Store

KEPT_S = 600.0


@dataclass(frozen=True)
class Looked:
    """What was found, and when."""

    found: Verified
    at: float


class Watch:
    """Looks through the log, one at a time, and not again while what it found is young."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: Looked | None = None

    def look(self, store: Store, *, anew: bool = False) -> Looked:
        """The last finding; a new one where there is none, it is older than KEPT_S, or `anew` is asked for."""
        asked_at = store.clock()
        with self._lock:
            last = self._last
            if last is None or asked_at - last.at >= KEPT_S or (anew and last.at <= asked_at):
                last = self._last = Looked(audit.verify(store), store.clock())
            return last
