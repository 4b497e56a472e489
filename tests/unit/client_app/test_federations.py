"""Federations as the app keeps them: what was answered to a run, what is covered by it, and what has left."""

from __future__ import annotations

import json
import re
import shutil
import threading
from html import unescape
from pathlib import Path

import pytest
from flask import render_template
from flask_babel import force_locale
from tests.unit.client_app.conftest import Visitor
from tests.unit.client_app.federation_support import facts, joined

from fedflow.client.home import Device
from fedflow.client.policy import Policy
from fedflow.client.services import consents, datasets, jobs, memberships, trainings
from fedflow.client.services.memberships import JoinRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.watch import Unwanted
from fedflow.client.worker.federating import AppOwner
from fedflow.client.worker.main import carry_out, settle
from fedflow.errors import MistakeError
from fedflow.federation.protocol import RoundLine, Rounds
from fedflow.models import one_model
from fedflow.training import Progress

REVOKED = "device 'studio-pc' was revoked; ask the coordinator for a new join code"


@pytest.fixture
def member(store: Store) -> str:
    return joined(store)


def owner_of(store: Store, member: str) -> AppOwner:
    row = memberships.one(store, member)
    assert row is not None
    return AppOwner(store, row, threading.Lock(), lambda _row: False)


def begins(owner: AppOwner, number: int) -> bool:
    """Whether a round is trained for where the server assigns it."""
    if owner.holds_back(facts(), number) is not None:
        return False
    with owner.training(facts(), number, 2):
        return True


def test_a_round_gets_the_memory_of_the_model_that_drew_last(store: Store, member: str) -> None:
    row, busy = memberships.one(store, member), threading.Lock()
    assert row is not None
    owner = AppOwner(store, row, busy, lambda _row: False)
    assert one_model.kept_open("drew", lambda: "the first") == "the first"
    with busy:
        owner.make_room()
    assert one_model.kept_open("drew", lambda: "the second") == "the first", "a job under way keeps its own"
    owner.make_room()
    assert one_model.kept_open("drew", lambda: "the second") == "the second"
    assert not busy.locked()
    one_model.close()


def test_one_round_is_agreed_to_at_a_time(store: Store, member: str) -> None:
    owner = owner_of(store, member)
    assert consents.ask(store, member, facts(), 12).answer == consents.ASKED
    assert not begins(owner, 1)
    consents.answer(store, member, "r1", consents.ROUND)
    assert begins(owner, 1)
    assert begins(owner, 1), "the same round, after a restart"
    assert not begins(owner, 2)
    consents.answer(store, member, "r1", consents.ROUND)
    assert owner.holds_back(facts(), 2) is None, "what is only asked uses nothing up"
    assert begins(owner, 3), "whichever comes next"
    assert not begins(owner, 4)
    consents.answer(store, member, "r1", consents.RUN)
    assert begins(owner, 4)


def test_the_next_round_asks_again_on_every_page(visitor: Visitor, store: Store, member: str) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    visitor.post(f"{run}/answer", answer=consents.ROUND)
    assert "You have agreed to the next round." in visitor.client.get(run).text
    assert begins(owner, 1)
    page = visitor.client.get(run).text
    assert "You have agreed to round 1. You are asked again before each further one." in page
    for offered in ("Agree to the next round", "Agree to this run", "Always agree within my limits", "Withdraw"):
        assert f">{offered}</button>" in page
    assert "Asks for your consent" not in visitor.client.get(f"/federations/{member}").text
    assert "Agreed round by round" in visitor.client.get(run).text
    assert owner.holds_back(facts(), 2) == "you agree to its rounds one by one, and not yet to this one"
    listed = visitor.client.get("/federations").text
    assert "Round 2 of autumn asks for your consent." in listed
    assert f'href="{run}"' in listed
    assert re.search(r'href="/federations"[^>]*>.{0,40}<span class="count"[^>]*>1<', listed, re.DOTALL)
    page = visitor.client.get(run).text
    for shown in (page, visitor.client.get(f"/federations/{member}").text):
        assert re.search(r'class="badge waiting">.*?Asks for your consent to round 2</span>', shown, re.DOTALL)
    for answer in (consents.RUN, consents.ROUND, consents.ALWAYS, consents.DECLINED):
        assert f'name="answer" value="{answer}"' in page
    visitor.post(f"{run}/answer", answer=consents.ROUND)
    assert begins(owner, 2)
    assert consents.waiting(store) == []


