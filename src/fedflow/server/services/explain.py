"""Why a run is not moving, in plain words: whom it waits for, since when, until when, and what happens then."""

from __future__ import annotations

from fedflow.federation.rounds import Phase, Status
from fedflow.server.services.standing import Awaited, Collecting, JobStanding, Standing, standing
from fedflow.server.store import Store

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400

DOING = {
    "training": "it trains",
    "another": "it trains for another run",
    "consent": "it waits for its owner's consent to this round",
    "hours": "its owner lets it train at other hours",
    "memory": "its machine lacks the memory now",
    "policy": "its owner's policy does not allow this run any more",
    "pictures": "its pictures cannot be used as they are now",
    "failed": "its training came to no usable update, and it goes without this round",
    "refused": "its update was refused",
}

_OVER = {
    Status.STOPPED: "Run '{now.name}' was stopped in round {now.round}; what was committed stays.",
    Status.FAILED: (
        "Run '{now.name}' failed in round {now.round}: {now.message}. What was committed stays; mend the cause and "
        "go on with 'fedflow run resume {now.run}'."
    ),
}


def explain(store: Store, run_id: str) -> str:
    """One paragraph. Raises NotFound where there is no such run."""
    now = standing(store, run_id)
    if now.status is Status.DONE:
        committed = "its round is" if now.round == 1 else f"all {now.round} rounds are"
        return f"Run '{now.name}' is done: {committed} committed."
    if now.status in _OVER:
        return _OVER[now.status].format(now=now)
    if now.status is Status.PREPARING:
        return f"Run '{now.name}' is being prepared. {_job(now.job)}"
    if now.phase is Phase.AGGREGATING:
        closed = f"Round {now.round} of {now.rounds} was closed with {_updates(now.accepted)}"
        return f"{closed} {_ago(now.since_s)}. {_job(now.job)}"
    if now.collecting is None:
        return (
            f"Run '{now.name}' was paused by its coordinator {_ago(now.since_s)}, in round {now.round}: "
            f"{_there(now)}{_whom(now)} Nothing is handed out until 'fedflow run resume {now.run}'."
        )
    return _collecting(now, now.collecting)


def _collecting(now: Standing, round_: Collecting) -> str:
    gone = ", ".join(f"{name} {'was removed' if removed else 'has declined'}" for name, removed in round_.gone)
    without = f" {gone}." if gone else ""
    head = f"Round {now.round} of {now.rounds} began {_ago(round_.opened_s)}; {_there(now)}{without}"
    if not now.waits and round_.is_complete:
        return f"{head} It is about to be closed."
    if not now.waits:
        return (
            f"{head} All have answered whom it asked, and it wants {round_.needed} updates; ask another member with "
            f"'fedflow run ask-again MEMBER', or 'fedflow run stop {now.run}'."
        )
    left = _span(round_.left_s)
    if now.accepted >= round_.needed:
        then = f"In {left} it closes without those who have not answered, as the quorum of {round_.needed} is there."
    elif now.is_stuck:
        then = f"It cannot close by itself: it needs {_updates(round_.needed)}.{_way_out(now, round_)}"
    else:
        then = (
            f"In {left} is its deadline: with {_updates(round_.needed)} it closes then, with fewer it waits "
            f"{_span(round_.deadline_s)} more.{_way_out(now, round_)}"
        )
    return f"{head}{_whom(now)} {then}"


def _way_out(now: Standing, round_: Collecting) -> str:
    """What to do where a round lacks updates, of members that will not answer in it before all."""
    if round_.may_close:
        return f" 'fedflow run close-round {now.run} --round {now.round}' closes it now."
    ways = []
    if now.may_go_without:
        ways.append(f"let the run go on without it by 'fedflow server remove {now.lost[0]}'")
    if now.is_stuck:
        ways += [f"ask {name} again by 'fedflow run ask-again {name}'" for name in round_.declined]
        ways.append(f"stop the run by 'fedflow run stop {now.run}'")
    by_itself = f" {now.lost[0]} will not answer in this round by itself: talk to its owner" if now.lost else ""
    return f"{', or '.join([by_itself, *ways])}." if by_itself else ""


def _there(now: Standing) -> str:
    return f"{now.accepted} of {now.selected} updates are in."


def _whom(now: Standing) -> str:
    waits = ", ".join(f"{each.member} ({_known(each)})" for each in now.waits)
    return f" It waits for {waits}." if waits else ""


def _known(awaited: Awaited) -> str:  # noqa: PLR0911 - one for each state
    if awaited.seen_s is None:
        return "no device has joined yet"
    last = f"last seen {_ago(awaited.seen_s)}"
    if awaited.refused is not None:
        return f"{last}; its update was refused: {awaited.refused}"
    if awaited.too_many is not None:
        count, most = awaited.too_many
        return (
            f"{last}; it has {count} pictures and may train on {most}: allow it more on the federation's page, or by "
            f"'fedflow server code {awaited.member} --max-examples {count}' and joining anew"
        )
    if awaited.sending is not None:
        done, whole = awaited.sending
        return f"{last}; it is sending its update, {done:,} of {whole:,} bytes are here"
    if awaited.is_offline:
        return f"offline, {last}" if awaited.has_consented else f"asked for consent, but offline, {last}"
    if awaited.doing is not None:
        return f"{last}; {DOING[awaited.doing]}"
    return last if awaited.has_consented else f"asked for consent, {last}"


def _job(job: JobStanding | None) -> str:
    if job is None:
        return "A worker takes it up next."
    trouble = f" The last attempt failed: {job.error}." if job.error else ""
    if job.worker is None:
        return f"It waits for a worker; if none runs, start one with 'fedflow server worker'.{trouble}"
    if job.died:
        return f"Worker {job.worker} died at it; another takes it up within seconds, if one runs.{trouble}"
    return f"Worker {job.worker} is at it, attempt {job.attempts}.{trouble}"


def _ago(seconds: float | None) -> str:
    return "at an unknown time" if seconds is None else f"{_span(seconds)} ago"


def _updates(count: int) -> str:
    return "1 update" if count == 1 else f"{count} updates"


def _span(seconds: float) -> str:
    for unit_s, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds:.0f} s"
