"""The participant's loop: ask the server what to do, train, hand in, and ask again. One process, the model stays open.

Every step leaves its outcome in the run's folder, so that a participant that was killed goes on where it was: the
consent, each fetched file, the training at its last checkpoint, the finished update, the upload at its last byte.
"""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedflow.client.answers import Refused, Unavailable, printable
from fedflow.client.base import prepare_base
from fedflow.client.connection import SHUT_OUT, Connection
from fedflow.client.consent import Answer, has_agreed, plan_of, remember, size_text
from fedflow.client.global_state import have, merged_worth_fetching
from fedflow.client.home import Device, Home
from fedflow.client.owner import Owner
from fedflow.client.place import Place
from fedflow.client.policy import BYTES_PER_MB, Policy
from fedflow.client.readiness import Readiness
from fedflow.client.training import NoUpdate, not_opened, train
from fedflow.client.transfer import forget
from fedflow.client.watch import Unwanted, Watch
from fedflow.errors import FedFlowError, ModelError, RunError, lacking_memory
from fedflow.federation.jobs import Trained, TrainJob
from fedflow.federation.protocol import RunFacts, Told, UpdateRequest, Work
from fedflow.federation.workbench import Workbench, settle_torch
from fedflow.plan import Plan
from fedflow.storage import write_json
from fedflow.tensors import open_tensors
from fedflow.training import Progress

JITTER = 0.2
SHORTEST_REST_S = 0.1
LONGEST_REST_S = 3600.0
REST_AFTER_FAULT_S = 5.0
NOT_NOW = frozenset({404, 409, 410, 413})
NEVER = 422
FORBIDDEN = 403
NOT_THERE = 404
OVER = frozenset({"done", "stopped"})
LOOK_HOME_S = 60.0
"""How often it is looked for the joint models of runs that have ended meanwhile."""

AT_HOME = "over.json"
"""The file in a run's folder that says that the run is over and its joint model here."""


@dataclass(frozen=True)
class _Open:
    """A run that this process trains for, with everything opened."""

    facts: RunFacts
    plan: Plan
    pictures: str
    bench: Workbench