def test_a_no_to_a_further_round_is_one_to_all(store: Store, member: str) -> None:
    """The participant's note of its yes goes, so that it asks for the answer and tells the server."""
    owner = owner_of(store, member)
    note = memberships.home(store, member).run("r1") / "consent.json"
    note.parent.mkdir(parents=True)
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.ROUND)
    note.write_text(json.dumps({}))
    assert begins(owner, 1)
    assert not begins(owner, 2)
    consents.answer(store, member, "r1", consents.DECLINED)
    assert not note.exists()
    assert owner.holds_back(facts(), 2) is not None
    with pytest.raises(Unwanted), owner.training(facts(), 2, 2):
        pytest.fail("nothing is trained after a no")


def test_a_run_that_ended_asks_no_more(visitor: Visitor, store: Store, member: str) -> None:
    owner = owner_of(store, member)
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.ROUND)
    assert begins(owner, 1)
    assert not begins(owner, 2)
    owner.took_home(facts().model_copy(update={"status": "stopped"}), {})
    assert consents.waiting(store) == []
    page = visitor.client.get(f"/federations/{member}/runs/r1").text
    assert "The run is over; nothing more is asked of you." in page
    assert 'name="answer"' not in page


@pytest.mark.parametrize("ended", ["done", "stopped"])
def test_a_run_that_ended_unanswered_is_told_as_ended_without_this_machine(
    ended: str, visitor: Visitor, store: Store, member: str
) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    assert owner.follows() == ["r1"]
    owner.saw(facts().model_copy(update={"status": ended}))
    assert owner.follows() == []
    assert "asks for your consent" not in visitor.client.get("/federations").text
    assert badges(visitor.client.get(f"/federations/{member}").text) == [
        ("running", "Taking part"), ("waiting", "Ended without this machine"),
    ]  # fmt: skip
    page = visitor.client.get(run).text
    assert badges(page)[0] == ("waiting", "Ended without this machine")
    assert "The run ended before you answered: nothing was trained for it here" in page
    assert "Would have left this machine" in page
    assert 'name="answer"' not in page


def test_a_run_that_failed_asks_again_when_it_is_resumed(visitor: Visitor, store: Store, member: str) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    owner.saw(facts().model_copy(update={"status": "failed"}))
    assert consents.waiting(store) == []
    page = visitor.client.get(run).text
    assert badges(page)[0] == ("failed", "Failed")
    assert "Nothing is asked of you unless its coordinator resumes it." in page
    assert 'name="answer"' not in page
    assert owner.follows() == ["r1"]
    consents.ask(store, member, facts(), 12)
    assert [row.run_id for row in consents.waiting(store)] == ["r1"]
    assert 'name="answer"' in visitor.client.get(run).text


def test_a_further_round_of_a_run_that_ended_was_not_without_this_machine(
    visitor: Visitor, store: Store, member: str
) -> None:
    owner = owner_of(store, member)
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.ROUND)
    assert begins(owner, 1)
    assert not begins(owner, 2)
    owner.saw(facts().model_copy(update={"status": "stopped"}))
    assert badges(visitor.client.get(f"/federations/{member}").text)[-1] == ("refused", "Stopped")


def badges(page: str) -> list[tuple[str, str]]:
    """States and words, in the order of the page."""
    return re.findall(r'class="badge (\w+)">.*?</svg>([^<]*)</span>', page, re.DOTALL)


def test_who_is_held_up_does_not_seem_to_take_part(visitor: Visitor, store: Store, member: str) -> None:
    owner = owner_of(store, member)
    for address in ("/federations", f"/federations/{member}"):
        assert badges(visitor.client.get(address).text)[0] == ("running", "Taking part")
    owner.say("https://x: the server does not answer (timed out); check it; trying on", None, is_held_up=True)
    for address in ("/federations", f"/federations/{member}"):
        assert badges(visitor.client.get(address).text)[0] == ("waiting", "Held up")
    owner.say("no run wants this member yet", None, is_held_up=False)
    assert badges(visitor.client.get("/federations").text)[0] == ("running", "Taking part")
    assert "None has asked you yet" in visitor.client.get(f"/federations/{member}").text
    owner.say("run 'autumn': no answer yet, as /p: is not there; name a folder of pictures", "r1", is_held_up=True)
    page = visitor.client.get(f"/federations/{member}").text
    assert badges(page)[0] == ("waiting", "Held up")
    assert "None has asked you yet" not in page
    consents.ask(store, member, facts(), 12)
    assert badges(visitor.client.get("/federations").text)[0] == ("waiting", "Asks for your consent")


