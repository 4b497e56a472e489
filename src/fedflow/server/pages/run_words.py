"""A run in the reader's words: its state, why it waits and what will happen, what each participant does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean

from flask_babel import LazyString, gettext, lazy_gettext, lazy_pgettext, ngettext

from fedflow.federation.rounds import Phase, Status
from fedflow.plan import AGGREGATED, BASE
from fedflow.server.database.tables import Score
from fedflow.server.pages.faults import said
from fedflow.server.services.members import TakenPart
from fedflow.server.services.run_view import ENDED, ParticipantLine, RoundNode
from fedflow.server.services.standing import Awaited, Collecting, JobStanding, Standing
from fedflow.web import amounts
from fedflow.web.states import State

MOST_NAMES = 5

STATUS: dict[Status, tuple[State, LazyString]] = {
    Status.PREPARING: (State.RUNNING, lazy_gettext("Being prepared")),
    Status.RUNNING: (State.RUNNING, lazy_gettext("Running")),
    Status.PAUSED: (State.WAITING, lazy_gettext("Paused")),
    Status.FAILED: (State.FAILED, lazy_gettext("Failed")),
    Status.STOPPED: (State.REFUSED, lazy_gettext("Stopped")),
    Status.DONE: (State.DONE, lazy_gettext("Done")),
}

STUCK: tuple[State, LazyString] = (State.REFUSED, lazy_pgettext("a run", "Stuck"))
"""What a running run is shown as whose round cannot close by itself."""

CONSENTS: dict[str, LazyString] = {
    "asked": lazy_gettext("asked"),
    "accepted": lazy_gettext("consented"),
    "declined": lazy_gettext("declined"),
}
"""A member's answer to a run."""

PARTICIPANT: dict[str, tuple[State, LazyString]] = {
    "removed": (State.REFUSED, lazy_gettext("Removed")),
    "declined": (State.REFUSED, lazy_gettext("Declined")),
    "not joined": (State.WAITING, lazy_gettext("No machine yet")),
    "asked": (State.WAITING, lazy_gettext("Asked for consent")),
    "refused": (State.REFUSED, lazy_gettext("Update refused")),
    "answered": (State.DONE, lazy_gettext("Update accepted")),
    "sending": (State.RUNNING, lazy_gettext("Sending")),
    "training": (State.RUNNING, lazy_pgettext("what a member does", "Training")),
    "holds back": (State.WAITING, lazy_gettext("Not ready")),
    "waits": (State.WAITING, lazy_gettext("Waiting")),
}

OVER: dict[str, tuple[State, LazyString]] = {
    "asked": (State.WAITING, lazy_gettext("Did not answer")),
    "waits": (State.WAITING, lazy_gettext("No update in the last round")),
}
"""What a participant's state is called once its run is over, where it is called otherwise then."""

MODELS: dict[str, LazyString] = {BASE: lazy_gettext("Base"), AGGREGATED: lazy_gettext("Aggregated")}

DOING: dict[str, LazyString] = {
    "training": lazy_gettext("trains"),
    "another": lazy_gettext("trains for another run"),
    "consent": lazy_gettext("waits for its owner's consent to this round"),
    "hours": lazy_gettext("trains only at the hours its owner set"),
    "memory": lazy_gettext("not enough memory now"),
    "policy": lazy_gettext("its owner's policy no longer allows it"),
    "pictures": lazy_gettext("its pictures cannot be used as they are"),
    "failed": lazy_gettext("made no usable update in this round"),
    "refused": lazy_gettext("its update was refused"),
}

ROUND_STATE = {"done": State.DONE, "collecting": State.RUNNING, "aggregating": State.RUNNING, "to come": State.WAITING}

ACTIONS: dict[str, tuple[LazyString, LazyString]] = {
    "pause": (lazy_gettext("Pause run"), lazy_gettext("The run is paused.")),
    "resume": (lazy_gettext("Resume run"), lazy_gettext("The run continues.")),
    "stop": (lazy_gettext("Stop run"), lazy_gettext("The run is stopped.")),
    "close-round": (lazy_gettext("Close round now"), lazy_gettext("The round is closed.")),
}
"""What a coordinator does: the button's word, and what is said when it is done."""


