"""The owner's answers to runs: for a run, for single rounds, or always within limits; and withdrawn."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import select

from fedflow.client.database.tables import Consent, Membership
from fedflow.client.services import memberships
from fedflow.client.store import Store
from fedflow.errors import MistakeError
from fedflow.federation.protocol import RunFacts

ASKED, RUN, ROUND, ALWAYS, DECLINED, WITHDRAWN, REFUSED = (
    "asked", "run", "round", "always", "declined", "withdrawn", "refused",
)  # fmt: skip
"""`round` agrees to one round at a time, and is `asked` again as the next one begins; `always` came of the owner's
limits, and `refused` too."""

AGREED = frozenset({RUN, ROUND, ALWAYS})
REFUSED_BY_HAND = frozenset({DECLINED, WITHDRAWN})
OVER = frozenset({"done", "stopped"})
FAILED = "failed"
NEXT = "next"
"""Among the rounds of a consent: one more, whichever comes."""

TOLD = "told"
"""Among them where the answer is a no: the server knows it; where it asks again, the owner is asked again."""

AGAIN = "again"
"""Among them where the owner had said no: they alone may say otherwise, whatever their limits allow."""


def ask(store: Store, membership_id: str, facts: RunFacts, pictures: int) -> Consent:
    """What the owner says of a run; asked where it is new, or other than what was agreed to."""
    told = facts.model_dump(mode="json")
    with store.begin() as session:
        row = session.get(Consent, (membership_id, facts.id))
        if row is None:
            row = Consent(membership_id=membership_id, run_id=facts.id, answer=ASKED, rounds=[], asked_at=store.clock())
            row.facts, row.pictures, row.answered_at = told, pictures, None
            session.add(row)
        elif TOLD in row.rounds or (row.answer in AGREED and _of(row.facts) != _of(told)):
            again = [AGAIN] if AGAIN in row.rounds or row.answer in REFUSED_BY_HAND else []
            row.answer, row.rounds, row.asked_at, row.answered_at = ASKED, again, store.clock(), None
        row.facts, row.pictures = told, pictures
        session.flush()
        session.expunge(row)
        return row


def note_told(store: Store, membership_id: str, run_id: str) -> None:
    """The server has been told a no."""
    with store.begin() as session:
        row = session.get(Consent, (membership_id, run_id))
        if row is not None and TOLD not in row.rounds:
            row.rounds = [*row.rounds, TOLD]


def untold(store: Store, membership_id: str) -> list[str]:
    """Runs that may still go on, to which the owner has said a no that the server does not know of."""
    rows = listed(store, membership_id)
    return [row.run_id for row in rows if row.answer in REFUSED_BY_HAND and TOLD not in row.rounds and not is_over(row)]


def see(store: Store, membership_id: str, facts: RunFacts) -> None:
    """Keep how far the server says a run is, where the owner was asked for it, and it is still what they were told."""
    told = facts.model_dump(mode="json")
    with store.begin() as session:
        row = session.get(Consent, (membership_id, facts.id))
        if row is not None and _of(row.facts) == _of(told):
            row.facts = told


def answer(store: Store, membership_id: str, run_id: str, said: str) -> None:
    """Say yes for the run, yes for one more round, yes always within limits, or no. Raises MistakeError for no run.

    A no to a further round is one to all that come.
    """
    with store.begin() as session:
        row = session.get(Consent, (membership_id, run_id))
        if row is None or said not in (RUN, ROUND, ALWAYS, DECLINED):
            raise MistakeError("this run does not ask any more")
        asked, more = row.answer == ASKED, [NEXT] if said == ROUND else []
        row.rounds = [each for each in row.rounds if each not in (NEXT, TOLD, AGAIN)] + more
        row.answer, row.answered_at = said, store.clock()
    if asked:
        memberships.unsay(store, membership_id, run_id)
    if said == DECLINED:
        _take_back(store, membership_id, run_id)


def settle(store: Store, membership_id: str, run_id: str, said: str) -> bool:
    """Note the answer that the owner's limits gave, unless the owner has answered: a yes only where nobody has.

    Whether it counts.
    """
    with store.begin() as session:
        row = session.get_one(Consent, (membership_id, run_id))
        if row.answer in REFUSED_BY_HAND or (said in AGREED and (row.answer != ASKED or AGAIN in row.rounds)):
            return False
        row.answer, row.answered_at = said, store.clock()
        return True


def withdraw(store: Store, membership_id: str, run_id: str) -> None:
    """Take part in a run no more; a training for it ends at its next step. What was sent stays with the server."""
    with store.begin() as session:
        row = session.get(Consent, (membership_id, run_id))
        if row is None or row.answer not in AGREED:
            raise MistakeError("there is no consent to withdraw")
        row.answer, row.rounds, row.answered_at = WITHDRAWN, [], store.clock()
    memberships.unsay(store, membership_id, run_id)
    _take_back(store, membership_id, run_id)


def may_train(store: Store, membership_id: str, run_id: str, number: int) -> bool:
    """Whether the owner's answer covers a round. Where it covers single rounds and not this one, it is asked again."""
    with store.begin() as session:
        row = session.get(Consent, (membership_id, run_id))
        if row is None or row.answer not in AGREED:
            return False
        if row.answer != ROUND or number in row.rounds or NEXT in row.rounds:
            return True
        row.answer, row.asked_at, row.answered_at = ASKED, store.clock(), None
        return False