def test_what_the_participant_says_of_one_run_stands_on_no_other(visitor: Visitor, store: Store, member: str) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    owner.say("run 'autumn': waits for your consent", "r1", is_held_up=True)
    assert "“autumn” waits for your consent." in visitor.client.get(f"/federations/{member}").text
    visitor.post(f"{run}/answer", answer=consents.RUN)
    assert "waits for your consent" not in visitor.client.get(run).text, "the answer has made it untrue"
    owner.say("round 1 of 3: training 5 steps on 12 pictures", "r2", is_held_up=False)
    assert "training on the dataset" not in visitor.client.get(run).text
    owner.say("round 1 of 3: training 5 steps on 12 pictures", "r1", is_held_up=False)
    assert "training on the dataset" in visitor.client.get(run).text
    owner.say("nothing comes through to the server (timed out); trying on", None, is_held_up=True)
    assert "Nothing comes through to the server now (timed out). It is tried again" in visitor.client.get(run).text
    visitor.post(f"{run}/withdraw")
    assert "Nothing comes through" not in visitor.client.get(run).text, "nothing of it is waited for any more"


def test_of_a_round_that_died_with_its_worker_nothing_is_said_to_go_on(
    visitor: Visitor, store: Store, member: str
) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.RUN)
    owner.say("round 1 of 3: training 5 steps on 12 pictures", "r1", is_held_up=False)
    with owner.training(facts(), 1, 2):
        settle(store)  # another worker begins, as it does where the first is dead
        page = visitor.client.get(run).text
        assert badges(page)[-1] == ("failed", "Died")
        assert "You take part; the server is asked what is to be done next." in page
        for address in (run, f"/federations/{member}", "/federations"):
            assert "training on the dataset" not in visitor.client.get(address).text


def test_a_run_that_ended_stands_so_and_is_no_news(visitor: Visitor, store: Store, member: str) -> None:
    owner = owner_of(store, member)
    consents.ask(store, member, facts(rounds=2), 12)
    consents.answer(store, member, "r1", consents.RUN)
    owner.took_home(facts(rounds=2).model_copy(update={"status": "done", "round": 2}), {})
    memberships.limit(store, member, Policy(max_rounds=1), always=False)
    owner.say("run 'autumn' is done", "r1", is_held_up=False)
    shown = visitor.client.get(f"/federations/{member}").text
    assert badges(shown)[-1] == ("done", "Done")
    assert "is done." not in shown
    page = visitor.client.get(f"/federations/{member}/runs/r1").text
    assert badges(page)[0] == ("done", "Done")
    assert "Your limits do not allow it" not in page


def test_what_is_said_again_was_said_when_it_was_said_first(store: Store, member: str) -> None:
    memberships.say(store, member, "no run wants this member yet", is_held_up=False)
    first = memberships.one(store, member)
    memberships.say(store, member, "no run wants this member yet", is_held_up=False)
    again = memberships.one(store, member)
    assert first is not None
    assert again is not None
    assert again.said_at == first.said_at


def test_a_round_that_is_trained_says_whether_the_server_has_it(visitor: Visitor, store: Store, member: str) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.RUN)
    assert begins(owner, 1)
    assert badges(visitor.client.get(run).text)[-1] == ("waiting", "Trained, not sent yet")
    owner.handed_in("r1", 1, (0.75, 0.5), is_taken=True)
    assert badges(visitor.client.get(run).text)[-1] == ("done", "Trained and sent")
    assert begins(owner, 2)
    owner.handed_in("r1", 2, (0.5, 0.25), is_taken=False)
    assert badges(visitor.client.get(run).text)[-2:] == [
        ("done", "Trained and sent"),
        ("refused", "Refused by the server"),
    ]


