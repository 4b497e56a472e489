"""The participant's loop against a coordinator of the test's own: real requests, a tiny model, a few pictures."""

from __future__ import annotations

import itertools
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
import torch

from fedflow import __version__
from fedflow.client import readiness, watch
from fedflow.client.answers import Refused
from fedflow.client.connection import Connection
from fedflow.client.consent import DECLINED, Answer
from fedflow.client.home import Device, Home
from fedflow.client.owner import TerminalOwner
from fedflow.client.participant import Participant
from fedflow.client.place import Place
from fedflow.client.policy import Policy
from fedflow.errors import DatasetError, MistakeError, RunError
from fedflow.federation.jobs import TrainJob
from fedflow.federation.protocol import (
    BaseFile,
    Challenged,
    ConsentRequest,
    RunFacts,
    Token,
    UpdateAnswer,
    UpdateRequest,
    Work,
)
from fedflow.federation.workbench import Workbench
from fedflow.models import open_model
from fedflow.plan import Plan
from fedflow.shipped import demo_folder
from fedflow.storage import sha256_file
from fedflow.tensors import open_tensors, to_bytes
from fedflow.training import Progress

if TYPE_CHECKING:
    from conftest import Asked, Peer, Said

CANARY = "zebrafish-canary"


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / f"{CANARY}-folder"
    folder.mkdir()
    for number, picture in enumerate(sorted((demo_folder() / "client-1").glob("*.png"))[:3]):
        (folder / f"{CANARY}-{number}.png").write_bytes(picture.read_bytes())
        (folder / f"{CANARY}-{number}.txt").write_text(f"{CANARY}, cat")
    return folder