def shown(status: Status, is_stuck: bool = False) -> tuple[State, LazyString]:
    """The state that a run's status is shown as, and its word."""
    return STUCK if is_stuck else STATUS[status]


def answer(part: TakenPart) -> LazyString:
    """What a member said to a run; one that is over waits for no answer any more."""
    if part.consent == "asked" and part.status in ENDED:
        return lazy_gettext("did not answer")
    return CONSENTS[part.consent]


def figure(value: float, digits: int) -> str:
    """A score with so many digits behind the sign, as the reader writes numbers, with a real minus sign."""
    rounded = round(value, digits) + 0.0  # not -0.0
    return amounts.decimal(rounded, f"#,##0.{'0' * digits}").replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float, digits: int) -> str:
    """From where to where a score may be; in words, as a dash between negative figures reads as one more minus."""
    return str(gettext("%(low)s to %(high)s", low=figure(low, digits), high=figure(high, digits)))


def whose(who: str) -> str:
    """Whose model figures are of: the base model's, the joint one's, or that of one member's update."""
    return str(MODELS.get(who, who))


def whose_all(names: Iterable[str]) -> str:
    """The same of several, in one line."""
    return ", ".join(map(whose, names))


def participant(row: ParticipantLine, status: Status) -> tuple[State, LazyString]:
    """What a participant does; once the run is over, nothing is asked of it or awaited from it any more."""
    if status in (Status.DONE, Status.STOPPED):
        return OVER.get(row.state, PARTICIPANT[row.state])
    return PARTICIPANT[row.state]


def measuring(count: int, nobody: bool, scores: Sequence[Score]) -> str:
    """How many models are still to be measured, and how long that takes if each takes as long as those of `scores`;
    why it does not go on where `nobody` is there to do it."""
    coming = ngettext("%(num)s model is still to be measured.", "%(num)s models are still to be measured.", count)
    if nobody:
        text = gettext("No evaluator is running. Whoever runs the server can start one with “fedflow server”.")
        return f"{coming} {text}"
    parts = [coming]
    if scores:
        left_s = count * mean(score.seconds for score in scores)
        parts.append(gettext("That is about %(time)s of work.", time=amounts.duration(left_s)))
    parts.append(gettext("Figures and pictures appear here one by one."))
    return " ".join(parts)


def no_charts(is_any_committed: bool, nobody: bool, status: Status) -> str:
    """Why no chart is there yet."""
    if not is_any_committed:
        if status is Status.STOPPED:
            return str(gettext("There are none: the run was stopped before its first round was committed."))
        return str(gettext("Charts appear when the first round is committed."))
    if nobody:
        return str(
            gettext(
                "No evaluator is running to draw them. Whoever runs the server can start one with “fedflow server”."
            )
        )
    return str(gettext("The charts are being drawn."))


def line(now: Standing) -> str:
    """How it is going, in one line under the title."""
    if now.status is not Status.DONE and now.round:
        return str(gettext("Round %(number)s of %(rounds)s", number=now.round, rounds=now.rounds))
    return str(ngettext("%(num)s round", "%(num)s rounds", now.rounds))


def why(now: Standing) -> str:  # noqa: PLR0911 - one for each state
    """Why it is not moving: for whom it waits, and what will happen when."""
    if now.status is Status.DONE:
        return str(ngettext("The round is committed.", "All %(num)s rounds are committed.", now.rounds))
    if now.status is Status.STOPPED:
        return _stopped(now)
    if now.status is Status.FAILED:
        return _failed(now)
    if now.status is Status.PREPARING:
        begins = gettext("The server reads the base model and makes the first adapter.")
        return f"{begins} {_job(now.job)}"
    if now.phase is Phase.AGGREGATING:
        closed = ngettext(
            "Round %(number)s was closed with %(num)s update.",
            "Round %(number)s was closed with %(num)s updates.",
            now.accepted,
            number=now.round,
        )
        return f"{closed} {_job(now.job)}"
    if now.collecting is None:
        text = gettext("Paused %(ago)s. No work is handed out until it is resumed.", ago=ago(now.since_s))
        return f"{text} {_there(now)}"
    return _collecting(now, now.collecting)