def test_the_loss_of_each_round_is_drawn_and_told(visitor: Visitor, store: Store, member: str) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    assert "drawn here from its second step on" not in visitor.client.get(run).text, "nobody has agreed to it yet"
    consents.answer(store, member, "r1", consents.RUN)
    assert "drawn here from its second step on" in visitor.client.get(run).text
    for number, told in ((1, (0.8, 0.8, 0.7, 0.6)), (2, (0.4, 0.4, 0.25))):
        with owner.training(facts(), number, len(told)) as progress:
            for step, loss in enumerate(told, start=1):
                progress(step, len(told), loss)
            assert ">Pause taking part</button>" in visitor.client.get(run).text, "it pauses more than the round"
        owner.handed_in("r1", number, (told[0], 0.5), is_taken=True)
    assert trainings.round_losses(store, member, "r1") == {
        1: [(1, 0.8), (2, 0.7), (3, 0.6)], 2: [(1, 0.4), (2, 0.25)],
    }, "a loss is told when the next step is done"  # fmt: skip
    page = visitor.client.get(run).text
    assert "loss 0.8000 at first, 0.5000 at the end" in page
    assert "loss 0.4000 at first, 0.5000 at the end" in page
    assert "7 steps" in page
    assert page.count('class="ticks"') == 1, "where the first round ends"


def test_a_round_that_began_anew_counts_from_there(store: Store, member: str) -> None:
    owner = owner_of(store, member)
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.RUN)
    for steps in ((1, 2, 3, 4, 5), (1, 2, 3), (3, 4)):
        with owner.training(facts(), 1, 4) as told:
            for step in steps:
                told(step, steps[-1], 0.1 * len(steps))
    assert trainings.round_losses(store, member, "r1") == {1: [(1, 0.1 * 3), (2, 0.2), (3, 0.2)]}


def withdraw_and_go_on(store: Store, member: str, told: Progress) -> None:
    consents.withdraw(store, member, "r1")
    told(2, 2, 0.1)


def test_a_withdrawal_promises_nothing_that_goes_on(visitor: Visitor, store: Store, member: str) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.RUN)
    assert owner.holds_back(facts(), 1) is None
    with pytest.raises(Unwanted), owner.training(facts(), 1, 2) as told:
        withdraw_and_go_on(store, member, told)
    for address in (run, "/activity"):
        page = visitor.client.get(address).text
        assert "It ended on the way. You have withdrawn your consent." in page
        assert "goes on from its last checkpoint" not in page


def test_another_plan_under_the_same_name_asks_again(store: Store, member: str) -> None:
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.RUN)
    assert consents.ask(store, member, facts(), 13).answer == consents.RUN, "more pictures are the owner's own"
    consents.see(store, member, facts(rounds=9))
    assert consents.ask(store, member, facts(rounds=9), 13).answer == consents.ASKED, "having seen it agrees to nothing"


def test_a_no_is_asked_about_again_only_where_the_server_asks_again(store: Store, member: str) -> None:
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.DECLINED)
    assert consents.ask(store, member, facts(), 12).answer == consents.DECLINED, "the server does not know it yet"
    consents.note_told(store, member, "r1")
    assert consents.ask(store, member, facts(), 12).answer == consents.ASKED


@pytest.mark.parametrize("no", [consents.DECLINED, consents.WITHDRAWN])
def test_no_limit_says_yes_where_the_owner_has_said_no(store: Store, member: str, no: str) -> None:
    consents.ask(store, member, facts(), 12)
    if no == consents.WITHDRAWN:
        consents.answer(store, member, "r1", consents.RUN)
        consents.withdraw(store, member, "r1")
    else:
        consents.answer(store, member, "r1", no)
    assert not consents.settle(store, member, "r1", consents.ALWAYS)
    consents.note_told(store, member, "r1")
    assert consents.ask(store, member, facts(), 12).answer == consents.ASKED
    assert not consents.settle(store, member, "r1", consents.ALWAYS), "the server asks again, and they alone answer"
    assert consents.one(store, member, "r1").answer == consents.ASKED  # type: ignore[union-attr]
    consents.answer(store, member, "r1", consents.RUN)
    assert consents.may_train(store, member, "r1", 1)


