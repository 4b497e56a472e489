"""Answers to runs, phases of rounds and what is sent, in the reader's words."""

from __future__ import annotations

from collections.abc import Iterable

from flask_babel import LazyString, gettext, lazy_gettext

from fedflow.client.database.tables import Consent, Job, Membership
from fedflow.client.pages.faults import said
from fedflow.client.pages.job_words import STATUS
from fedflow.client.services import consents, jobs, sendings
from fedflow.web import amounts
from fedflow.web.states import State

ANSWERS: dict[str, tuple[State, LazyString]] = {
    consents.ASKED: (State.WAITING, lazy_gettext("Asks for your consent")),
    consents.RUN: (State.DONE, lazy_gettext("Agreed to the run")),
    consents.ROUND: (State.DONE, lazy_gettext("Agreed round by round")),
    consents.ALWAYS: (State.DONE, lazy_gettext("Agreed by your limits")),
    consents.DECLINED: (State.REFUSED, lazy_gettext("Declined")),
    consents.WITHDRAWN: (State.REFUSED, lazy_gettext("Withdrawn")),
    consents.REFUSED: (State.REFUSED, lazy_gettext("Declined by your limits")),
}

ENDED: dict[str, tuple[State, LazyString]] = {
    "done": (State.DONE, lazy_gettext("Done")),
    "stopped": (State.REFUSED, lazy_gettext("Stopped")),
    consents.FAILED: (State.FAILED, lazy_gettext("Failed")),
}

SENT: dict[str, LazyString] = {
    sendings.UPDATE: lazy_gettext("Trained weights"),
    sendings.HAND_IN: lazy_gettext("Number of pictures, losses, times"),
    sendings.ANSWER: lazy_gettext("Answers to runs"),
    sendings.POLL: lazy_gettext("Questions for work"),
    sendings.SIGN_IN: lazy_gettext("Proofs of who this machine is"),
    sendings.ASKED_FOR: lazy_gettext("Requests for files"),
}

TO_COME = lazy_gettext("To come")

PHASES: dict[str, LazyString] = {
    "collecting": lazy_gettext("Being trained for"),
    "aggregating": lazy_gettext("Being joined"),
    "done": lazy_gettext("Joined"),
}


def standing(row: Consent) -> tuple[State, str]:
    """How a run stands for this machine's owner: how it ended where they took part, else what they answered."""
    if consents.went_without(row):
        return State.WAITING, str(gettext("Ended without this machine"))
    if row.facts["status"] in ENDED and row.answer in {consents.ASKED, *consents.AGREED}:
        state, word = ENDED[row.facts["status"]]
        return state, str(word)
    number = consents.asks_for_round(row)
    if number is not None:
        return State.WAITING, str(gettext("Asks for your consent to round %(number)s", number=number))
    state, word = ANSWERS[row.answer]
    return state, str(word)


def agreed_round(asked: Consent) -> str:
    """To which round its owner has agreed last, of a run that they agree to round by round."""
    agreed = [each for each in asked.rounds if type(each) is int]
    if consents.NEXT in asked.rounds or not agreed:
        return str(gettext("You have agreed to the next round."))
    return str(gettext("You have agreed to round %(number)s.", number=max(agreed)))


def taking_part(row: Membership, asks: bool) -> tuple[State, str]:
    """Whether this machine takes part in a federation, and what for it waits where it does not go on by itself."""
    if row.removed_at is not None:
        return State.REFUSED, str(gettext("Removed"))
    if row.is_paused:
        return State.WAITING, str(gettext("Paused"))
    if asks:
        return State.WAITING, str(gettext("Asks for your consent"))
    if row.is_held_up:
        return State.WAITING, str(gettext("Held up"))
    return State.RUNNING, str(gettext("Taking part"))


def heard(row: Membership, runs: Iterable[Consent]) -> str:
    """What the participant of a federation said last, unless that is of a run that has ended."""
    ended = {each.run_id for each in runs if each.membership_id == row.id and consents.is_over(each)}
    return "" if row.is_paused or row.said_run in ended else row.said