def _stopped(now: Standing) -> str:
    if now.round > 1:
        return str(gettext("Stopped in round %(number)s. Committed rounds are kept.", number=now.round))
    if now.round:
        return str(gettext("Stopped in the first round, so no round is committed."))
    return str(gettext("Stopped before the first round."))


def _failed(now: Standing) -> str:
    """Before the first round nothing is committed, and its plan or model is at fault, which no further try changes."""
    if not now.round:
        return str(
            gettext(
                "The run could not be prepared. %(reason)s If its plan or base model is at fault, start a new run; "
                "else resume this one.",
                reason=said(now.message),
            )
        )
    told = {"number": now.round, "reason": said(now.message)}
    if now.round == 1:
        text = gettext("Failed in round %(number)s. %(reason)s Fix the cause, then resume the run.", **told)
    else:
        text = gettext(
            "Failed in round %(number)s. %(reason)s Committed rounds are kept. Fix the cause, then resume the run.",
            **told,
        )
    return str(text)


def _collecting(now: Standing, round_: Collecting) -> str:
    if not now.waits:
        if round_.is_complete:
            closes = gettext("The round is about to close.")
            return f"{_there(now)} {closes}"
        wanted = ngettext(
            "Everybody asked has answered, but the round needs %(num)s update. Ask another member, or stop the run.",
            "Everybody asked has answered, but the round needs %(num)s updates. Ask another member, or stop the run.",
            round_.needed,
        )
        return f"{_there(now)} {wanted}"
    if now.is_stuck:
        why = f"{_whom(now.waits)} {cannot_close(round_.needed)}"
        return f"{_began(round_)} {_there(now)} {why} {_way_out(now, round_)}"
    left = amounts.duration(round_.left_s)
    if now.accepted >= round_.needed:
        then = gettext(
            "In %(left)s the round closes without them, as it has its quorum of %(needed)s.",
            left=left,
            needed=round_.needed,
        )
    else:
        then = ngettext(
            "The deadline is in %(left)s: with %(num)s update the round closes then, with none it waits %(more)s more.",
            "The deadline is in %(left)s: with %(num)s updates the round closes then, with fewer it waits "
            "%(more)s more.",
            round_.needed,
            left=left,
            more=amounts.duration(round_.deadline_s),
        )
    return f"{_began(round_)} {_there(now)} {_whom(now.waits)} {then}"


def cannot_close(needed: int) -> str:
    """That a round lacks updates that will not come by themselves."""
    return str(
        ngettext(
            "The round cannot close by itself: it needs %(num)s update, and none will come as it is.",
            "The round cannot close by itself: it needs %(num)s updates, and not enough will come as it is.",
            needed,
        )
    )


def lost(waits: Iterable[Awaited]) -> str:
    """Who will not answer in a round until somebody does something about it, and why."""
    return _named_all([each for each in waits if each.gives_up])


def _way_out(now: Standing, round_: Collecting) -> str:
    """What a coordinator can do about a round that cannot close by itself."""
    if round_.may_close:
        return str(gettext("Close it now with what is in, or stop the run and plan another one."))
    if now.may_go_without:
        return str(
            gettext("Remove from the federation whom the run is to go on without, or stop it and plan another one.")
        )
    if round_.declined:
        again = ", ".join(round_.declined[:MOST_NAMES])
        return str(gettext("Ask again who declined (%(names)s), or stop the run and plan another one.", names=again))
    return str(
        gettext(
            "Too few others are left to go on without them: stop the run, and plan another one that they can take "
            "part in."
        )
    )


def _began(round_: Collecting) -> str:
    return str(gettext("The round began %(ago)s.", ago=ago(round_.opened_s)))


def _there(now: Standing) -> str:
    return str(
        ngettext(
            "%(accepted)s of %(num)s update is in.",
            "%(accepted)s of %(num)s updates are in.",
            now.selected,
            accepted=now.accepted,
        )
    )