def test_limits_settle_what_nobody_has_answered(store: Store, member: str) -> None:
    consents.ask(store, member, facts(), 12)
    assert consents.settle(store, member, "r1", consents.ALWAYS)
    assert consents.may_train(store, member, "r1", 1)


def test_a_withdrawal_ends_it_and_takes_back_what_the_participant_noted(store: Store, member: str) -> None:
    with pytest.raises(MistakeError, match="no consent to withdraw"):
        consents.withdraw(store, member, "r1")
    consents.ask(store, member, facts(), 12)
    consents.answer(store, member, "r1", consents.RUN)
    note = memberships.home(store, member).run("r1") / "consent.json"
    note.parent.mkdir(parents=True)
    note.write_text(json.dumps({}))
    consents.withdraw(store, member, "r1")
    assert not note.exists()
    assert not consents.may_train(store, member, "r1", 1)


def test_the_consent_page_names_what_leaves_and_offers_four_answers(
    visitor: Visitor, store: Store, member: str
) -> None:
    consents.ask(store, member, facts(name="<i>autumn</i>", method="fedavg"), 12)
    page = visitor.client.get(f"/federations/{member}/runs/r1").text
    assert "&lt;i&gt;autumn&lt;/i&gt;" in page
    assert "<i>autumn</i>" not in page
    for said in ("2 tensors of unet with 64 numbers", "unet.a.lora_A (4 × 8)", "Never leaves", "FedAvg"):  # noqa: RUF001
        assert said in page
    for answer in (consents.RUN, consents.ROUND, consents.ALWAYS, consents.DECLINED):
        assert f'name="answer" value="{answer}"' in page
    assert visitor.post(f"/federations/{member}/runs/r1/answer", answer="everything").status_code == 400
    assert visitor.post(f"/federations/{member}/runs/r1/answer", answer=consents.ALWAYS).status_code == 303
    row = memberships.one(store, member)
    assert row is not None
    assert row.always


def test_a_runs_page_begins_with_its_rounds_and_for_whom_it_waits(visitor: Visitor, store: Store, member: str) -> None:
    owner, run = owner_of(store, member), f"/federations/{member}/runs/r1"

    def rounds() -> list[tuple[str, str]]:
        _, _, line = visitor.client.get(run).text.partition('<ol class="rounds"')
        node = r'<li class="(\w+(?: now)?)".*?Round </span>\d<span class="unseen">: (.*?)</span>'
        return re.findall(node, line.partition("</ol>")[0], re.DOTALL)

    consents.ask(store, member, facts(rounds=3), 12)
    assert rounds() == [], "nothing is known of what is not taken part in"
    assert "It waits for your answer; until then nothing is trained" in visitor.client.get(run).text
    consents.answer(store, member, "r1", consents.ROUND)
    assert "the server is asked what is to be done next" in visitor.client.get(run).text
    come = [("waiting", "To come")] * 2
    assert rounds() == [("running now", "Being trained for"), *come]
    assert begins(owner, 1)
    assert rounds() == [("waiting now", "Trained, not sent yet"), *come]
    owner.handed_in("r1", 1, (0.75, 0.5), is_taken=True)
    assert rounds() == [("running now", "Trained and sent"), *come]
    assert not begins(owner, 2)
    assert rounds() == [("done", "Joined"), ("waiting now", "Asks for your consent"), ("waiting", "To come")]
    assert "Round 2 waits for your answer; until then nothing is trained" in visitor.client.get(run).text
    memberships.pause(store, member, paused=True)
    page = visitor.client.get(run).text
    assert "You have paused this federation" in page
    assert ">Take part again</button>" in page
    assert visitor.post(f"/federations/{member}/resume", next=run).headers["Location"] == run
    assert "Take part again" not in visitor.client.get(run).text
    memberships.pause(store, member, paused=True)
    owner.took_home(facts(rounds=3).model_copy(update={"status": "done", "round": 3}), {})
    assert rounds() == [("done", "Joined")] * 3
    assert "waits for" not in visitor.client.get(run).text