class Coordinator:
    """Two rounds for one member: the update of the first is what the second starts from."""

    def __init__(self, peer: Peer, model: Path, folder: Path, network: dict[str, object]) -> None:
        self.peer = peer
        self.plan = Plan.model_validate(
            {
                "model": "the coordinator's",
                "rounds": 2,
                "seeds": [7],
                "lora": {"rank": 2, "alpha": 4},
                "training": {"batch_size": 2, "epochs": 1, "checkpoint_every": 1},
                "data": {"clients": ["studio"]},
                "network": network,
            }
        )
        self.bench = Workbench(self.plan, folder, {}, "auto", None, base=str(model))
        self.start = self.bench.initial_adapter(7)
        start = self.bench.folder.blobs.get(self.start)
        self.files = {sha256_file(path): path for path in model.rglob("*") if path.is_file()} | {self.start: start}
        self.facts = RunFacts(
            id="r1",
            federation_id="f1",
            name="tiny",
            status="running",
            round=1,
            rounds=2,
            plan=self.plan.model_dump(mode="json"),
            members=("studio",),
            base_hash=open_model(str(model)).content_hash,
            base_files=tuple(
                BaseFile(path=path.relative_to(model).as_posix(), sha256=digest, size_bytes=path.stat().st_size)
                for digest, path in self.files.items()
                if path.is_relative_to(model)
            ),
            tensors={name: tuple(open_tensors(start).shape(name)) for name in open_tensors(start)},
            upload_bytes=start.stat().st_size,
            message="",
        )
        self.consents: list[ConsentRequest] = []
        self.updates: list[str] = []
        self.handed_in: list[UpdateRequest] = []
        self.uploads: list[bytes] = []
        self.refuse_with: list[int] = []
        self.when_training: str | None = None
        self.other_run_waits = False
        peer.answer = self.answer

    def set_training(self, **settings: int) -> None:
        """Change the plan's training before it is told."""
        plan = self.facts.plan | {"training": {**self.plan.model_dump(mode="json")["training"], **settings}}
        self.facts = self.facts.model_copy(update={"plan": plan})

    def answer(self, asked: Asked) -> Said:  # noqa: PLR0911 - one for each route
        path, _, query = asked.path.removeprefix("/api/v1").partition("?")
        if path == "/devices/challenge":
            return self.peer.message(Challenged(nonce="n", expires_in_s=60))
        if path == "/devices/token":
            return self.peer.message(Token(token="t", expires_in_s=900))  # noqa: S106
        if path == "/work":
            return self.peer.message(self.work(query))
        if path == "/runs/r1":
            return self.peer.message(self.facts)
        if path == "/runs/r1/consent":
            self.consents.append(ConsentRequest.model_validate_json(asked.body))
            return self.said(204)
        if path.startswith("/files/"):
            return self.said(200, self.files[path.rpartition("/")[2]].read_bytes())
        if path.startswith("/uploads"):
            return self.upload(asked, path)
        return self.hand_in(UpdateRequest.model_validate_json(asked.body), int(path.split("/")[4]))

    def work(self, told: str) -> Work:  # noqa: PLR0911 - one for each state
        if self.other_run_waits:
            return Work(
                action="wait", text="round 1 of run 'other' waits for museum", poll_after_s=1, run="r2", round=1
            )
        if self.when_training is not None and "doing=training:r1:1" in told:
            reason, self.when_training = self.when_training, "over"
            return Work(action="wait", text="over", poll_after_s=1, run="r1", round=1, unwanted=reason)
        if self.when_training == "over" or ("doing=" in told and "training" not in told):
            return Work(action="wait", text="not now", poll_after_s=1, run="r1", round=1)
        if not self.consents:
            return Work(action="consent", text="consent", poll_after_s=1, run="r1")
        if not self.consents[-1].accept:
            return Work(action="finished", text="run 'tiny' goes without you", poll_after_s=1, run="r1")
        if len(self.updates) == 2:
            return Work(action="finished", text="run 'tiny' is done", poll_after_s=1, run="r1")
        adapter = self.updates[-1] if self.updates else self.start
        number = len(self.updates) + 1
        return Work(action="train", text="train", poll_after_s=1, run="r1", round=number, adapter=adapter)

    def upload(self, asked: Asked, path: str) -> Said:
        if asked.method == "POST":
            self.uploads.append(b"")
            return self.said(201, Location=f"/api/v1/uploads/{len(self.uploads) - 1}")
        number = int(path.rpartition("/")[2])
        if asked.method == "PATCH":
            self.uploads[number] += asked.body
        return self.said(204, **{"Upload-Offset": str(len(self.uploads[number]))})

    def hand_in(self, request: UpdateRequest, number: int) -> Said:
        self.handed_in.append(request)
        if self.refuse_with:
            return self.peer.problem(self.refuse_with.pop(0), "the update's norm is too large")
        assert number == len(self.updates) + 1
        path = self.bench.folder.blobs.put(self.uploads[int(request.upload_id)])
        assert path == request.sha256
        self.files[path] = self.bench.folder.blobs.get(path)
        self.updates.append(path)
        return self.peer.message(UpdateAnswer(run="r1", round=number, sha256=path, again=False))

    def said(self, status: int, body: bytes = b"", **headers: str) -> Said:
        return type(self.peer.message(self.facts))(status, body, headers)


class Machine:
    """A participant's machine; `rests` are the pauses it took."""

    def __init__(self, peer: Peer, folder: Path, pictures: Path) -> None:
        self.home = Home(folder / "home")
        self.device = Device(
            server=peer.address, device_id="d1", member="studio", federation_id="f1", federation="Museums"
        )
        self.home.keep(self.device)
        self.pictures = pictures
        self.rests: list[float] = []
        self.stop_after_rests = 100

    def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        if len(self.rests) == self.stop_after_rests:
            raise KeyboardInterrupt

    def take_part(
        self,
        policy: Policy | None = None,
        accept: bool = True,
        owner: TerminalOwner | None = None,
        takes_usable: bool = False,
    ) -> None:
        with Connection(self.home, patience_s=0) as connection:
            Participant(
                self.home,
                self.device,
                connection,
                Place(self.pictures, 1, takes_usable=takes_usable),
                policy or Policy(),
                owner or TerminalOwner(policy or Policy(), accept_unasked=accept),
                once=True,
                sleep=self.rest,
            ).take_part()


class Leaving(TerminalOwner):
    """An owner who withdraws as the last step of a training is done."""

    def __init__(self, note: Path) -> None:
        super().__init__(Policy(), accept_unasked=True)
        self.note = note
        self.has_withdrawn = False

    def answer(self, facts: RunFacts, place: Place) -> Answer:
        """As the owner said."""
        return Answer(False, DECLINED, DECLINED) if self.has_withdrawn else super().answer(facts, place)

    @contextmanager
    def training(self, facts: RunFacts, number: int, steps: int) -> Iterator[Progress]:
        """Withdraw at its end."""
        with super().training(facts, number, steps) as progress:
            yield progress
        self.has_withdrawn = True
        self.note.unlink()


