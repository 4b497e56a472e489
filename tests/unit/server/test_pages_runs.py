"""Pages of runs: who sees them, what they say, what a coordinator does there, and what a new run will cost."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from statements import counted
from tests.unit.server.conftest import Api, Clock
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import text_of
from tests.unit.server.run_setting import MEASURED, MEMBERS, Setting, adapter, plan_of

from fedflow.federation.protocol import Told
from fedflow.server.api import events as streams
from fedflow.server.database.tables import Job, Round, Run, RunMember
from fedflow.server.errors import Unprocessable
from fedflow.server.pages import run_words
from fedflow.server.services import (
    explain,
    federations,
    jobs,
    processes,
    role_changes,
    run_list,
    runs,
    scores,
    sign_in,
    tokens,
    uploads,
)
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.services.work import work_for
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import EVALUATION, carry_out


@pytest.fixture
def settings(tmp_path) -> ServerSettings:  # type: ignore[no-untyped-def]
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store, setting: Setting) -> Site:
    assert setting.run
    return Site.of(app, store)


def test_a_run_says_how_it_goes_and_why_it_waits(site: Site, setting: Setting) -> None:
    site.account("vera", "viewer")
    reader = site.reader("vera")
    work_for(site.store, setting.callers["a"], (Told("hours", setting.run, 1),))
    setting.hand_in("b", 1, adapter(1), examples=7)
    page = reader.get(f"/runs/{setting.run}").text
    said = text_of(page)
    assert "1 of 3 updates are in. Waiting for a (trains only at the hours its owner set), c (last seen" in said
    assert re.search(r"with fewer it waits [^.]+ more\.", said)
    assert "Update accepted 7 pictures" in said
    assert said.count("· due") == 2, "of those who have not answered"
    uploads.create(site.store, setting.callers["c"], 1000, "", 10**9, 1e6)
    assert re.search(r"Sending 10 pictures .* last data", text_of(reader.get(f"/runs/{setting.run}").text))
    assert "Pause run" not in said, "a viewer looks"
    assert text_of(reader.get("/runs").text).count("test Running 1 of 2") == 1
    assert "New run" not in reader.get("/runs").text


def test_what_moves_brings_the_pages_head_along(site: Site, setting: Setting) -> None:
    """The state's badge and the buttons stand outside the part that the page asks for anew."""
    site.account("cora", "coordinator")
    reader = site.reader("cora")
    reader.post(f"/runs/{setting.run}/pause")
    part = reader.get(f"/runs/{setting.run}", headers={"HX-Request": "true"}).text
    assert "<html" not in part
    head = part[part.index('id="page-state" hx-swap-oob="morph"') :]
    assert "Paused" in head
    assert "Pause run" not in head
    assert "Resume run" in head[head.index('id="page-action" hx-swap-oob="morph"') :]


def test_what_a_reader_is_brought_has_its_place_on_the_page(site: Site, setting: Setting) -> None:
    site.account("vera", "viewer")
    vera, address = site.reader("vera"), f"/runs/{setting.run}"
    whole, part = vera.get(address).text, vera.get(address, headers={"HX-Request": "true"}).text
    brought = re.findall(r'id="([^"]+)" hx-swap-oob', part)
    assert "page-state" in brought
    assert [each for each in brought if f'id="{each}"' not in whole] == []


def test_nobody_is_led_to_the_sign_in_and_strangers_see_nothing(site: Site, setting: Setting) -> None:
    address = f"/runs/{setting.run}"
    answer = site.reader().get(address)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/sign-in?next=/runs/{setting.run}")
    other = federations.create(site.store, "other")
    Site(site.app, site.store, other).account("stranger", "administrator")
    stranger = site.reader("stranger")
    assert stranger.get(address).status_code == 404
    assert stranger.get(f"{address}/stream").status_code == 404
    assert stranger.post(f"{address}/stop").status_code == 404
    assert "No runs yet" in stranger.get("/runs").text
    assert setting.status() == "running"


def test_a_members_page_tells_of_no_question_that_is_past(site: Site, setting: Setting) -> None:
    site.account("vera", "viewer")
    with site.store.begin() as session:
        member = session.scalars(select(RunMember.member_id).where(RunMember.run_id == setting.run)).first()
        session.execute(update(RunMember).values(consent="asked"))
    vera, page = site.reader("vera"), f"/members/{member}"
    assert "test Running asked" in text_of(vera.get(page).text)
    runs.stop(site.store, setting.run)
    assert "test Stopped did not answer" in text_of(vera.get(page).text)