def test_a_round_says_whom_it_waits_for_and_how_long(visitor: Visitor, store: Store, member: str) -> None:
    line = RoundLine(
        number=2, phase="collecting", selected=("studio", "museum"), accepted={"studio": 12}, deadline_in_s=3600.0,
        adapter=None, residual=None, seconds=0.0, loss=None, report=None, version=None, files={},
    )  # fmt: skip
    app, row = visitor.client.application, memberships.one(store, member)
    with app.test_request_context():
        going, ended = (
            render_template(
                "app/elsewhere.html", row=row, run_id="r1", found=Rounds(items=(line,), next=None), reason="",
                joint=[], curves=[], prompts=(), is_measured=True, over=over,
            )
            for over in (False, True)
        )  # fmt: skip
    assert "Round 2 waits for museum, for about another 1 hr;" in going
    assert "stand here once the server has measured them" in going
    assert "waits for" not in ended
    assert "Being trained for" not in ended
    assert "Stopped" in ended


def test_measured_figures_are_written_as_the_reader_writes_them(visitor: Visitor) -> None:
    app = visitor.client.application
    for language, told in (("en", "1,106.68"), ("uk", "1\N{NO-BREAK SPACE}106,68")):
        with app.test_request_context(), force_locale(language):
            assert app.jinja_env.filters["decimals"](1106.678, 2) == told
            assert app.jinja_env.filters["decimals"](-0.5, 4)[0] == "\N{MINUS SIGN}"


def test_a_picture_that_the_server_does_not_give_is_a_crossed_frame(
    visitor: Visitor, store: Store, member: str
) -> None:
    before = sorted(path.name for path in store.folder.iterdir())
    answer = visitor.client.get(f"/federations/{member}/runs/r1/pictures/{'0' * 64}.png")
    assert (answer.status_code, answer.mimetype, answer.cache_control.no_store) == (200, "image/svg+xml", True)
    assert sorted(path.name for path in store.folder.iterdir()) == before
    assert visitor.client.get(f"/federations/{member}/runs/r1/pictures/nonsense.png").status_code == 404


def test_limits_are_kept_and_a_wrong_one_is_refused_beside_its_field(
    visitor: Visitor, store: Store, member: str
) -> None:
    refused = visitor.post(f"/federations/{member}/limits", hours="25:00-03:00")
    assert (refused.status_code, "is no span of the day" in refused.text) == (422, True)
    assert visitor.post(f"/federations/{member}/limits", max_rounds="5", hours="22:00-06:00").status_code == 303
    row = memberships.one(store, member)
    assert row is not None
    assert memberships.policy(row) == Policy(max_rounds=5, hours="22:00-06:00")
    assert not row.always


def test_what_cannot_be_joined_is_said_before_anything_is_sent(
    visitor: Visitor, store: Store, pictures: object
) -> None:
    dataset = datasets.add(store, str(pictures))
    right = {"server": "https://x.example", "code": "AB12-CD34", "device": "d", "dataset": dataset}
    for name, typed, said in (
        ("server", "ftp://x", "is no address of a server"),
        ("server", "nonsense here", "is no address of a server"),
        ("code", "1", "A code has 8 to 80 characters. Copy all of it."),
    ):
        refused = visitor.post("/federations/join", **{**right, name: typed})
        beside = re.search(rf'id="[^"]*{name}-error"[^>]*>(.*?)</p>', refused.text, re.DOTALL)
        assert beside is not None
        assert (refused.status_code, said in beside[1]) == (422, True)
    with pytest.raises(MistakeError, match="dataset: it is no longer here"):
        memberships.join(store, JoinRequest(server="http://localhost:1", code="AB12-CD34", dataset="gone"))
    assert jobs.under_way(store, (memberships.JOIN,)) == []


def test_where_a_server_cannot_be_signed_in_at_is_said_beside_its_field(
    visitor: Visitor, store: Store, pictures: object
) -> None:
    page = visitor.client.get("/federations/sign-in")
    assert page.headers["Location"] == "/federations/join", "which says that it needs pictures first"
    datasets.add(store, str(pictures))
    for server, reason in (("ftp://x", "is no address of a server"), ("localhost:1", "does not answer")):
        refused = visitor.post("/federations/sign-in", server=server, device="loom")
        assert refused.status_code == 422
        beside = re.search(r'id="[^"]*server-error"[^>]*>(.*?)</p>', refused.text, re.DOTALL)
        assert beside is not None
        assert reason in beside[1]
        assert f'value="{server}"' in refused.text
    assert visitor.client.get("/federations/sign-in/none").status_code == 404