class Full(TerminalOwner):
    """An owner whose machine has no memory left: nobody can make room there."""

    def __init__(self) -> None:
        super().__init__(Policy(), accept_unasked=True)
        self.asked = 0

    def make_room(self) -> None:
        """As torch says it."""
        self.asked += 1
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


class Wavering(Leaving):
    """An owner who lets a round wait, where it does not wait for anything else, and may then withdraw."""

    def __init__(self, note: Path, held: str) -> None:
        super().__init__(note)
        self.held = held

    def holds_back(self, facts: RunFacts, number: int) -> str | None:  # type: ignore[override]
        """For as long as it takes."""
        return "not yet" if self.held == "consent" else None


class RoundByRound(TerminalOwner):
    """An owner who agrees to round 2 only when the server has been told `patience` times that it waits for them."""

    def __init__(self, peer: Peer, patience: int) -> None:
        super().__init__(Policy(), accept_unasked=True)
        self.peer = peer
        self.patience = patience

    def holds_back(self, facts: RunFacts, number: int) -> str | None:  # type: ignore[override]
        """Until the server knows."""
        if number == 1 or self.peer.paths().count(f"GET /work?doing=consent:{facts.id}:2") >= self.patience:
            return None
        return "you agree to its rounds one by one, and not yet to this one"


@pytest.fixture(params=["float32"])
def coordinator(request: pytest.FixtureRequest, peer: Peer, tiny_model_folder: Path, tmp_path: Path) -> Coordinator:
    return Coordinator(peer, tiny_model_folder, tmp_path / "coordinator", {"wire": request.param})


@pytest.fixture
def machine(peer: Peer, pictures: Path, tmp_path: Path) -> Machine:
    return Machine(peer, tmp_path, pictures)


@pytest.mark.parametrize("coordinator", ["float32", "bfloat16"], indirect=True)
def test_two_rounds_over_the_network_are_bit_for_bit_those_of_one_machine(
    coordinator: Coordinator, machine: Machine, tiny_model_folder: Path, tmp_path: Path
) -> None:
    machine.take_part()
    bench = Workbench(
        coordinator.plan, tmp_path / "local", {"studio": machine.pictures}, "auto", None, base=str(tiny_model_folder)
    )
    adapter = bench.initial_adapter(7)
    for number in (1, 2):
        trained = bench.train(TrainJob(7, "studio", number, ("studio",), 2, adapter, ()))
        adapter = trained.update
        assert coordinator.updates[number - 1] == adapter
        request = coordinator.handed_in[number - 1]
        assert request.num_examples == 3
        assert request.metrics.keys() == {"first_loss", "last_loss", "seconds", "steps"}
        assert request.metrics["first_loss"] == trained.first_loss
    assert coordinator.consents == [ConsentRequest(accept=True, num_examples=3)]
    blobs = {path.name for path in (machine.home.run("r1") / "blobs").rglob("*") if path.is_file()}
    assert blobs == set(coordinator.updates)  # what the last round started from, and its update


def test_nothing_of_the_pictures_leaves(coordinator: Coordinator, machine: Machine, peer: Peer) -> None:
    machine.take_part()
    assert len(coordinator.updates) == 2
    needles = [CANARY.encode(), b64encode(CANARY.encode()).rstrip(b"=")[:-1], str(machine.pictures).encode()]
    needles += [path.read_bytes()[64:128] for path in machine.pictures.glob("*.png")]
    for asked in peer.asked:
        sent = f"{asked.path} {asked.headers}".encode() + asked.body
        assert not any(needle in sent for needle in needles)


def test_a_participant_that_was_stopped_goes_on_without_being_asked_again(
    coordinator: Coordinator, machine: Machine, peer: Peer
) -> None:
    coordinator.refuse_with = [409]
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    assert (len(coordinator.handed_in), coordinator.updates) == (1, [])
    first = coordinator.handed_in[0].sha256
    coordinator.consents = []  # the server forgot, and asks again
    machine.stop_after_rests = 100
    fetched = len([asked for asked in peer.paths() if asked.startswith("GET /files")])
    machine.take_part(accept=False)
    assert coordinator.updates[0] == first
    assert len(coordinator.updates) == 2
    again = [asked for asked in peer.paths() if asked.startswith("GET /files")][fetched:]
    assert again == []  # round 2 starts from what this machine has made itself