@pytest.mark.parametrize(
    ("status", "action", "said"),
    [
        ("done", "pause", "The run is done already, so there is nothing to pause."),
        ("done", "resume", "The run is done already, so there is nothing to resume."),
        ("done", "stop", "The run is done already, so there is nothing to stop."),
        ("stopped", "pause", "The run was stopped already, so there is nothing to pause."),
        ("stopped", "resume", "The run was stopped for good. Start a new one."),
        ("failed", "pause", "The run has failed, so there is nothing to pause."),
        ("preparing", "pause", "The run is being prepared. It can be paused once it is running."),
    ],
)
def test_what_a_page_of_before_asks_of_a_run_is_refused_in_words(
    site: Site, setting: Setting, status: str, action: str, said: str
) -> None:
    site.account("cora", "coordinator")
    with site.store.begin() as session:
        session.get_one(Run, setting.run).status = status
    cora = site.reader("cora")
    answer = cora.post(f"/runs/{setting.run}/{action}")
    assert said in text_of(cora.get(answer.headers["Location"]).text)


def test_a_coordinator_pauses_goes_on_closes_and_stops(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    site.account("vera", "viewer")
    address = f"/runs/{setting.run}"
    assert site.reader("vera").post(f"{address}/pause").status_code == 403
    cora = site.reader("cora")
    assert cora.post(f"{address}/pause").status_code == 303
    assert setting.status() == "paused"
    assert "No work is handed out until it is resumed" in text_of(cora.get(address).text)
    assert cora.post(f"{address}/resume").status_code == 303
    cora.post(f"{address}/close-round", {"round": "1"})
    assert "Fewer than 2 updates are never joined" in text_of(cora.get(address).text), "what cannot be done is said"
    for seed, member in enumerate(("a", "b")):
        setting.hand_in(member, 1, adapter(seed + 1))
    page = cora.get(address).text
    assert "Close round now" in page
    assert re.search(r'<dialog id="close-round-1".*?<input type="hidden" name="round" value="1">', page, re.DOTALL)
    for stale in ({"round": "2"}, {}):
        cora.post(f"{address}/close-round", stale)
        assert "and round 1 is under way by now. Look at that one" in text_of(cora.get(address).text)
    cora.post(f"{address}/close-round", {"round": "1"})
    assert "The round is closed." in text_of(cora.get(address).text)
    setting.aggregate()
    assert setting.work("a").round == 2
    cora.post(f"{address}/stop")
    assert setting.status() == "stopped"
    assert "Stopped in round 2" in text_of(cora.get(address).text)
    assert site.reader("cora").post(f"{address}/fly").status_code in (404, 405)


def test_a_program_may_name_the_round_that_it_closes(site: Site, setting: Setting) -> None:
    cora = Caller("person", site.account("cora", "coordinator"))
    api = Api(site.app.test_client(), tokens.make(site.store, cora, "script", ("read", "runs"), 3600.0))
    for seed, member in enumerate(("a", "b")):
        setting.hand_in(member, 1, adapter(seed + 1))
    path = f"/api/v1/runs/{setting.run}/close-round"
    refused = api("POST", f"{path}?round=2")
    assert refused.status_code == 409
    assert "round 2 is not under way, round 1 is" in refused.text
    assert api("POST", f"{path}?round=soon").status_code == 422
    assert api("POST", path).status_code == 200, "as before there was a number"


def test_a_stopped_run_promises_nothing_and_leads_on(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    setting.hand_in("a", 1, adapter(1))
    with site.store.begin() as session:
        session.execute(update(RunMember).values(consent="asked"))
    cora.post(f"/runs/{setting.run}/stop")
    page = cora.get(f"/runs/{setting.run}").text
    said = text_of(page)
    assert "Stopped in the first round, so no round is committed." in said
    assert "There are none: the run was stopped" in said
    assert "Charts appear" not in said
    assert "Asked for consent" not in said
    assert "Did not answer" in said
    assert f'href="/federations/{site.federation_id}/runs/new"' in page


def test_another_sites_form_changes_nothing(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    answer = cora.client.post(f"/runs/{setting.run}/stop", data={"csrf_token": "guessed"})
    assert answer.status_code == 403
    assert setting.status() == "running"


def test_who_declined_can_be_asked_again(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    runs.consent(site.store, setting.callers["c"], setting.run, False, 1, "")
    assert "Ask again" in cora.get(f"/runs/{setting.run}").text
    cora.post(f"/runs/{setting.run}/ask-again", {"member": "c"})
    assert "c is asked again." in text_of(cora.get(f"/runs/{setting.run}").text)
    assert setting.work("c").action == "consent"


def test_why_a_run_failed_is_said_in_the_readers_language(site: Site, setting: Setting) -> None:
    for member in ("b", "c"):
        runs.consent(site.store, setting.callers[member], setting.run, False, 1, "")
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    for page in (f"/runs/{setting.run}", "/"):
        told = text_of(cora.get(page).text)
        assert "failed in round 1" in told.lower()
        assert "Only a left. The others declined" in told
        assert "Лишилися: a. Решта" in text_of(cora.get(page, headers={"Accept-Language": "uk"}).text)


def test_a_machine_that_calls_no_more_is_told_as_offline(site: Site, setting: Setting, clock: Clock) -> None:
    """Whatever it was at when it called last: that need not be so any longer."""
    with site.store.begin() as session:
        session.execute(update(RunMember).where(RunMember.run_id == setting.run).values(consent="asked"))
    runs.consent(site.store, setting.callers["a"], setting.run, True, 10, "")
    work_for(site.store, setting.callers["a"], (Told("training", setting.run, 1),))
    work_for(site.store, setting.callers["b"], ())
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    clock.now += 119
    page = text_of(cora.get(f"/runs/{setting.run}").text)
    assert "Waiting for a (trains), b (asked for consent)" in page
    assert "a (last seen 119 s ago; it trains)" in explain.explain(site.store, setting.run)
    clock.now += 2
    page = text_of(cora.get(f"/runs/{setting.run}").text)
    assert "Waiting for a (offline, last seen 2 min" in page
    assert "b (asked for consent, but offline, last seen 2 min" in page
    told = explain.explain(site.store, setting.run)
    assert "a (offline, last seen 2 min ago), b (asked for consent, but offline, last seen 2 min ago)" in told


def test_a_failed_run_says_in_which_round_and_keeps_only_what_is_there(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    for number, kept in ((1, False), (2, True)):
        with site.store.begin() as session:
            row = session.get_one(Run, setting.run)
            row.status, row.message, row.round = "failed", "the disk is full", number
        page = cora.get(f"/runs/{setting.run}").text
        told = text_of(page)
        assert f"Failed Round {number} of 2" in told
        assert f"Failed in round {number}. The disk is full." in told
        assert ("Committed rounds are kept." in told.split("Fix the cause")[0]) == kept
    assert "Failed The disk is full." in text_of(cora.get("/runs").text), "the list tells the reason too"


def test_the_button_that_goes_on_is_the_last_one(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1))
    setting.aggregate()
    with site.store.begin() as session:
        session.get_one(Run, setting.run).status = "failed"
    page = cora.get(f"/runs/{setting.run}").text
    buttons = re.findall(r'class="button (\w+)"', page[page.index('id="page-action"') : page.index("</header>")])
    assert buttons == ["quiet", "danger", "primary"]


def test_why_an_update_was_refused_is_said_in_the_readers_language(site: Site, setting: Setting) -> None:
    with pytest.raises(Unprocessable):
        setting.hand_in("a", 1, adapter(1, size=1e6))
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    assert text_of(cora.get(f"/runs/{setting.run}").text).count("The update's values are too large: their norm is") == 2
    spoken = text_of(cora.get(f"/runs/{setting.run}", headers={"Accept-Language": "uk"}).text)
    assert spoken.count("Значення в оновленні завеликі: їхня норма") == 2


def test_charts_figures_and_gallery_stand_on_the_page(site: Site, setting: Setting) -> None:
    store = site.store
    with store.begin() as session:
        scores.ask(session, store, _scored(session, setting), 0)
    for seed, member in enumerate(MEMBERS):
        setting.hand_in(member, 1, adapter(seed + 1), metrics={"last_loss": 0.2})
    setting.aggregate()
    picture = store.blobs.put(b"\x89PNG picture")
    for job_id in jobs.waiting(store, ("evaluate",)):
        asked = scores.to_score(store, _job(store, job_id))
        assert asked is not None
        features = store.blobs.put(b"features")
        drawn = replace(MEASURED, features=features, prompts=["<b>cat</b>"], gallery=[picture])
        scores.keep(store, setting.run, asked, drawn)
    for job_id in jobs.waiting(store, ("chart",)):
        carry_out(store, ServerSettings(folder=store.folder), EVALUATION, job_id, "worker")
    site.account("vera", "viewer")
    vera = site.reader("vera")
    page = vera.get(f"/runs/{setting.run}").text
    assert page.count("<svg stroke-linejoin") == 3
    assert "style=" not in page
    assert "80.0 to 100.0" in page, "FID's interval"
    assert "reach a KID of 0.001 (\N{MINUS SIGN}0.010 to 0.020)" in text_of(page)
    assert len(re.findall(r">floor 0\.001</text>", page)) == 1, "on KID's chart, and not on FID's"
    assert "&lt;b&gt;cat&lt;/b&gt;" in page
    assert "<b>cat" not in page
    shown = vera.get(f"/pictures/{picture}", buffered=True)
    assert (shown.data, shown.mimetype) == (b"\x89PNG picture", "image/png")
    assert vera.get(f"/pictures/{features}").status_code == 404, "a viewer reads no features"
    drawn = text_of(vera.get(f"/runs/{setting.run}?by=nobody").text)
    assert "Gallery Aggregated Side by side a b c Prompt Base Round 1 <b>cat</b>" in drawn
    beside = vera.get(f"/runs/{setting.run}?round=1").text
    assert "Models of round 1 Prompt Base Aggregated a b c <b>cat</b>" in text_of(beside)
    assert re.findall(r'data-compares="([^"]+)"', beside) == ["Base", "Aggregated", "a", "b", "c"]
    assert f'href="/runs/{setting.run}?round=1#gallery"' in beside, "a committed round leads to its pictures"
    assert "Models of round" not in text_of(vera.get(f"/runs/{setting.run}?round=9").text)
    spoken = vera.get(f"/runs/{setting.run}", headers={"Accept-Language": "uk"}).text
    of_figures = text_of(spoken[spoken.index('id="figures"') :].partition("</details>")[0])
    assert "Базова" in of_figures
    assert "Спільна" in of_figures
    assert "aggregated" not in of_figures
    assert ">базова 90,0</text>" in spoken
    assert not re.search(r">\S*( \S)?\d+\.\d+</text>", spoken), "a decimal point in a drawing"


def test_what_is_still_to_be_measured_is_said_and_then_nothing_is_asked_for_any_more(
    site: Site, setting: Setting
) -> None:
    store, address = site.store, f"/runs/{setting.run}"
    site.account("vera", "viewer")
    vera = site.reader("vera")
    assert "Charts appear when the first round is committed." in text_of(vera.get(address).text)
    with store.begin() as session:
        run = _scored(session, setting)
        run.status, run.round = "done", 2
        session.add(_committed(setting.run))
        for number in (1, 2):
            scores.ask(session, store, run, number)
    part = {"HX-Request": "true"}
    told = text_of(vera.get(address).text)
    assert "2 models are still to be measured. No evaluator is running." in told
    assert "Charts No evaluator is running to draw them." in told
    processes.seen(store, "studio-1", "evaluation", "0.1.0")
    told = text_of(vera.get(address).text)
    assert "Charts The charts are being drawn. 2 models are still to be measured. Figures and pictures appear" in told
    whole = vera.get(address).text
    assert 'hx-get="' in whole
    assert 'sse-close="over"' in whole
    assert vera.get(address, headers=part).status_code == 200
    failed, other = jobs.waiting(store, ("evaluate",))
    jobs.claim(store, failed, "worker")
    jobs.fail(
        store,
        failed,
        "worker",
        "the held-out pictures 'heldout' are gone; put the folder back, then try again",
        give_up=True,
    )
    jobs.claim(store, other, "worker")
    jobs.fail(store, other, "worker", "OSError: [Errno 5] broken: '/srv/data/blobs/aa'", give_up=True)
    assert scores.not_measured(store, setting.run)[0] == "the worker gave up; its log says more"
    told = text_of(vera.get(address).text)
    assert "FID and KID of 1 model are not measured: The worker gave up on this job." in told
    jobs.finish(store, other)
    told = text_of(vera.get(address).text)
    assert "FID and KID of 1 model are not measured: The server no longer has the held-out pictures" in told
    assert vera.get(address, headers=part).status_code == 286, "asks no more"
    whole = vera.get(address)
    assert whole.status_code == 200
    assert 'id="live" hx-get' not in whole.text
    assert "sse-connect" not in whole.text
    assert "still to be measured" not in whole.text
    stream = vera.client.get(f"{address}/stream", buffered=False)
    assert b"event: over" in b"".join(_bytes(each) for each in stream.response)
    stream.close()


@pytest.mark.parametrize(("action", "shown", "word"), [("stop", "refused", "Stopped"), ("pause", "waiting", "Paused")])
def test_the_round_of_a_run_that_does_not_go_on_does_not_run(
    site: Site, setting: Setting, action: str, shown: str, word: str
) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/runs/{setting.run}"
    assert 'class="running now"' in cora.get(address).text
    cora.post(f"{address}/{action}")
    page = cora.get(address).text
    assert f'class="{shown} now"' in page
    assert 'class="running now"' not in page
    assert f": {word}</span>" in page


def test_the_round_of_a_failed_run_has_failed(site: Site, setting: Setting) -> None:
    for member in ("b", "c"):
        runs.consent(site.store, setting.callers[member], setting.run, False, 1, "")
    site.account("vera", "viewer")
    page = site.reader("vera").get(f"/runs/{setting.run}").text
    assert 'class="failed now"' in page
    assert 'class="running now"' not in page


def test_no_sentence_ends_twice_in_ukrainian(site: Site, setting: Setting) -> None:
    """A short unit ends with a full stop of its own."""
    site.account("vera", "viewer")
    told = text_of(site.reader("vera").get(f"/runs/{setting.run}", headers={"Accept-Language": "uk"}).text)
    assert "чекатиме на решту." in told
    assert ".." not in told


def test_an_interval_reads_well_below_zero(site: Site) -> None:
    with site.app.test_request_context(headers={"Accept-Language": "en"}):
        assert run_words.interval(-2.7494, 0.6331, 3) == "\N{MINUS SIGN}2.749 to 0.633"
        assert run_words.figure(-0.0001, 3) == "0.000"
    with site.app.test_request_context(headers={"Accept-Language": "uk"}):
        assert run_words.interval(-2.7494, -0.6331, 3) == "від \N{MINUS SIGN}2,749 до \N{MINUS SIGN}0,633"


def test_what_a_member_does_is_called_otherwise_than_a_part_of_the_plan(site: Site, setting: Setting) -> None:
    setting.work("a")
    site.account("cora", "coordinator")
    cora, ukrainian = site.reader("cora"), {"Accept-Language": "uk"}
    assert "Навчає" in text_of(cora.get(f"/runs/{setting.run}", headers=ukrainian).text)
    form = text_of(cora.get(f"/federations/{site.federation_id}/runs/new", headers=ukrainian).text)
    assert "Навчання" in form
    assert "Навчає" not in form
    assert "Завантаження" in form
    assert "Завантажити" not in form


def test_a_plan_is_told_in_words(site: Site, setting: Setting) -> None:
    site.account("vera", "viewer")
    vera = site.reader("vera")
    page = vera.get(f"/runs/{setting.run}").text
    told = text_of(page[page.index("Plan</h2>") :])
    for pair in (
        "Base model Starter, which comes with FedFlow",
        "Method FedEx-LoRA: adapters, joined exactly",
        "Text encoder no",
        "Learning rate 0.001",
        "Deadline 1 min 40 sec",
        "Members per round all",
        "Seed 1",
    ):
        assert pair in told, pair
    assert not re.search(r"True|False|None|_s\b|lora\.|baselines|entral", told)
    told = text_of(vera.get(f"/runs/{setting.run}", headers={"Accept-Language": "uk"}).text)
    assert "Базова модель Початкова, з поставки FedFlow" in told
    assert "Швидкість навчання 0,001" in told


def test_the_stream_tells_that_something_changed(site: Site, setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedflow.server.pages.runs.STREAM_S", 1.5)
    site.account("vera", "viewer")
    answer = site.reader("vera").client.get(f"/runs/{setting.run}/stream", buffered=False)
    told = iter(answer.response)
    assert b"retry" in _bytes(next(told))
    runs.pause(site.store, setting.run)
    assert b"event: changed" in _bytes(next(told))
    assert set(told) <= {b": nothing new\n\n"}
    answer.close()
    streams.STREAMS.enter(SERVER, 2)()  # its place, the only one of two threads, is free again


def test_a_removed_member_was_seen_all_the_same(site: Site, setting: Setting) -> None:
    site.account("vera", "viewer")
    reader = site.reader("vera")
    found = federations.members(site.store, site.federation_id)
    federations.remove_member(site.store, next(each.id for each in found if each.name == "c"))
    page = text_of(reader.get(f"/runs/{setting.run}").text)
    assert "c Removed" in page
    assert "never seen yet" not in page


@pytest.mark.parametrize("ends", ["sign-in", "role"])
def test_the_stream_ends_with_what_lets_its_reader_in(site: Site, setting: Setting, ends: str) -> None:
    vera = site.account("vera", "viewer")
    reader = site.reader("vera")
    answer = reader.client.get(f"/runs/{setting.run}/stream", buffered=False)
    told = iter(answer.response)
    assert b"retry" in _bytes(next(told))
    if ends == "role":
        site.account("ada", "administrator")
        role_changes.take(site.store, SERVER, site.federation_id, vera)
    else:
        with site.store.begin() as session:
            sign_in.end_all(session, vera)
    runs.pause(site.store, setting.run)
    assert list(told) == []
    answer.close()


def test_a_run_page_that_is_left_is_missed_though_nothing_happens(
    site: Site, setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reloads take none of the few streams that a reader has: a quiet stream writes, and so finds nobody there."""
    monkeypatch.setattr("fedflow.server.pages.runs.POLL_S", 0.01)
    site.account("vera", "viewer")
    answer = site.reader("vera").client.get(f"/runs/{setting.run}/stream", buffered=False)
    told = iter(answer.response)
    assert b"retry" in _bytes(next(told))
    assert _bytes(next(told)) == b": nothing new\n\n"
    answer.close()


def test_one_reader_takes_not_all_streams(site: Site, setting: Setting) -> None:
    for name in ("vera", "other"):
        site.account(name, "viewer")
    vera, other = (site.reader(name).client for name in ("vera", "other"))
    opened = [vera.get(f"/runs/{setting.run}/stream", buffered=False) for _ in range(streams.MOST_OF_A_CALLER)]
    assert {answer.status_code for answer in opened} == {200}
    refused = site.reader("vera").get(f"/runs/{setting.run}/stream")
    assert refused.status_code == 429
    assert f"already follows {streams.MOST_OF_A_CALLER} pages of runs" in text_of(refused.text)
    opened.append(other.get(f"/runs/{setting.run}/stream", buffered=False))
    assert opened[-1].status_code == 200
    for answer in opened:
        answer.close()
    again = vera.get(f"/runs/{setting.run}/stream", buffered=False)
    assert again.status_code == 200
    again.close()


def test_a_list_takes_as_many_queries_whatever_its_length(site: Site, setting: Setting) -> None:
    with counted(site.store._reading) as few:
        assert len(run_list.newest(site.store, SERVER)) == 1
    for number in range(5):
        runs.create(site.store, site.federation_id, plan_of(name=f"run {number}"))
    with counted(site.store._reading) as many:
        found = run_list.newest(site.store, SERVER)
    assert [line.name for line in found] == [*(f"run {number}" for number in range(4, -1, -1)), "test"]
    assert len(many) == len(few)
    older = run_list.newest(site.store, SERVER, before=found[2].id, limit=2)
    assert [line.name for line in older] == ["run 1", "run 0"]
    assert setting.run == found[-1].id


def _bytes(chunk: object) -> bytes:
    return chunk if isinstance(chunk, bytes) else str(chunk).encode()


def _scored(session: Session, setting: Setting) -> Run:
    run = session.get_one(Run, setting.run)
    run.prepared = {**(run.prepared or {}), "scored": True}
    return run


def _committed(run_id: str) -> Round:
    return Round(
        run_id=run_id, number=2, phase="done", selected=list(MEMBERS), opened_at=1.0, deadline_at=2.0, committed_at=2.0
    )


def _job(store: Store, job_id: str) -> Job:
    with store.read() as session:
        return session.get_one(Job, job_id)