def attempt(store: Store, dataset: str, reason: str, status: str = jobs.FAILED) -> str:
    server = "https://x.example"
    job = memberships.join(store, JoinRequest(server=server, code="AB12-CD34", device="loom", dataset=dataset))
    assert jobs.claim(store, job) is not None
    jobs.end(store, job, status, reason)
    return job


def test_a_join_that_failed_is_gone_on_with_from_what_was_typed(
    visitor: Visitor, store: Store, pictures: object
) -> None:
    dataset = datasets.add(store, str(pictures))
    away = "https://x.example/api/v1/join: the server does not answer (timed out); check the address and the network"
    first = attempt(store, dataset, away)
    wrong = attempt(store, dataset, "there is no such join code; check its spelling or ask the coordinator for another")
    assert [job.id for job in memberships.failed_joins(store)] == [wrong], "of one server the newest"
    assert f'href="/federations/join?instead_of={wrong}"' in visitor.client.get("/federations").text
    for job, named, said in ((wrong, "code", "knows no such code"), (first, "server", "does not answer (timed out)")):
        page = visitor.client.get(f"/federations/join?instead_of={job}").text
        for value in ("https://x.example", "AB12-CD34", "loom"):
            assert f'value="{value}"' in page
        assert re.search(rf'<option value="{dataset}" selected', page)
        beside = re.search(rf'id="[^"]*{named}-error"[^>]*>(.*?)</p>', page, re.DOTALL)
        assert beside is not None
        assert said in beside[1]
    again = {"server": "https://y.example", "code": "EF56-GH78", "device": "loom", "dataset": dataset}
    assert visitor.post("/federations/join", instead_of=wrong, **again).status_code == 303
    assert memberships.failed_joins(store) == []
    other = attempt(store, dataset, away)
    assert visitor.post(f"/activity/{other}/aside").status_code == 303
    assert "Change it and try again" not in visitor.client.get("/federations").text
    kept = jobs.one(store, other)
    assert kept is not None
    assert memberships.request_of(kept).code == "AB12-CD34", "it can still be resumed"


def test_a_join_that_the_server_refuses_is_changed_and_put_aside_once_another_succeeds(
    visitor: Visitor, store: Store, pictures: object
) -> None:
    dataset = datasets.add(store, str(pictures))
    again = "Change it and try again"
    attempt(store, dataset, "the server does not answer")
    page = visitor.client.get("/activity").text
    assert (again in page, ">Resume</button>" in page) == (True, True)
    refused = attempt(store, dataset, "there is no such join code; check its spelling", status=jobs.REFUSED)
    page = visitor.client.get("/activity").text
    assert (page.count(again), page.count(">Resume</button>")) == (2, 1)
    assert memberships.failed_joins(store)[0].id == refused
    bad = JoinRequest(server="localhost:1", code="AB12-CD34", device="a\x07", dataset=dataset)
    carry_out(store, ClientSettings(folder=store.folder), memberships.join(store, bad))
    assert "The code or this machine&#39;s name cannot be used. Check both." in visitor.client.get("/federations").text
    jobs.put_aside(store, jobs.listed(store, 1)[0].id)
    job_id = memberships.join(store, JoinRequest(server="x.example", code="AB12-CD34", device="d", dataset=dataset))
    waits = visitor.client.get("/federations").text
    assert ("0 of" in waits, "It waits for its turn" in waits) == (False, True)
    job = jobs.claim(store, job_id)
    assert job is not None
    assert "given up after 10 seconds without" in visitor.client.get("/federations").text
    datasets.remove(store, dataset)  # which ends no joining: its code is used by now
    memberships.keep(
        store,
        job,
        Device(server="https://x.example", device_id="d1", member="studio", federation_id="f1", federation="Icons"),
    )
    assert again not in visitor.client.get("/activity").text
    row = memberships.one(store, job_id)
    assert (row and row.dataset_id, row and row.member) == (None, "studio")
    assert {each.status for each in jobs.listed(store, 3)} == {jobs.RUNNING, jobs.ASIDE}