def _whom(waits: Sequence[Awaited]) -> str:
    return str(gettext("Waiting for %(names)s.", names=_named_all(waits)))


def _named_all(waits: Sequence[Awaited]) -> str:
    names = [_named(each) for each in waits[:MOST_NAMES]]
    more = len(waits) - len(names)
    if more:
        names.append(ngettext("%(num)s more", "%(num)s more", more))
    return ", ".join(names)


def _named(awaited: Awaited) -> str:  # noqa: PLR0911 - one for each state
    if awaited.seen_s is None:
        return str(gettext("%(name)s (no machine has joined yet)", name=awaited.member))
    if awaited.refused is not None:
        return f"{awaited.member} ({DOING['refused']})"
    if awaited.too_many is not None:
        count, most = awaited.too_many
        text = gettext(
            "%(name)s (has %(count)s pictures, more than its limit of %(most)s)",
            name=awaited.member,
            count=count,
            most=most,
        )
        return str(text)
    if awaited.sending is not None:
        return str(gettext("%(name)s (sending, %(done)s)", name=awaited.member, done=_so_far(*awaited.sending)))
    if awaited.is_offline:
        return _offline(awaited)
    if awaited.doing is not None:
        return f"{awaited.member} ({DOING[awaited.doing]})"
    if not awaited.has_consented:
        return str(gettext("%(name)s (asked for consent)", name=awaited.member))
    return str(gettext("%(name)s (last seen %(ago)s)", name=awaited.member, ago=ago(awaited.seen_s)))


def _offline(awaited: Awaited) -> str:
    last = ago(awaited.seen_s)
    if awaited.has_consented:
        return str(gettext("%(name)s (offline, last seen %(ago)s)", name=awaited.member, ago=last))
    return str(gettext("%(name)s (asked for consent, but offline, last seen %(ago)s)", name=awaited.member, ago=last))


def _job(job: JobStanding | None) -> str:
    if job is None or job.worker is None:
        text = gettext("A worker picks this up within a second; if none is running, an administrator has to start one.")
    elif job.died:
        text = gettext("The worker stopped. Another picks this up within seconds.")
    else:
        text = gettext("A worker is on it.")
    if job is not None and job.error:
        last = gettext("The last try failed. %(reason)s", reason=said(job.error))
        text = f"{text} {last}"
    return str(text)


def detail(participant: ParticipantLine) -> str:
    """What stands beside a participant's state."""
    if participant.doing is not None:
        return str(DOING[participant.doing])
    if participant.reason is not None:
        return said(participant.reason)
    if participant.of_bytes:
        return _so_far(participant.sent_bytes or 0, participant.of_bytes)
    return ""


def _so_far(done: int, whole: int) -> str:
    return str(gettext("%(done)s of %(whole)s", done=amounts.megabytes(done), whole=amounts.megabytes(whole)))


def node(round_: RoundNode, now: Standing) -> dict[str, object]:
    """A round for the line of rounds. The present one goes no further than its run does."""
    inside = {
        "collecting": gettext("%(accepted)s of %(selected)s", accepted=round_.accepted, selected=round_.selected),
        "aggregating": gettext("aggregating"),
    }
    told: dict[str, object] = {
        "number": round_.number,
        "state": ROUND_STATE[round_.state],
        "now": round_.number == now.round and round_.state != "done",
        "detail": inside.get(round_.state, ""),
    }
    if told["now"] and now.is_stuck:
        told["state"], told["word"] = STUCK
    is_held = now.status is Status.PAUSED and round_.state == "collecting"  # what is closed is aggregated all the same
    if told["now"] and (is_held or now.status in (Status.FAILED, Status.STOPPED)):
        told["state"], told["word"] = STATUS[now.status]
        told["detail"] = told["detail"] if is_held else ""
    return told


def ago(seconds: float | None) -> str:
    """How long ago something was."""
    if seconds is None:
        return str(gettext("at an unknown time"))
    return str(gettext("%(time)s ago", time=amounts.duration(seconds)))
