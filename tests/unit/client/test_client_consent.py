"""What an owner is told before anything leaves, and what counts as an answer."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from fedflow.client.consent import Answer, decide, has_agreed, in_plain_words, plan_of, remember
from fedflow.client.policy import Policy
from fedflow.errors import MistakeError, RunError
from fedflow.federation.protocol import RunFacts
from fedflow.plan import Evaluation, Plan

PLAN = Plan.model_validate({"rounds": 3, "network": {"wire": "float16"}, "training": {"epochs": 2}})
FACTS = RunFacts(
    id="r1",
    federation_id="f1",
    name="Spring collection",
    status="running",
    round=1,
    rounds=3,
    plan=PLAN.model_dump(mode="json"),
    members=("studio", "museum"),
    base_hash="ab" * 32,
    base_files=(),
    tensors={f"unet.{side}{number}": shape for number in range(4) for side, shape in (("A", (4, 8)), ("B", (8, 4)))},
    upload_bytes=1_540_000,
    message="",
)

ANYTHING = Policy()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def decided(policy: Policy = ANYTHING, accept: bool = False) -> Answer:
    return decide(FACTS, 24, Path("/cats"), policy, accept_unasked=accept)


def test_the_run_is_told_whole_and_in_plain_words() -> None:
    assert in_plain_words(FACTS, PLAN, 24, Path("/cats")) == (
        """The run 'Spring collection' asks for your consent.

What is trained, on this machine
  LoRA adapters of rank 16, on the base model 'starter' (content abababababab)
  on your 24 pictures in /cats and their captions, each mirrored too
  in 3 rounds with 2 passes each, joined by fedex-lora; about 6 steps a round here
  together with: studio, museum

What leaves this machine
  now: your answer, and how many pictures you have (when it joined, this device told its name and its
    version of FedFlow)
  in every round: the trained weights as float16, about 1.5 MB
    8 tensors of unet with 256 numbers: 4 of 4x8, 4 of 8x4
  with them: the number of pictures (24), the mean loss at the start and at the end,
    steps and seconds of the training
  meanwhile: whether this machine trains, or cannot: for its hours, its memory, your policy, pictures that
    cannot be used, a training that came to nothing
  all members see how many pictures each of them has trained on

What never leaves
  pictures, captions, names of files and folders, encoded pictures, and the device's private key

Trained weights carry traces of what they were trained on. The server sees yours, all members see what they
are joined to. No noise is added that would hide a single picture.
Where the server has held-out pictures, it draws with your trained weights alone too, and all members see
what it draws of the run's prompts."""
    )


def test_a_run_that_draws_with_nobodys_weights_alone_says_nothing_of_it() -> None:
    plan = PLAN.model_copy(update={"evaluation": Evaluation(clients=False)})
    assert "draws with" not in in_plain_words(FACTS, plan, 24, Path("/cats"))


def test_a_whole_model_is_told_as_such() -> None:
    text = in_plain_words(FACTS, Plan(method="fedavg"), 1, Path("/cats"))
    assert "  the whole UNet, on the base model 'starter'" in text
    assert "on your 1 picture in" in text


def test_what_the_server_says_cannot_steer_the_terminal() -> None:
    facts = FACTS.model_copy(update={"name": "x\x1b[2J", "members": ("a\nWhat never leaves", "b")})
    text = in_plain_words(facts, PLAN, 24, Path("/cats"))
    assert "\x1b" not in text
    assert text.splitlines().count("What never leaves") == 1


@pytest.mark.parametrize(("typed", "accept"), [("y\n", True), ("YES\n", True), ("n\n", False), ("what?\n\ny\n", True)])
def test_a_person_at_a_terminal_is_asked(
    typed: str, accept: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    said = "" if accept else "the owner of this machine declined"
    assert decided() == Answer(accept, said, said)
    assert "What never leaves" in capsys.readouterr().out


def test_every_tensor_is_listed_for_who_asks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("l\nn\n"))
    assert not decided().accept
    printed = capsys.readouterr().out
    for name, shape in FACTS.tensors.items():
        assert f"  {name}  {shape[0]}x{shape[1]}\n" in printed


def test_a_closed_terminal_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    with pytest.raises(KeyboardInterrupt):
        decided()


def test_nobody_to_ask_is_a_mistake_that_says_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(MistakeError, match=r"nobody is at a terminal; .* --accept and limits"):
        decided()
    assert decided(accept=True) == Answer(True)


@pytest.mark.parametrize("accept", [True, False])
def test_the_policy_answers_before_anybody_is_asked(
    accept: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    answer = decided(Policy(max_rounds=2), accept)
    told = "the owner's policy does not allow it"
    assert answer == Answer(False, "the run has 3 rounds, and the policy allows 2", told)
    assert capsys.readouterr().out == ""


def test_what_was_agreed_to_holds_for_that_run_alone(tmp_path: Path) -> None:
    note = tmp_path / "runs" / "r1" / "consent.json"
    assert not has_agreed(note, FACTS)
    remember(note, FACTS)
    assert has_agreed(note, FACTS)
    assert has_agreed(note, FACTS.model_copy(update={"round": 2, "status": "paused", "message": "x"}))
    longer = {**FACTS.plan, "rounds": 300}
    more = {**FACTS.tensors, "unet.C": (512, 512)}
    for changed in ({"plan": longer}, {"base_hash": "cd" * 32}, {"tensors": more}):
        with pytest.raises(RunError, match="not those you agreed to"):
            has_agreed(note, FACTS.model_copy(update=changed))


def test_a_plan_of_another_version_is_named() -> None:
    assert plan_of(FACTS) == PLAN
    with pytest.raises(MistakeError, match=r"another version \(unknown key 'quantum'"):
        plan_of(FACTS.model_copy(update={"plan": {"quantum": True}}))


def test_a_plan_that_makes_no_sense_is_none_of_ours_whatever_the_server_took() -> None:
    with pytest.raises(MistakeError, match=r"another version \(seeds\.0: input should be less than or equal to"):
        plan_of(FACTS.model_copy(update={"plan": {**FACTS.plan, "seeds": [10**400]}}))