def test_who_was_removed_joins_again_from_its_page(visitor: Visitor, store: Store, member: str, pictures: Path) -> None:
    sets = [datasets.add(store, str(folder)) for folder in (pictures, shutil.copytree(pictures, f"{pictures}-2"))]
    bound = sets[1]
    memberships.bind(store, member, bound)
    assert ">Pause taking part</button>" in visitor.client.get(f"/federations/{member}").text
    memberships.note_removed(store, member)
    page = visitor.client.get(f"/federations/{member}").text
    assert ("Pause taking part" in page, "Models of the server" in page) == (False, False)
    [form] = [unescape(each) for each in re.findall(r'href="([^"]+)">Join</a>', page)]
    page = visitor.client.get(form).text
    assert 'value="https://x.example"' in page
    assert f'<option value="{bound}" selected' in page


def test_limits_outlive_a_removal_by_the_coordinator(visitor: Visitor, store: Store, pictures: Path) -> None:
    member = joined(store, "0100")
    old = Device(server="https://x.example", device_id="d1", member="studio", federation_id="f1", federation="Museums")
    home = memberships.home(store, member)
    home.folder.mkdir(parents=True)
    home.keep(old)
    memberships.limit(store, member, Policy(max_rounds=4), always=True)
    memberships.note_removed(store, member)
    assert "They hold again when you join anew" in visitor.client.get(f"/federations/{member}").text
    dataset = datasets.add(store, str(pictures))
    for federation_id, named, kept in (
        ("f1", "guest", Policy(max_rounds=4)), ("f1", "studio", Policy(max_rounds=4)), ("f2", "studio", Policy()),
    ):  # fmt: skip
        asked = JoinRequest(server="https://x.example", code="AB12-CD34", device="loom", dataset=dataset)
        job = jobs.claim(store, memberships.join(store, asked))
        assert job is not None
        memberships.keep(store, job, old.model_copy(update={"federation_id": federation_id, "member": named}))
        row = memberships.one(store, job.id)
        assert row is not None
        assert (memberships.policy(row), row.always) == (kept, False), "to begin without being asked is said anew"
        page = visitor.client.get(f"/federations/{job.id}").text
        assert ("You set them before this machine joined anew" in page) is (kept == Policy(max_rounds=4))
        memberships.leave(store, job.id)


def test_what_was_removed_and_joined_again_stands_once(visitor: Visitor, store: Store, member: str) -> None:
    memberships.say(store, member, REVOKED, is_held_up=True)
    memberships.note_removed(store, member)
    consents.ask(store, member, facts(), 12)
    page = visitor.client.get("/federations").text
    assert ("Removed" in page, "new code, and join again with it." in page) == (True, True), "it says how to come back"
    assert consents.waiting(store) == [], "it takes no answer"
    other = joined(store, "01b0", federation="Archives")
    assert memberships.replaced(memberships.listed(store)) == {}, "another federation is another machine's place"
    anew = joined(store, "01b1")
    places = memberships.replaced(memberships.listed(store))
    assert {each: row.id for each, row in places.items()} == {member: anew}
    assert [memberships.speaks_as(store, each) for each in (member, other, anew)] == [anew, other, anew]
    page = visitor.client.get("/federations").text
    current, folded = page.split("<details", 1)
    assert all(f"/federations/{each}" in current for each in (other, anew))
    assert (f"/federations/{member}" in current, f"/federations/{member}" in folded) == (False, True)
    page = visitor.client.get(f"/federations/{member}").text
    assert f'href="/federations/{anew}"' in page
    assert "Pause taking part" not in page
    memberships.say(store, member, "run 'autumn': you take part", "r1", is_held_up=False)
    assert memberships.replaced(memberships.listed(store)) == {}, "the server has let it in again"


def test_leaving_forgets_the_key_and_all_that_was_fetched(visitor: Visitor, store: Store, member: str) -> None:
    home = memberships.home(store, member)
    home.folder.mkdir(parents=True)
    (home.folder / "device.key").write_text("secret")
    consents.ask(store, member, facts(), 12)
    assert visitor.post(f"/federations/{member}/leave").status_code == 303
    assert not home.folder.exists()
    assert memberships.listed(store) == []
    assert consents.listed(store) == []
    assert visitor.client.get(f"/federations/{member}").status_code == 404
    assert visitor.client.get(f"/federations/{member}/runs/r1").status_code == 404
