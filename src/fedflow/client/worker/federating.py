"""Federations: a thread for each that this machine takes part in. Training waits for the machine as every job does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import OperationalError

from fedflow.client.answers import Refused
from fedflow.client.connection import SHUT_OUT
from fedflow.client.consent import BY_POLICY, DECLINED, NOT_KNOWN, OTHER_VERSION, Answer, plan_of
from fedflow.client.database.tables import Job, Membership
from fedflow.client.participant import Participant
from fedflow.client.place import Place
from fedflow.client.policy import refusal
from fedflow.client.services import consents, datasets, jobs, library, memberships, trainings
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.watch import Unwanted
from fedflow.client.worker.main import end
from fedflow.client.worker.whole_models import write_whole_model
from fedflow.errors import FedFlowError, MistakeError
from fedflow.federation.protocol import Layout, RunFacts
from fedflow.models import one_model
from fedflow.plan import Plan
from fedflow.training import Progress

LOOK_S = 0.5
NOTE_S = 0.5
AFTER_FAULT_S = 20.0
NO_PART = SHUT_OUT | {409}
"""Answers to a no of who has no part in the run any more, or to a run that is over: nobody waits for it."""

WITHDRAWN = "you have withdrawn your consent"

log = logging.getLogger("fedflow.client")


class Over(BaseException):
    """The participant of a federation ends for now: its owner paused it, or the worker ends."""


class Federating:
    """Keeps a participant at work for every federation that is not paused.

    `busy` is held by whoever uses the machine: one job at a time, a round's training among them. `ended` is set where
    the worker ends.
    """

    def __init__(self, store: Store, settings: ClientSettings, busy: threading.Lock, ended: threading.Event) -> None:
        self._store = store
        self._settings = settings
        self._busy = busy
        self._ended = ended
        self._threads: dict[str, threading.Thread] = {}
        self._telling: dict[str, threading.Thread] = {}

    def run(self) -> None:
        """Look after the threads until the worker ends."""
        while not self._ended.wait(LOOK_S):
            try:
                rows = memberships.listed(self._store)
                replaced = memberships.replaced(rows)
                for row in rows:
                    if row.id in replaced:
                        continue  # its key is worth nothing any more
                    if not row.is_paused:
                        self._start(self._threads, row.id, self._serve)
                    elif consents.untold(self._store, row.id):
                        self._start(self._telling, row.id, self._tell_no)
            except Exception:  # a full disk empties again
                log.exception("the federations could not be looked after")

    def _start(self, threads: dict[str, threading.Thread], membership_id: str, do: Callable[[str], None]) -> None:
        thread = threads.get(membership_id)
        if thread is None or not thread.is_alive():
            threads[membership_id] = threading.Thread(target=do, args=(membership_id,), daemon=True)
            threads[membership_id].start()

    def _tell_no(self, membership_id: str) -> None:
        """Tell the server each no of who has paused: others wait for this machine until then."""
        try:
            with memberships.connected(self._store, membership_id) as connection:
                for run in consents.untold(self._store, membership_id):
                    try:
                        connection.consent(run, False, 1, DECLINED)
                    except Refused as error:
                        if error.status not in NO_PART:
                            raise
                    consents.note_told(self._store, membership_id, run)
        except (FedFlowError, OperationalError) as error:  # an absent server comes back, a full disk empties again
            log.warning("a withdrawal is not told to the server yet, and is tried again: %s", error)
            self._ended.wait(AFTER_FAULT_S)

    def _serve(self, membership_id: str) -> None:
        try:
            self._take_part(membership_id)
        except Over:
            return
        except FedFlowError as error:
            self._say(membership_id, str(error))
            if isinstance(error, Refused) and error.status in SHUT_OUT:
                memberships.note_removed(self._store, membership_id)
        except Exception as error:
            log.exception("the participant of a federation failed")
            self._say(membership_id, f"{type(error).__name__}: {error}")
        self._ended.wait(AFTER_FAULT_S)

    def _say(self, membership_id: str, line: str) -> None:
        try:
            memberships.say(self._store, membership_id, line, is_held_up=True)
        except OperationalError:  # a full disk empties again, and the next fault is told then
            log.exception("what a federation's participant says could not be kept: %s", line)

    def _take_part(self, membership_id: str) -> None:
        store = self._store
        row = memberships.one(store, membership_id)
        if row is None:
            raise Over
        dataset = None if row.dataset_id is None else datasets.one(store, row.dataset_id)
        if dataset is None:
            raise MistakeError("it has no dataset; choose one on its page")
        place = Place(Path(dataset.folder), self._settings.threads, takes_usable=True)
        home = memberships.home(store, membership_id)
        with home.alone(), memberships.connected(store, membership_id) as connection:
            device = home.device()
            if device is None:
                raise MistakeError("this machine's key for it is gone; leave it, and join again with a new code")
            owner = AppOwner(store, row, self._busy, self.is_over)
            policy = memberships.policy(row)
            participant = Participant(
                home, device, connection, place, policy, owner, once=False, sleep=lambda s: self._sleep(s, row)
            )
            participant.take_part()

    def _sleep(self, seconds: float, row: Membership) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.is_over(row):
                raise Over
            time.sleep(min(LOOK_S, max(0.0, until - time.monotonic())))

    def is_over(self, began_with: Membership) -> bool:
        """Whether the participant shall end, or begin anew with other settings."""
        now = memberships.one(self._store, began_with.id)
        if self._ended.is_set() or now is None or now.is_paused:
            return True
        return (now.policy, now.dataset_id) != (began_with.policy, began_with.dataset_id)


class AppOwner:
    """The owner who answers on the app's pages."""

    def __init__(
        self, store: Store, row: Membership, busy: threading.Lock, is_over: Callable[[Membership], bool]
    ) -> None:
        self._store = store
        self._row = row
        self._busy = busy
        self._is_over = is_over

    def say(self, line: str, run: str | None, *, is_held_up: bool) -> None:
        """Keep it for the federation's page, and the run's."""
        memberships.say(self._store, self._row.id, line, run, is_held_up=is_held_up)

    def answer(self, facts: RunFacts, place: Place) -> Answer | None:
        """By the owner's limits, or as the owner has said on the run's page; None until then."""
        store, membership_id = self._store, self._row.id
        row = consents.ask(store, membership_id, facts, place.num_examples)
        try:
            plan = plan_of(facts)
        except MistakeError:
            return self._no(facts, Answer(False, NOT_KNOWN, OTHER_VERSION), consents.REFUSED)
        reason = refusal(memberships.policy(self._row), facts, plan, place.num_examples)
        if reason is not None:
            return self._no(facts, Answer(False, reason, BY_POLICY), consents.REFUSED)
        if row.answer == consents.ASKED:
            now = memberships.one(store, membership_id)
            if now is None or not now.always:
                return None
            if not consents.settle(store, membership_id, facts.id, consents.ALWAYS):
                return None  # the owner has said no before, or says something right now
        elif row.answer not in consents.AGREED:
            return Answer(False, DECLINED, DECLINED)
        return Answer(True)

    def _no(self, facts: RunFacts, answer: Answer, said: str) -> Answer:
        consents.settle(self._store, self._row.id, facts.id, said)
        return answer

    def declined(self, facts: RunFacts) -> None:
        """From now on it is the server that asks again."""
        consents.note_told(self._store, self._row.id, facts.id)

    def holds_back(self, facts: RunFacts, number: int) -> str | None:
        """Where the owner agrees round by round."""
        now = facts.model_copy(update={"status": "running", "round": number})
        consents.see(self._store, self._row.id, now)
        if consents.may_train(self._store, self._row.id, facts.id, number):
            return None
        return "you agree to its rounds one by one, and not yet to this one"

    def make_room(self) -> None:
        """The model that drew last is closed, unless a job is under way."""
        if self._busy.acquire(blocking=False):
            try:
                one_model.close()
            finally:
                self._busy.release()

    @contextmanager
    def training(self, facts: RunFacts, number: int, steps: int) -> Iterator[Progress]:
        """As a job of its own on the pages, which waits until no other is done."""
        store = self._store
        if not consents.take_up(store, self._row.id, facts.id, number):
            raise Unwanted(WITHDRAWN)
        title = f"{facts.name}, {number} / {facts.rounds}"
        asked = {"membership": self._row.id, "run": facts.id, "round": number}
        with store.begin() as session:
            job = jobs.add(session, jobs.ROUND, title, asked, steps, store.clock())
        try:
            with self._turn(job):
                yield self._noted(job, facts)
        except BaseException as error:
            is_meant = isinstance(error, Over | Unwanted)
            end(store, job.id, jobs.STOPPED if is_meant else jobs.FAILED, str(error))
            raise
        end(store, job.id, jobs.DONE)

    @contextmanager
    def _turn(self, job: Job | None = None) -> Iterator[None]:
        """The machine is this thread's within the context, and `job` runs from then on, unless it was paused before."""
        while not self._busy.acquire(timeout=LOOK_S):
            self._check(None)
        try:
            one_model.close()
            if job is not None and jobs.claim(self._store, job.id) is None:
                memberships.pause(self._store, self._row.id, paused=True)
                raise Over
            yield
        finally:
            self._busy.release()

    def _noted(self, job: Job, facts: RunFacts) -> Progress:
        noted_at = 0.0
        losses: dict[int, float] = {}

        def note(step: int, steps: int, loss: float) -> None:
            nonlocal noted_at
            losses[max(step - 1, 1)] = loss  # it is told one step late
            if time.monotonic() - noted_at < NOTE_S and step < steps:
                return
            noted_at = time.monotonic()
            trainings.note_losses(self._store, job.id, losses)
            losses.clear()
            if jobs.note(self._store, job.id, step, steps) is not None:
                memberships.pause(self._store, self._row.id, paused=True)
            self._check(facts)

        return note

    def _check(self, facts: RunFacts | None) -> None:
        """Raise Over where the owner paused, Unwanted where they have withdrawn."""
        if self._is_over(self._row):
            raise Over
        row = None if facts is None else consents.one(self._store, self._row.id, facts.id)
        if row is not None and row.answer not in consents.AGREED:
            raise Unwanted(WITHDRAWN)

    def handed_in(self, run: str, number: int, losses: tuple[float, float], *, is_taken: bool) -> None:
        """Keep it for the run's page."""
        jobs.note_handed_in(self._store, self._row.id, run, number, losses, is_taken=is_taken)

    def took_home(self, facts: RunFacts, files: Mapping[Layout, Path]) -> None:
        """The joint adapter or model goes into the library, and the run's last state onto its page."""
        consents.see(self._store, self._row.id, facts)
        asset_id = f"{self._row.id}-{facts.id}"
        if not files or library.one(self._store, asset_id) is not None:
            return
        plan = plan_of(facts)
        origin: dict[str, object] = {
            "how": "federated",
            "run": facts.name,
            "federation": self._row.federation,
            "membership": self._row.id,
            "run_id": facts.id,
            "method": plan.method,
            "rounds": facts.rounds,
            "members": list(facts.members),
            "base_hash": facts.base_hash,
        }
        kind, own_hash = library.ADAPTER, facts.base_hash or ""
        if "unet" in files:
            kind, own_hash = library.MODEL, self._whole_model(facts, plan, files["unet"], asset_id)
        else:
            kohya, diffusers = files["kohya"].read_bytes(), files["diffusers"].read_bytes()
            library.write_adapter(self._store, asset_id, diffusers=diffusers, kohya=kohya)
        new = library.New(kind, facts.name, plan.model, own_hash, plan.data.trigger or "", origin)
        library.keep(self._store, asset_id, new)

    def follows(self) -> list[str]:
        """Those whose page is here, and that may still go on."""
        return consents.followed(self._store, self._row.id)

    def saw(self, facts: RunFacts) -> None:
        """Keep it for the run's page: one that has ended asks no more."""
        consents.see(self._store, self._row.id, facts)

    def _whole_model(self, facts: RunFacts, plan: Plan, weights: Path, asset_id: str) -> str:
        """Base model and joint weights as one; returns its content hash."""
        base = memberships.home(self._store, self._row.id).base(facts.base_hash or "")
        with self._turn():
            folder = library.folder(self._store, asset_id)
            return write_whole_model(str(base) if base.is_dir() else plan.model, weights, folder)
