"""What happened in a federation: page by page, or as server-sent events."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from fedflow.federation.protocol import API
from fedflow.server.api import current
from fedflow.server.api.current import answer
from fedflow.server.api.messages import EventLine, EventPage, Events, FederationPath
from fedflow.server.api.problems import PROBLEMS
from fedflow.server.api.slots import TooManyAtOnce
from fedflow.server.database.tables import Event
from fedflow.server.errors import ApiError, Unavailable, Unprocessable
from fedflow.server.services import events, federations, identity, moments, policies, roles
from fedflow.server.services.identity import Caller
from fedflow.server.store import Store

blueprint = APIBlueprint(
    "events",
    __name__,
    url_prefix=API,
    abp_tags=[Tag(name="events")],
    abp_responses=PROBLEMS,
    abp_security=[{"bearer": []}],
)
STREAM = "text/event-stream"
POLL_S = 0.5
STREAM_S = 60.0  # then the reader asks again with Last-Event-ID, and its thread is free for a moment
QUIET_POLLS = 4  # a comment after so many polls without an event: only by writing is a reader missed who has left
RECONNECT_MS = 1000
MOST_IN_A_BATCH = 200
MOST_OF_A_CALLER = 6
"""Streams that one person may have open, in browsers and by tokens together: as many as a browser holds of a site."""


class Streams:
    """Counts the open streams of this process, in all and of each caller: each holds one of its threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def enter(self, caller: Caller, threads: int) -> Callable[[], None]:
        """One stream more of the caller, of at most half of the process's `threads`; what is returned takes it off.

        Raises TooManyAtOnce where the caller has as many as one may have, Unavailable where there are as many in all.
        """
        who, most = f"{caller.kind} {caller.id}", max(1, threads // 2)
        with self._lock:
            if self._open[who] >= MOST_OF_A_CALLER:
                raise TooManyAtOnce(
                    f"you have {MOST_OF_A_CALLER} event streams open, which is all that one person may have; "
                    "close one first, or ask for pages instead"
                )
            if self._open.total() >= most:
                raise Unavailable(f"{most} event streams are open, which is all there may be; ask for pages instead")
            self._open[who] += 1

        def leave() -> None:
            with self._lock:
                self._open[who] -= 1
                if not self._open[who]:
                    del self._open[who]

        return leave


STREAMS = Streams()


def streaming(chunks: Iterator[str]) -> Response:
    """Server-sent events as an answer, counted for as long as it is open. Raises as `Streams.enter` does."""
    leave = STREAMS.enter(current.caller(), current.settings().threads)
    response = Response(chunks, mimetype=STREAM)
    response.call_on_close(leave)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.get("/federations/<federation_id>/events", responses={200: Events})
def listed(path: FederationPath, query: EventPage) -> Response:
    """Events with numbers above 'after', oldest first; a stream of them with 'Accept: text/event-stream'."""
    store = current.store()
    federations.members(store, path.federation_id, limit=1)
    if request.accept_mimetypes.best_match(("application/json", STREAM)) == STREAM:
        return _streamed(store, path.federation_id, query.after)
    found = events.since(store, path.federation_id, query.after, query.limit)
    hides = policies.hides_examples(store, current.caller(), path.federation_id)
    items = tuple(_line(event, store.clock(), hides) for event in found)
    return answer(Events(items=items, next=items[-1].id if len(items) == query.limit else None))


def _streamed(store: Store, federation_id: str, after: int) -> Response:
    last = request.headers.get("Last-Event-ID")
    if last is not None:
        if not last.isdecimal() or len(last) > 18:
            raise Unprocessable(f"Last-Event-ID: {last[:40]!r} is no event's number")
        after = int(last)
    authorization = request.authorization
    token = (authorization.token if authorization else None) or ""
    return streaming(_stream(store, federation_id, after, token))


def _stream(store: Store, federation_id: str, after: int, token: str) -> Iterator[str]:
    """Events as they happen, until time is up, the token is revoked, or its person has no role there any more."""
    yield f"retry: {RECONNECT_MS}\n\n"
    ends = time.monotonic() + STREAM_S
    quiet = 0
    while time.monotonic() < ends:
        try:
            caller = identity.authenticate(store, token)
            hides = policies.hides_examples(store, caller, federation_id)
            if roles.role_in(store, caller, federation_id) is None:
                return
        except ApiError:
            return
        found = events.since(store, federation_id, after, MOST_IN_A_BATCH)
        for event in found:
            after = event.id
            told = _line(event, store.clock(), hides).model_dump_json()
            yield f"id: {event.id}\nevent: {event.kind}\ndata: {told}\n\n"
        quiet = 0 if found else quiet + 1
        if quiet == QUIET_POLLS:
            quiet = 0
            yield ": nothing new\n\n"
        if not found:
            time.sleep(POLL_S)


def _line(event: Event, now: float, hides: bool) -> EventLine:
    """The event; where `hides`, without the example count that some name."""
    facts = {name: value for name, value in event.facts.items() if not hides or name != "num_examples"}
    return EventLine(
        id=event.id,
        kind=event.kind,
        run=event.run_id,
        facts=facts,
        at=moments.iso(event.at),
        age_s=max(0.0, now - event.at),
    )