def test_a_round_that_begins_again_from_another_state_is_trained_again(
    coordinator: Coordinator, machine: Machine
) -> None:
    machine.take_part()
    first = coordinator.updates[0]
    coordinator.updates.clear()  # the server was restored to an earlier state: the bytes here are long tidied away
    machine.take_part()
    assert coordinator.updates[0] == first
    coordinator.updates.clear()
    coordinator.start = coordinator.bench.initial_adapter(8)
    coordinator.files[coordinator.start] = coordinator.bench.folder.blobs.get(coordinator.start)
    machine.take_part()
    assert coordinator.updates[0] != first


def test_a_stopped_run_leaves_nothing_of_what_it_had_fetched_and_made(
    coordinator: Coordinator, machine: Machine
) -> None:
    machine.take_part()
    folder = machine.home.run("r1")
    assert (folder / "blobs").is_dir()
    coordinator.facts = coordinator.facts.model_copy(update={"status": "stopped"})
    machine.take_part()
    assert not (folder / "blobs").exists()
    assert (folder / "consent.json").is_file()


def test_more_pictures_than_before_a_stop_are_trained_on(coordinator: Coordinator, machine: Machine) -> None:
    coordinator.refuse_with = [409]
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    machine.stop_after_rests = 100
    for suffix in (".png", ".txt"):
        (machine.pictures / f"more{suffix}").write_bytes((machine.pictures / f"{CANARY}-0{suffix}").read_bytes())
    machine.take_part()
    assert [request.num_examples for request in coordinator.handed_in] == [3, 4, 4]