def take_up(store: Store, membership_id: str, run_id: str, number: int) -> bool:
    """A round begins: whether the owner's answer covers it. One for whichever comes next is used up by it."""
    with store.begin() as session:
        row = session.get(Consent, (membership_id, run_id))
        if row is None or row.answer not in AGREED:
            return False
        if row.answer != ROUND or number in row.rounds:
            return True
        if NEXT not in row.rounds:
            return False
        row.rounds = [*(each for each in row.rounds if each != NEXT), number]
        return True


def one(store: Store, membership_id: str, run_id: str) -> Consent | None:
    """The owner's answer to a run; None where it never asked."""
    with store.read() as session:
        return session.get(Consent, (membership_id, run_id))


def listed(store: Store, membership_id: str | None = None) -> list[Consent]:
    """All runs that asked, newest first, without those of federations that were left."""
    query = select(Consent).join(Membership).where(Membership.left_at.is_(None)).order_by(Consent.asked_at.desc())
    if membership_id is not None:
        query = query.where(Consent.membership_id == membership_id)
    with store.read() as session:
        return list(session.scalars(query))


def names(store: Store) -> dict[tuple[str, str], str]:
    """What the runs that asked are called, by federation and identifier; newest first."""
    query = select(Consent.membership_id, Consent.run_id, Consent.facts["name"].as_string())
    with store.read() as session:
        found = session.execute(query.order_by(Consent.asked_at.desc()))
        return {(membership_id, run_id): name for membership_id, run_id, name in found}


def waiting(store: Store) -> list[Consent]:
    """Those that ask now; a federation that has shut this machine out takes no answer."""
    removed = {row.id for row in memberships.listed(store) if row.removed_at is not None}
    return [row for row in listed(store) if asks(row) and row.membership_id not in removed]


def followed(store: Store, membership_id: str) -> list[str]:
    """Runs that asked, have no yes, and may still go on as far as this machine has been told."""
    rows = listed(store, membership_id)
    return [row.run_id for row in rows if row.answer not in AGREED and not is_over(row)]


def asks(row: Consent) -> bool:
    """Whether the run waits for its owner's answer. One that has failed does not, until its coordinator resumes it."""
    return row.answer == ASKED and not is_over(row) and not has_failed(row)


def has_failed(row: Consent) -> bool:
    """Whether the run has failed, as far as this machine has been told."""
    return bool(row.facts["status"] == FAILED)


def went_without(row: Consent) -> bool:
    """Whether the run has ended, and its owner never said a word to it."""
    return is_over(row) and row.answer == ASKED and not row.rounds


def is_over(row: Consent) -> bool:
    """Whether the run has ended, as far as this machine has been told."""
    return row.facts["status"] in OVER


def asks_for_round(row: Consent) -> int | None:
    """The further round that is asked for, where the owner agrees round by round; None where it is the run."""
    is_further = row.answer == ASKED and any(type(each) is int for each in row.rounds)
    return row.facts["round"] if is_further else None


def _take_back(store: Store, membership_id: str, run_id: str) -> None:
    """Drop the participant's note, so that it asks for the answer anew, and tells the server."""
    with suppress(OSError):
        (memberships.home(store, membership_id).run(run_id) / "consent.json").unlink()


def _of(facts: dict[str, object]) -> dict[str, object]:
    """What is agreed to: the plan, the base model, and what leaves."""
    return {name: facts.get(name) for name in ("plan", "base_hash", "tensors")}