def heard_of(row: Membership, asked: Consent) -> str:
    """The same for a run's page: what is of this run, or of nothing that goes on for any."""
    is_of_it = row.said_run == asked.run_id or (row.said_run is None and row.is_held_up)
    return heard(row, [asked]) if is_of_it and asked.answer in {consents.ASKED, *consents.AGREED} else ""


def trained(job: Job, asked: Consent, is_last: bool) -> tuple[State, str]:
    """How a round's training stands, and whether the server has what it made."""
    if job.status == jobs.DONE and "is_taken" in job.asked:
        if job.asked["is_taken"]:
            return State.DONE, str(gettext("Trained and sent"))
        return State.REFUSED, str(gettext("Refused by the server"))
    if job.status == jobs.DONE:
        awaits = asked.answer in consents.AGREED and not consents.is_over(asked)
        if is_last and awaits and job.asked["round"] == asked.facts["round"]:
            return State.WAITING, str(gettext("Trained, not sent yet"))
        return State.DONE, str(gettext("Trained"))
    state, word = STATUS[job.status]
    return state, str(word)


def line_of_rounds(asked: Consent, trainings: list[Job]) -> list[dict[str, object]]:
    """The rounds of a run that this machine takes part in, for the line of rounds; none where it takes none."""
    takes_part = consents.asks_for_round(asked) is not None or asked.answer in consents.AGREED
    present, status = asked.facts["round"], asked.facts["status"]
    if not takes_part or not present:
        return []
    nodes: list[dict[str, object]] = []
    for number in range(1, asked.facts["rounds"] + 1):
        state, word = (State.DONE, PHASES["done"]) if number < present else (State.WAITING, TO_COME)
        node: dict[str, object] = {"number": number, "state": state, "word": str(word)}
        if number == present:
            node |= _present(asked, [job for job in trainings if job.asked["round"] == number])
        nodes.append(node)
    return nodes if status != "done" else [{**node, "state": State.DONE, "word": str(PHASES["done"])} for node in nodes]


def _present(asked: Consent, trainings: list[Job]) -> dict[str, object]:
    """The node of the round under way: how it stands on this machine."""
    if asked.facts["status"] in ENDED:
        state, word = ENDED[asked.facts["status"]]
        return {"state": state, "word": str(word)}
    if asked.answer == consents.ASKED:
        return {"state": State.WAITING, "word": str(ANSWERS[asked.answer][1]), "now": True}
    if not trainings:
        return {"state": State.RUNNING, "word": str(PHASES["collecting"]), "now": True}
    state, told = trained(trainings[-1], asked, is_last=True)
    return {"state": State.RUNNING if state is State.DONE else state, "word": told, "now": True, "detail": told}


def stands(row: Membership, asked: Consent) -> str:
    """For whom or what a run waits, as far as this machine knows; empty where it has ended or goes on without it."""
    if consents.is_over(asked) or asked.answer not in {consents.ASKED, *consents.AGREED}:
        return ""
    if consents.has_failed(asked):
        return str(gettext("The run has failed. Nothing is asked of you unless its coordinator resumes it."))
    if row.is_paused:
        return str(gettext("You have paused this federation: the run waits for you, or its rounds close without you."))
    number = consents.asks_for_round(asked)
    if number is not None:
        return str(
            gettext("Round %(number)s waits for your answer; until then nothing is trained for it here.", number=number)
        )
    if asked.answer == consents.ASKED:
        return str(gettext("It waits for your answer; until then nothing is trained for it here."))
    told = heard_of(row, asked)
    return said(told) if told else str(gettext("You take part; the server is asked what is to be done next."))


def decimals(value: float, count: int) -> str:
    """A measured figure with so many decimals, in the reader's language."""
    return amounts.decimal(value, f"#,##0.{'0' * count}").replace("-", "\N{MINUS SIGN}")