def test_an_update_that_is_refused_for_good_is_not_sent_again(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator.refuse_with = [422]
    machine.stop_after_rests = 4
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    assert (len(coordinator.handed_in), len(coordinator.uploads)) == (1, 1)
    printed = capsys.readouterr().out
    assert printed.count("round 1: the server refuses the update: the update's norm is too large") == 1
    assert printed.count("waiting, as the server refused this update for good") == 1


def test_a_proxy_that_answers_for_the_server_ends_no_participant(
    coordinator: Coordinator, machine: Machine, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    page, seen = b"<html><title>Sign in to the network</title></html>", set()
    strangers = itertools.cycle(((200, {}), (302, {"Location": "http://192.0.2.1/"}), (404, {}), (403, {})))

    def sometimes(asked: Asked) -> Said:
        what = asked.method + re.sub(r"[0-9a-f]{64}.*", "", asked.path.partition("?")[0])
        if what in seen:
            return coordinator.answer(asked)
        seen.add(what)
        status, headers = next(strangers)
        return coordinator.said(status, page, **{"Content-Type": "text/html", **headers})

    peer.answer = sometimes
    machine.take_part()
    assert len(coordinator.updates) == 2
    assert len(seen) > 7
    assert "answered '404 Not Found', not as a FedFlow server does" in capsys.readouterr().out


def test_the_policy_declines_and_says_why_to_the_owner_alone(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.take_part(Policy(max_rounds=1))
    told = "the owner's policy does not allow it"  # neither its limits nor the number of pictures
    assert coordinator.consents == [ConsentRequest(accept=False, num_examples=1, reason=told)]
    assert "declined: the run has 2 rounds, and the policy allows 1" in capsys.readouterr().out
    assert coordinator.handed_in == []


def test_a_machine_that_holds_back_says_why_and_when_no_more(
    coordinator: Coordinator, machine: Machine, peer: Peer
) -> None:
    now = datetime.now()
    later = Policy(hours=f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}")
    machine.stop_after_rests = 3
    with pytest.raises(KeyboardInterrupt):
        machine.take_part(later)
    asked = [path for path in peer.paths() if path.startswith("GET /work")]
    held = "GET /work?doing=hours:r1:1"
    assert asked == ["GET /work", "GET /work", held, held, held]
    assert coordinator.updates == []


def test_a_round_that_its_owner_has_not_agreed_to_is_told_so_and_trained_when_they_have(
    coordinator: Coordinator, machine: Machine, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.take_part(owner=RoundByRound(peer, 3))
    asked = [path for path in peer.paths() if path.startswith("GET /work")]
    waits = "GET /work?doing=consent:r1:2"
    assert [path for path in asked if "training" not in path][2:7] == ["GET /work", waits, waits, waits, "GET /work"]
    assert len(coordinator.updates) == 2
    assert "round 2: waiting, as you agree to its rounds one by one, and not yet to this one" in capsys.readouterr().out


@pytest.mark.parametrize("held", ["consent", "hours"])
def test_a_no_while_a_round_waits_here_is_told_at_once(
    coordinator: Coordinator, machine: Machine, peer: Peer, held: str
) -> None:
    now = datetime.now()
    later = Policy(hours=f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}")
    owner = Wavering(machine.home.run("r1") / "consent.json", held)

    def answer(asked: Asked) -> Said:
        if f"doing={held}:r1:1" in asked.path and not owner.has_withdrawn:
            owner.has_withdrawn = True
            owner.note.unlink()
        return coordinator.answer(asked)

    peer.answer = answer
    machine.take_part(Policy() if held == "consent" else later, owner=owner)
    assert [each.accept for each in coordinator.consents] == [True, False]
    assert coordinator.updates == []


def test_what_held_a_machine_back_is_taken_back_before_it_trains(
    coordinator: Coordinator, machine: Machine, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter([21, 21, 22])

    class Evening(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2026, 1, 1, next(hours, 22), tzinfo=tz)

    monkeypatch.setattr(readiness, "datetime", Evening)
    machine.take_part(Policy(hours="22:00-06:00"))
    asked = [path for path in peer.paths() if path.startswith("GET /work")]
    assert asked[:4] == ["GET /work", "GET /work", "GET /work?doing=hours:r1:1", "GET /work"]
    assert len(coordinator.updates) == 2


def test_a_consent_that_is_not_taken_is_sent_again_until_it_is(
    coordinator: Coordinator, machine: Machine, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    refusals = 2

    def answer(asked: Asked) -> Said:
        nonlocal refusals
        if asked.path.endswith("/consent") and refusals:
            refusals -= 1
            return peer.problem(409, "this member may train on at most 2 pictures and has 3")
        return coordinator.answer(asked)

    peer.answer = answer
    machine.take_part()
    told = capsys.readouterr().out
    assert told.count("at most 2 pictures and has 3; asking again") == 1
    assert told.count("asks for your consent") == 1  # who has agreed is not asked again
    assert len(coordinator.updates) == 2


def test_a_training_ends_when_the_server_does_not_want_it_any_more(
    coordinator: Coordinator,
    machine: Machine,
    peer: Peer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    coordinator.set_training(epochs=10_000)
    coordinator.when_training = "the run is stopped"
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    assert "round 1: training ended early, as the run is stopped" in capsys.readouterr().out
    assert "GET /work?doing=training:r1:1" in peer.paths()
    assert coordinator.uploads == []


def test_a_training_that_is_still_wanted_goes_on_though_the_server_is_asked(
    coordinator: Coordinator, machine: Machine, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.001)
    machine.take_part()
    assert len(coordinator.updates) == 2
    assert "GET /work?doing=training:r1:1" in peer.paths()


def test_the_hours_end_a_training_that_goes_on_at_the_next_ones(
    coordinator: Coordinator, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    coordinator.set_training(epochs=40, checkpoint_every=1)
    hours = iter([22, 6, 21])

    class Night(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2026, 1, 1, next(hours, 23), tzinfo=tz)

    monkeypatch.setattr(readiness, "datetime", Night)
    machine.take_part(Policy(hours="22:00-06:00"))
    told = capsys.readouterr().out
    assert "round 1: training ended early, as the policy allows training at 22:00-06:00" in told
    assert len(coordinator.updates) == 2


def test_a_training_that_was_stopped_says_from_which_step_it_goes_on(
    coordinator: Coordinator, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator.set_training(epochs=3, checkpoint_every=1)
    check, stops = watch.Watch.check, iter([True])

    def stop_once(self: watch.Watch, step: int, steps: int, loss: float) -> None:
        check(self, step, steps, loss)
        if step == 3 and next(stops, False):
            raise watch.Unwanted("it was stopped")

    monkeypatch.setattr(watch.Watch, "check", stop_once)
    machine.take_part()
    told = capsys.readouterr().out
    assert told.count("round 1: goes on from step 3, where it was stopped") == 1
    assert "round 2: goes on" not in told
    assert len(coordinator.updates) == 2


def test_a_caption_that_changed_during_a_training_starts_it_anew(
    coordinator: Coordinator, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_S", 0.05)
    coordinator.set_training(epochs=40, checkpoint_every=1)
    coordinator.when_training = "the run is stopped"
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    coordinator.when_training = None
    (machine.pictures / f"{CANARY}-0.txt").write_text("another caption")
    machine.stop_after_rests = 100
    machine.take_part()
    assert len(coordinator.updates) == 2


def test_an_update_of_pictures_that_were_changed_since_is_not_sent(coordinator: Coordinator, machine: Machine) -> None:
    coordinator.refuse_with = [409]
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    first = coordinator.handed_in[0].sha256
    (machine.pictures / f"{CANARY}-0.txt").write_text("another caption")
    machine.stop_after_rests = 100
    machine.take_part()
    assert len(coordinator.updates) == 2
    assert first not in {request.sha256 for request in coordinator.handed_in[1:]}


def test_a_picture_that_is_taken_away_between_two_rounds_is_trained_on_no_more(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(asked: Asked) -> Said:
        said = coordinator.answer(asked)
        if len(coordinator.updates) == 1:
            for suffix in (".png", ".txt"):
                (machine.pictures / f"{CANARY}-0{suffix}").unlink(missing_ok=True)
        return said

    coordinator.peer.answer = answer
    machine.take_part()
    assert [request.num_examples for request in coordinator.handed_in] == [3, 2]
    assert "the pictures have changed: 2 are trained on from now on" in capsys.readouterr().out


def test_a_picture_that_is_being_copied_in_is_waited_for(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str], peer: Peer
) -> None:
    half = machine.pictures / "arriving.png"
    whole = (machine.pictures / f"{CANARY}-0.png").read_bytes()

    def answer(asked: Asked) -> Said:
        said = coordinator.answer(asked)
        if "/updates" in asked.path and len(coordinator.updates) == 1:
            half.write_bytes(whole[:300])
        if "doing=pictures:r1:2" in asked.path:
            half.write_bytes(whole)
            half.with_suffix(".txt").write_text(f"{CANARY}, cat")
        return said

    peer.answer = answer
    machine.take_part()
    assert [request.num_examples for request in coordinator.handed_in] == [3, 4]
    told = capsys.readouterr().out
    assert "run 'tiny', round 2: waiting, as " in told
    assert "the pictures have changed: 4 are trained on from now on" in told
    assert not any(CANARY in path for path in peer.paths())


def test_where_the_usable_are_enough_a_broken_file_stops_nobody(coordinator: Coordinator, machine: Machine) -> None:
    (machine.pictures / "broken.png").write_bytes((machine.pictures / f"{CANARY}-0.png").read_bytes()[:300])
    (machine.pictures / "notes.docx").write_bytes(b"none")
    with pytest.raises(DatasetError):
        machine.take_part()
    assert not coordinator.handed_in
    machine.take_part(takes_usable=True)
    assert [request.num_examples for request in coordinator.handed_in] == [3, 3]


def test_consent_speaks_of_the_pictures_as_they_are(coordinator: Coordinator, machine: Machine) -> None:
    def answer(asked: Asked) -> Said:
        if asked.path.endswith("/work") and not coordinator.consents:
            for suffix in (".png", ".txt"):
                content = (machine.pictures / f"{CANARY}-0{suffix}").read_bytes()
                (machine.pictures / f"more{suffix}").write_bytes(content)
        return coordinator.answer(asked)

    coordinator.peer.answer = answer
    machine.take_part()
    assert coordinator.consents == [ConsentRequest(accept=True, num_examples=4)]
    assert [request.num_examples for request in coordinator.handed_in] == [4, 4]


def test_a_folder_that_is_touched_starts_nothing_anew(coordinator: Coordinator, machine: Machine) -> None:
    coordinator.refuse_with = [409]
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    (machine.pictures / f"{CANARY}-0.png").touch()
    (machine.pictures / ".DS_Store").write_text("x")
    (machine.pictures / "notes.md").write_text("x")
    machine.stop_after_rests = 100
    machine.take_part()
    first, again, _ = coordinator.handed_in
    assert (again.sha256, again.metrics["seconds"]) == (first.sha256, first.metrics["seconds"])


def test_a_training_that_comes_to_no_numbers_leaves_the_round_and_not_the_federation(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str], peer: Peer, tmp_path: Path
) -> None:
    start, huge = open_tensors(coordinator.files[coordinator.start]), tmp_path / "huge.safetensors"
    tensors = {name: torch.full_like(start[name], 1e30) for name in start}  # no number is wrong, and none can be learnt
    huge.write_bytes(to_bytes(tensors, start.metadata))
    coordinator.start = sha256_file(huge)
    coordinator.files[coordinator.start] = huge
    machine.stop_after_rests = 3
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    told = capsys.readouterr().out
    assert "run 'tiny', round 1: waiting, as the loss of step" in told
    assert "this machine goes without this round" in told
    assert "GET /work?doing=failed:r1:1" in peer.paths()
    assert coordinator.uploads == []


def test_an_update_of_a_member_that_declined_meanwhile_ends_nothing(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    coordinator.refuse_with = [403]
    machine.take_part()
    assert "round 1: the update's norm is too large" in capsys.readouterr().out
    assert len(coordinator.updates) == 2


def test_a_run_that_ended_beside_another_leaves_its_joint_model_here(
    coordinator: Coordinator, machine: Machine
) -> None:
    machine.take_part()
    folder = machine.home.run("r1")
    assert not (folder / "over.json").exists()
    joint = coordinator.bench.folder.blobs.get(coordinator.updates[-1])
    digest = sha256_file(joint)
    coordinator.facts = coordinator.facts.model_copy(update={"status": "done", "files": {"kohya": digest}})
    coordinator.other_run_waits = True
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    assert (folder / "joint.kohya.safetensors").read_bytes() == joint.read_bytes()
    assert (folder / "over.json").is_file()
    assert not (folder / "blobs").exists()


class Unsure(TerminalOwner):
    """An owner who does not answer, and is told what becomes of the run."""

    def __init__(self) -> None:
        super().__init__(Policy(), accept_unasked=True)
        self.seen: list[str] = []

    def answer(self, facts: RunFacts, place: Place) -> None:  # type: ignore[override]
        """Nothing yet."""

    def follows(self) -> tuple[str, ...]:
        """Until it is over."""
        return () if "stopped" in self.seen else ("r1",)

    def saw(self, facts: RunFacts) -> None:
        """As it comes."""
        self.seen.append(facts.status)


def test_an_owner_who_never_answered_is_told_that_the_run_has_ended(coordinator: Coordinator, machine: Machine) -> None:
    owner = Unsure()
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part(owner=owner)
    assert owner.seen == []
    coordinator.facts = coordinator.facts.model_copy(update={"status": "stopped"})
    coordinator.other_run_waits = True
    machine.stop_after_rests = 2
    with pytest.raises(KeyboardInterrupt):
        machine.take_part(owner=owner)
    assert owner.seen == ["stopped"]
    assert coordinator.consents == []


def test_a_run_whose_plan_this_version_does_not_know_is_declined(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {**coordinator.facts.plan, "telepathy": True}
    coordinator.facts = coordinator.facts.model_copy(update={"plan": plan})
    machine.take_part()
    (consent,) = coordinator.consents
    assert (consent.accept, consent.num_examples) == (False, 1)
    assert consent.reason.startswith(f"FedFlow {__version__} does not know this plan")
    assert f"run 'tiny': declined: FedFlow {__version__} does not know its plan; update it" in capsys.readouterr().out


def test_a_plan_that_changed_after_consent_is_not_trained(
    coordinator: Coordinator, machine: Machine, peer: Peer
) -> None:
    coordinator.refuse_with = [409]
    machine.stop_after_rests = 1
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    machine.stop_after_rests = 100
    coordinator.facts = coordinator.facts.model_copy(update={"plan": {**coordinator.facts.plan, "rounds": 500}})
    sent = len(coordinator.uploads)
    with pytest.raises(RunError, match="not those you agreed to"):
        machine.take_part()
    assert len(coordinator.uploads) == sent


def test_an_update_with_other_tensors_than_were_told_stays_here(coordinator: Coordinator, machine: Machine) -> None:
    few = dict(list(coordinator.facts.tensors.items())[:-1])
    coordinator.facts = coordinator.facts.model_copy(update={"tensors": few})
    with pytest.raises(RunError, match="other tensors than you agreed to; nothing was sent"):
        machine.take_part()
    assert coordinator.uploads == []


def test_nothing_is_sent_of_a_run_that_was_withdrawn_from_after_the_last_step(
    coordinator: Coordinator, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.take_part(owner=Leaving(machine.home.run("r1") / "consent.json"))
    assert (coordinator.uploads, coordinator.handed_in) == ([], [])
    assert [each.accept for each in coordinator.consents] == [True, False]
    assert "nothing is sent, as you take part no more" in capsys.readouterr().out


def test_without_consent_nothing_is_trained_even_where_the_server_says_so(
    coordinator: Coordinator, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    coordinator.consents = [ConsentRequest(accept=True, num_examples=3)]  # the server claims it was given
    with open(tmp_path / "no terminal", "w+", encoding="ascii") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with pytest.raises(MistakeError, match="asks for consent and nobody is at a terminal"):
            machine.take_part(accept=False)
    assert coordinator.uploads == []


def test_an_update_that_does_not_get_through_is_said_to_wait(
    coordinator: Coordinator, machine: Machine, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = 4

    def answer(asked: Asked) -> Said:
        nonlocal faults
        if "/uploads" in asked.path and faults:
            faults -= 1
            return coordinator.said(503)
        return coordinator.answer(asked)

    peer.answer = answer
    machine.take_part()
    told = capsys.readouterr().out
    assert len(coordinator.updates) == 2
    trained, away = told.index("round 1: trained; its update is being sent"), told.index("; trying on")
    assert trained < away < told.index("round 1: loss")
    assert re.search(r"nothing comes through to the server \(the server answered 503.*\); trying on", told)


def test_a_server_that_is_away_is_waited_for(
    coordinator: Coordinator, machine: Machine, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = 3

    def answer(asked: Asked) -> Said:
        nonlocal faults
        if asked.path.endswith("/work") and faults:
            faults -= 1
            return peer.problem(503, "the database is away")
        return coordinator.answer(asked)

    peer.answer = answer
    machine.take_part()
    assert len(coordinator.updates) == 2
    assert len(machine.rests) == 3
    assert all(4 <= rest <= 6 for rest in machine.rests)
    assert capsys.readouterr().out.count("the database is away; trying on") == 1


def test_a_member_that_was_removed_ends(coordinator: Coordinator, machine: Machine, peer: Peer) -> None:
    peer.answer = lambda _: peer.problem(401, "the member 'studio' was removed")
    with pytest.raises(Refused, match="the member 'studio' was removed"):
        machine.take_part()


def test_a_base_that_was_changed_on_the_disk_is_refused(
    coordinator: Coordinator, machine: Machine, tiny_model_folder: Path
) -> None:
    machine.take_part()
    coordinator.updates.clear()
    wanted = coordinator.facts.base_hash
    assert wanted is not None
    path = machine.home.base(wanted) / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MistakeError, match="is damaged or was changed; remove the folder, and it is fetched again"):
        machine.take_part()


def test_a_run_that_needs_more_memory_than_there_is_waits_before_anything_is_fetched(
    coordinator: Coordinator, machine: Machine, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tuple(file.model_copy(update={"size_bytes": 10**15}) for file in coordinator.facts.base_files)
    coordinator.facts = coordinator.facts.model_copy(update={"base_files": files})
    machine.stop_after_rests = 2
    with pytest.raises(KeyboardInterrupt):
        machine.take_part()
    assert "run 'tiny', round 1: waiting, as it needs at least" in capsys.readouterr().out
    assert coordinator.updates == []
    assert not [path for path in peer.paths() if "/files/" in path]


def test_a_base_for_which_there_is_no_memory_is_opened_again_after_a_while(
    coordinator: Coordinator, machine: Machine, peer: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.stop_after_rests = 3
    owner = Full()
    with pytest.raises(KeyboardInterrupt):
        machine.take_part(owner=owner)
    assert "waiting, as this machine has not the memory to open 'the coordinator's'; close" in capsys.readouterr().out
    assert f"GET /work?doing=memory:{coordinator.facts.id}:1" in peer.paths()
    assert owner.asked == 1, "for that it is paused"
    machine.stop_after_rests = 100
    machine.take_part()
    assert len(coordinator.updates) == 2
