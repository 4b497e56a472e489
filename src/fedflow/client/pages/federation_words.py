"""Answers to runs, phases of rounds and what is sent, in the reader's words."""

from __future__ import annotations

from flask_babel import LazyString, gettext, lazy_gettext

from fedflow.client.database.tables import Consent
from fedflow.client.services import consents, memberships
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
}

SENT: dict[str, LazyString] = {
    memberships.UPDATE: lazy_gettext("Trained weights"),
    memberships.HAND_IN: lazy_gettext("Number of pictures, losses, times"),
    memberships.ANSWER: lazy_gettext("Answers to runs"),
    memberships.POLL: lazy_gettext("Questions for work"),
    memberships.SIGN_IN: lazy_gettext("Proofs of who this machine is"),
    memberships.ASKED_FOR: lazy_gettext("Requests for files"),
}

PHASES: dict[str, LazyString] = {
    "collecting": lazy_gettext("Being trained for"),
    "aggregating": lazy_gettext("Being joined"),
    "done": lazy_gettext("Joined"),
}


def standing(row: Consent) -> tuple[State, str]:
    """How a run stands for this machine's owner: how it ended where they took part, else what they answered."""
    if consents.is_over(row) and row.answer in {consents.ASKED, *consents.AGREED}:
        state, word = ENDED[row.facts["status"]]
        return state, str(word)
    number = consents.asks_for_round(row)
    if number is not None:
        return State.WAITING, str(gettext("Asks for your consent to round %(number)s", number=number))
    state, word = ANSWERS[row.answer]
    return state, str(word)