class Participant:
    """Takes part in the runs of one federation for as long as it is left to."""

    def __init__(
        self,
        home: Home,
        device: Device,
        connection: Connection,
        place: Place,
        policy: Policy,
        owner: Owner,
        *,
        once: bool,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._home = home
        self._device = device
        self._connection = connection
        self._place = place
        self._policy = policy
        self._owner = owner
        self._once = once
        self._sleep = sleep
        self._random = random.Random()
        self._facts: dict[str, RunFacts] = {}
        self._open: _Open | None = None
        self._readiness = Readiness(
            policy, place, self._is_open, owner_holds_back=owner.holds_back, owner_makes_room=owner.make_room
        )
        self._run: str | None = None
        self._last_said: tuple[str, str | None, bool] = ("", None, False)
        self._before_trouble: tuple[str, str | None, bool] | None = None
        connection.on_trouble = self._tell_trouble
        self._looked_at = -math.inf
        self._owed = False

    def take_part(self) -> None:
        """Do what the server asks for, until a run is finished where `once`, and else for ever.

        Raises FedFlowError, one line, where this participant cannot go on: it was removed, the disk is full, the
        model is another than the run names, a person would have to consent. An absent server is waited for.
        """
        settle_torch(self._place.threads)
        done: tuple[str, str | None, int] | None = None
        while True:
            self._forget_withdrawn()
            try:
                work = self._connection.work(self._readiness.told())
                self._run = work.run
                if self._before_trouble is not None:
                    self._tell(*self._before_trouble)
                again_in_s = self._do(work)
            except Unavailable as error:
                self._tell_trouble(str(error))
                self._rest(REST_AFTER_FAULT_S)
                continue
            if work.action == "finished" and self._once and not self._owed:
                return
            before, done = done, (work.action, work.run, work.round)
            # What was done is asked for once more only where the server has not noticed yet.
            self._rest(max(again_in_s, work.poll_after_s, SHORTEST_REST_S) if before == done else again_in_s)

    def _do(self, work: Work) -> float:
        """Carry out one answer of the server's, and return after how many seconds to ask again."""
        try:
            return self._carry_out(work)
        except Refused as error:
            if error.status not in NOT_NOW:
                raise
            self._say(f"{error}; asking again", is_held_up=True)
            return max(work.poll_after_s, REST_AFTER_FAULT_S)

    def _carry_out(self, work: Work) -> float:
        if work.action == "consent" and work.run is not None:
            return self._consent(work.run)
        if work.action == "train" and work.run is not None:
            with self._connection.about(work.run, work.round):
                return self._train(work, work.run)
        is_due = time.monotonic() - self._looked_at >= LOOK_HOME_S
        if work.action == "finished" or is_due:
            self._looked_at = time.monotonic()
            away = [run for run in self._home.runs() if not (self._home.run(run) / AT_HOME).is_file()]
            owed = [self._take_home(run) for run in away if run != work.run or work.action == "finished"]
            self._owed = any(owed)
            for run in self._owner.follows():
                if is_due or run == work.run:
                    self._see(run)
        why_not = self._readiness.reason(work.run, work.round)
        if work.run is None or why_not is None:
            self._say(printable(work.text))
        else:
            self._say_waiting(self._facts_of(work.run), work.round, why_not)
        return work.poll_after_s

    def _consent(self, run: str) -> float:
        facts = self._facts_of(run)
        self._place.look_again()
        if self._place.problem is not None:
            self._say(f"run '{printable(facts.name)}': no answer yet, as {self._place.problem}", is_held_up=True)
            return REST_AFTER_FAULT_S
        note = self._home.run(run) / "consent.json"
        answer = Answer(has_agreed(note, facts))
        if not answer.accept:
            decided = self._owner.answer(facts, self._place)
            if decided is None:
                self._say(f"run '{printable(facts.name)}': waits for your consent", is_held_up=True)
                return REST_AFTER_FAULT_S
            answer = decided
            if answer.accept:
                remember(note, facts)
        # A no needs no count, and the message wants one: 1 tells nothing.
        self._connection.consent(run, answer.accept, self._place.num_examples if answer.accept else 1, answer.told)
        if not answer.accept:
            self._owner.declined(facts)
        self._say(
            f"run '{printable(facts.name)}': {'you take part' if answer.accept else f'declined: {answer.reason}'}"
        )
        return 0.0

    def _train(self, work: Work, run: str) -> float:
        facts = self._facts_of(run)
        if not has_agreed(self._home.run(run) / "consent.json", facts):
            return self._consent(run)
        plan = plan_of(facts)
        self._place.look_again()
        why_not = self._readiness.hindrance(facts, plan, work.round)
        if why_not is not None:
            self._say_waiting(facts, work.round, why_not)
            return 0.0
        try:
            opened = self._opened(facts, plan)
            (self._home.run(run) / AT_HOME).unlink(missing_ok=True)
            job = self._job(work, plan, opened.bench)
            have(opened.bench.folder, job, opened.bench.merged, self._place.mark, self._connection.fetch)
            self._say(
                f"round {job.round} of {plan.rounds}: training {job.steps} steps on {self._place.num_examples} pictures"
            )
            trained = self._trained(opened.bench, job, facts)
        except Unwanted as error:
            self._open = None  # a model in the middle of a training is read anew
            self._say(f"round {work.round}: training ended early, as {error}")
            return 0.0
        except NoUpdate as error:
            self._open = None
            if error.doing == "memory":
                self._readiness.pause(run, work.round, error.doing, str(error))
            else:
                self._readiness.give_up(run, work.round, error.doing, str(error))
            return 0.0
        update = opened.bench.folder.blobs.get(trained.update)
        self._check_leaving(facts, update)
        if not has_agreed(self._home.run(run) / "consent.json", facts):  # it was withdrawn since the last step
            self._say(f"run '{printable(facts.name)}', round {work.round}: nothing is sent, as you take part no more")
            return 0.0
        return self._hand_in(work, run, trained, update)

    def _forget_withdrawn(self) -> None:
        """Hold nothing that its owner has taken the consent back for: assigned again, it is answered with the no."""
        for run in self._readiness.runs():
            if not (self._home.run(run) / "consent.json").is_file():
                self._readiness.forget(run)

    def _unwanted(self, server: Connection, run: str, number: int) -> str | None:
        """Why the training for this round is to end, by the server and the owner's hours; None where it is not."""
        closed = self._readiness.closed()
        if closed is not None:
            return closed
        try:
            return server.work((*self._readiness.told(), Told("training", run, number))).unwanted
        except Refused as error:
            return str(error) if error.status in SHUT_OUT else None
        except (FedFlowError, RuntimeError):
            # No answer, or the training has ended and closed the connection: what is trained is handed in later.
            return None

    def _hand_in(self, work: Work, run: str, trained: Trained, update: Path) -> float:
        self._say(f"round {work.round}: trained; its update is being sent")
        losses = trained.first_loss, trained.last_loss
        try:
            upload_id = self._connection.upload(update, {"run": run, "round": str(work.round)})
            request = UpdateRequest(
                upload_id=upload_id,
                sha256=trained.update,
                num_examples=trained.num_examples,
                metrics={
                    "first_loss": trained.first_loss,
                    "last_loss": trained.last_loss,
                    "seconds": trained.seconds,
                    "steps": trained.steps,
                },
            )
            self._connection.hand_in(run, work.round, request)
        except Refused as error:
            self._connection.abandon(update)
            if error.status == FORBIDDEN:  # declined meanwhile, by another device of the member
                self._say(f"round {work.round}: {error}")
                return max(work.poll_after_s, REST_AFTER_FAULT_S)
            if error.status != NEVER:
                raise
            self._readiness.give_up(run, work.round, "refused", "the server refused this update for good")
            self._owner.handed_in(run, work.round, losses, is_taken=False)
            self._say(f"round {work.round}: the server refuses the update: {error}")
            return work.poll_after_s
        forget(update)
        self._owner.handed_in(run, work.round, losses, is_taken=True)
        self._say(
            f"round {work.round}: loss {trained.first_loss:.3f} -> {trained.last_loss:.3f} in {trained.seconds:.0f} s, "
            f"sent {size_text(trained.update_bytes)}"
        )
        return 0.0

    def _facts_of(self, run: str) -> RunFacts:
        """A run's facts; once they name the base model they change no more."""
        facts = self._facts.get(run)
        if facts is None or facts.base_hash is None:
            facts = self._facts[run] = self._connection.run(run)
        return facts

    def _is_open(self, run: str) -> bool:
        return self._open is not None and self._open.facts.id == run

    def _opened(self, facts: RunFacts, plan: Plan) -> _Open:
        pictures = self._place.mark
        if self._open is not None and self._open.pictures != pictures:
            self._open = None
            self._say(f"the pictures have changed: {self._place.num_examples} are trained on from now on")
        if self._open is None or self._open.facts.id != facts.id:
            self._open = None  # two base models at once may be more than the machine holds
            base = prepare_base(self._home, facts, plan, self._connection.fetch, self._say)
            folders = {self._device.member: self._place.data}
            bench = Workbench(
                plan, self._home.run(facts.id), folders, "auto", None, base=base, takes_usable=self._place.takes_usable
            )
            with lacking_memory(lambda: not_opened(plan)):
                self._owner.make_room()
                content_hash = bench.model.content_hash
            if content_hash != facts.base_hash:
                raise ModelError(f"{base}: is damaged or was changed; remove the folder, and it is fetched again")
            self._open = _Open(facts, plan, pictures, bench)
        return self._open

    def _job(self, work: Work, plan: Plan, bench: Workbench) -> TrainJob:
        member, steps = self._device.member, plan.training.steps(self._place.num_examples)
        merged = merged_worth_fetching(work, bench.folder.blobs, bench.merged)
        return TrainJob(plan.seeds[0], member, work.round, (member,), steps, work.adapter, work.residuals, merged)

    def _take_home(self, run: str) -> bool:
        """Fetch the joint model of a run that is over, and drop what the run had fetched and made here before.

        A run that was stopped has no joint model to come; one that is done has it after a while. Returns whether it is
        still to come.
        """
        folder, facts = self._home.run(run), self._as_it_is(run)
        if facts is None or facts.status not in OVER:
            return False
        self._readiness.forget(run)
        if facts.status == "done" and not facts.files:
            return facts.jobs_to_come > 0
        files = {layout: folder / f"joint.{layout}.safetensors" for layout in facts.files}
        for layout, digest in facts.files.items():
            if not files[layout].is_file():
                with self._connection.about(run):
                    self._connection.fetch(digest, files[layout])
                self._tell(f"the joint model is here: {files[layout]}", run, is_held_up=False)
        self._owner.took_home(facts, files)
        if self._open is not None and self._open.facts.id == run:
            self._open = None
        for name in ("blobs", "fetched"):
            shutil.rmtree(folder / name, ignore_errors=True)
        write_json(folder / AT_HOME, {"status": facts.status})
        return False

    def _see(self, run: str) -> None:
        """Tell the owner how far a run is that goes on, or has ended, without this machine."""
        facts = self._as_it_is(run)
        if facts is not None:
            self._owner.saw(facts)

    def _as_it_is(self, run: str) -> RunFacts | None:
        """A run's facts as they are now; None where the server has it no more."""
        try:
            return self._connection.run(run)
        except Refused as error:
            if error.status != NOT_THERE:
                raise
            return None

    def _trained(self, bench: Workbench, job: TrainJob, facts: RunFacts) -> Trained:
        with self._owner.training(facts, job.round, job.steps) as told:
            return self._watched(bench, job, facts.id, told)

    def _watched(self, bench: Workbench, job: TrainJob, run: str, told: Progress) -> Trained:
        server = self._connection.beside()
        with server, Watch(lambda: self._unwanted(server, run, job.round)) as watch:
            began_at: int | None = None

            def progress(step: int, steps: int, loss: float) -> None:
                nonlocal began_at
                if began_at is None:
                    began_at = step - 1
                    if began_at:
                        self._say(f"round {job.round}: goes on from step {began_at}, where it was stopped")
                watch.check(step, steps, loss)
                told(step, steps, loss)

            return train(bench, job, progress)

    def _check_leaving(self, facts: RunFacts, update: Path) -> None:
        """Raise RunError where the update is not what the owner was told would leave."""
        file = open_tensors(update)
        if {name: file.shape(name) for name in file} != facts.tensors:
            raise RunError(
                f"run '{printable(facts.name)}': the update holds other tensors than you agreed to; nothing was sent, "
                "tell the coordinator"
            )
        limit_mb, size_mb = self._policy.max_upload_mb, update.stat().st_size / BYTES_PER_MB
        if limit_mb is not None and size_mb > limit_mb:
            raise RunError(f"the update has {size_mb:.1f} MB, and the policy allows {limit_mb:g} MB; nothing was sent")

    def _say_waiting(self, facts: RunFacts, number: int, why_not: str) -> None:
        self._say(f"run '{printable(facts.name)}', round {number}: waiting, as {why_not}", is_held_up=True)

    def _say(self, line: str, *, is_held_up: bool = False) -> None:
        """Tell a line of the run that the server spoke of last."""
        self._tell(line, self._run, is_held_up)

    def _tell(self, line: str, run: str | None, is_held_up: bool) -> None:
        """Tell a line once, however often the server says the same."""
        self._before_trouble = None
        if (line, run, is_held_up) != self._last_said:
            self._owner.say(line, run, is_held_up=is_held_up)
            self._last_said = (line, run, is_held_up)

    def _tell_trouble(self, reason: str) -> None:
        """Tell why nothing comes through; what was told before holds again once the server answers."""
        before = self._before_trouble or (self._last_said if self._last_said[0] else None)
        self._tell(f"{reason}; trying on", None, is_held_up=True)
        self._before_trouble = before

    def _rest(self, seconds: float) -> None:
        """Wait about so long, so that many participants do not come back in the same moment."""
        if seconds > 0.0:
            jittered = seconds * self._random.uniform(1.0 - JITTER, 1.0 + JITTER)
            self._sleep(min(max(jittered, SHORTEST_REST_S), LONGEST_REST_S))
