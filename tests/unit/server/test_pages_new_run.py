"""The form of a new run: what it speaks of, what it offers, what it will cost, and the run that it starts."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select
from statements import counted
from tests.unit.server.conftest import Api
from tests.unit.server.page_setting import Site
from tests.unit.server.reader import faults, text_of, value_of
from tests.unit.server.run_setting import MEMBERS, Setting, adapter, plan_of

import fedflow.plan
from fedflow.plan import Plan
from fedflow.server.api import current
from fedflow.server.database.tables import Receipt, Run
from fedflow.server.errors import Unprocessable
from fedflow.server.pages import plan_words
from fedflow.server.services import estimating, federations, files, policies, registry, run_list, runs
from fedflow.server.services.identity import SERVER
from fedflow.server.services.policies import Policies
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.web import forms

SOURCE = Path(fedflow.plan.__file__).read_text(encoding="utf-8")


@pytest.fixture
def settings(tmp_path) -> ServerSettings:  # type: ignore[no-untyped-def]
    """The services are tested on both databases; pages on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def site(app: Flask, store: Store, setting: Setting) -> Site:
    assert setting.run
    return Site.of(app, store)


def choices(page: str, field: str) -> dict[str, str]:
    """What a list of a form offers: values and words."""
    found = re.search(rf'<select id="f-{field}".*?</select>', page, re.DOTALL)
    assert found is not None
    return {value: html.unescape(word) for value, word in re.findall(r'value="([^"]*)"[^>]*>([^<]*)<', found[0])}


def test_a_new_run_is_checked_told_its_cost_and_started_once(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/federations/{site.federation_id}/runs/new"
    page = cora.get(address).text
    fields = dict(re.findall(r'<input type="hidden" name="(identifier)" value="([^"]+)"', page))
    assert page.count('name="member"') == 3
    assert "FID and KID are not measured: the server has no held-out pictures for this run." in text_of(page)
    assert re.search(r"0\.\d+ MB from each member, each round", text_of(page))
    assert re.search(r"All rounds together \S+ MB in \d+ rounds, the base model not counted", text_of(page))
    assert re.findall(r'aria-current="page"[^>]*>\s*<span>(\w+)<', page)[:1] == ["Runs"], "as its trail says"
    crowded = cora.post(f"{address}/check", {**fields, "member": ["a", "b"], "network.quorum": "3"}).text
    assert "3 is more than the number of members of a round, 2." in text_of(crowded)
    wrong = {**fields, "member": ["a", "b"], "rounds": "0"}
    checked = cora.post(f"{address}/check", wrong).text
    assert "Must be at least 1." in checked
    assert "Shown once every field is valid." in checked
    assert cora.post(address, wrong).status_code == 422
    right = {**fields, "member": ["a", "b"], "name": "autumn", "rounds": "4"}
    for path in ("nowhere", "/etc/passwd"):
        refused = cora.post(address, {**right, "model": path})
        assert refused.status_code == 422
        assert "Other folders and files are for an administrator of the server." in faults(refused)["model"]
    checked = cora.post(f"{address}/check", {**right, "model": "/etc/passwd"})
    assert "Other folders and files are for an administrator" in faults(checked)["model"], "already while one types"
    first, again = cora.post(address, right), cora.post(address, right)
    assert first.status_code == 303
    assert first.headers["Location"] == again.headers["Location"], "a form that is sent twice starts one run"
    named = [line for line in run_list.newest(site.store, SERVER) if line.name == "autumn"]
    assert [(line.rounds, line.status) for line in named] == [(4, "preparing")]
    assert "Being prepared" in cora.get(first.headers["Location"]).text
    started = runs.plan(site.store, first.headers["Location"].rsplit("/")[-1])
    assert started.data.root is None, "nor against pictures that nobody named"


def test_the_form_of_a_new_run_speaks_of_what_a_federation_has(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/federations/{site.federation_id}/runs/new"
    page = cora.get(address)
    told = text_of(page.text)
    for of_a_simulation in ("plan file", "client", "on one machine", "r x k", "B A", "86400", "entral", "hipped"):
        assert of_a_simulation not in told.replace(" clip", ""), of_a_simulation
    assert value_of(page, "network.deadline_s") == "24"
    assert "Members per round" in told
    names = {name for name in plan_words.NOT_USED if f'name="{name}"' in page.text}
    assert names == set()
    sent = {"member": ["a", "b"], "network.deadline_s": "1.5", "network.grace_s": "0"}
    wrong = cora.post(f"{address}/check", {**sent, "network.deadline_s": "soon", "rounds": "0"})
    assert faults(wrong)["network.deadline_s"] == "Write a number."
    assert value_of(wrong, "network.deadline_s") == "soon"
    started = cora.post(address, sent)
    assert started.status_code == 303
    with site.store.read() as session:
        plan = session.get_one(Run, started.headers["Location"].rpartition("/")[2]).plan
    assert plan["network"]["deadline_s"] == 5400


def test_the_time_is_told_by_the_members_pace_as_soon_as_there_is_one(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/federations/{site.federation_id}/runs/new"
    usual = "on two processor cores; much less on a graphics card"
    assert usual in text_of(cora.get(address).text)
    for number, member in enumerate(MEMBERS):
        unbelievable = {"steps": 1e308, "seconds": (1e-300, 1e308, 0.0)[number]}
        setting.hand_in(member, 1, adapter(number), metrics=unbelievable)
    assert usual in text_of(cora.get(address).text)
    setting.aggregate()
    for number, member in enumerate(MEMBERS):
        setting.hand_in(member, 2, adapter(10 + number), metrics={"steps": 5.0, "seconds": 2.0})
    assert "at the slowest member's pace so far" in text_of(cora.get(address).text)
    store, asked = site.store, []
    for _ in range(2):  # the members' last answers in one run, then each in a run of its own
        with counted(store.engine, store._reading) as statements:
            assert len(estimating.known(store, site.federation_id).flops_s) == len(MEMBERS)
        asked.append(len(statements))
        runs_of_theirs = [runs.create(store, site.federation_id, plan_of(name=f"run {name}")) for name in MEMBERS]
        with store.begin() as session:
            for receipt, run_id in zip(
                session.scalars(select(Receipt).filter_by(round=2)), runs_of_theirs, strict=True
            ):
                receipt.run_id = run_id
    assert asked[1] == asked[0] > 0


def test_base_models_are_chosen_from_those_of_the_federation(site: Site, setting: Setting) -> None:
    owner = site.account("root")
    site.account("cora", "coordinator")
    cora, root = site.reader("cora"), site.reader("root")
    address = f"/federations/{site.federation_id}/runs/new"
    content = files.put(site.store, b"[]", "base")
    with site.store.begin() as session:
        for name, visibility, opened in (("sdxl", "federation", "1"), ("own", "private", "2"), ("bad", "public", None)):
            artifact = registry.artifact_of(session, site.store, site.federation_id, registry.MODEL, name)
            artifact.visibility = visibility
            artifact.owner_id = owner
            registry.add(session, site.store, artifact, content=content, facts={}, content_hash=opened)
    starter = {"starter": "Starter, which comes with FedFlow"}
    assert choices(cora.get(address).text, "model") == {**starter, "registry:sdxl": "sdxl"}
    offered = choices(root.get(address).text, "model")
    assert offered == {**starter, "registry:own": "own", "registry:sdxl": "sdxl", "other": "another"}
    sent = {"member": ["a", "b"], "model": "other", "model_other": "registry:nowhere"}
    told = root.post(address, sent)
    assert "nowhere" in faults(told)["model_other"]
    assert value_of(told, "model_other") == "registry:nowhere"
    assert faults(root.post(address, {**sent, "model_other": " "})) == {"model_other": "Fill this in."}
    assert root.post(address, {**sent, "model_other": "starter"}).status_code == 303


def test_held_out_pictures_that_are_not_there_are_said_beside_their_name(
    coordinator: Api, site: Site, setting: Setting, tmp_path: Path
) -> None:
    """Where the server has pictures, or the plan names the demo's; without any nothing is scored, by whatever name."""
    (tmp_path / "pictures" / "xrays").mkdir(parents=True)
    settings = ServerSettings(folder=tmp_path / "data", pictures=tmp_path / "pictures")
    site.app.extensions[current.SETTINGS] = settings
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/federations/{site.federation_id}/runs/new"
    sent = {"member": ["a", "b"], "data.heldout": "no-such"}
    for answer in (cora.post(f"{address}/check", sent), cora.post(address, sent)):
        assert "The server has no held-out pictures \u201cno-such\u201d." in faults(answer)["data.heldout"]
    asked = {"federation_id": site.federation_id, "plan": {"data": {"clients": ["a"], "heldout": "no-such"}}}
    refused = coordinator("POST", "/api/v1/runs", json=asked)
    assert refused.status_code == 422
    sentence = "data.heldout: the server has no held-out pictures 'no-such'; start it with --pictures FOLDER"
    assert sentence in refused.text
    assert "not measured" not in cora.post(f"{address}/check", {**sent, "data.heldout": "xrays"}).text
    assert cora.post(address, {**sent, "data.heldout": "xrays"}).status_code == 303
    plan = plan_of(data={"clients": MEMBERS, "root": "shipped:demo", "heldout": "no-such"})
    with pytest.raises(Unprocessable, match="no held-out pictures"):
        runs.create(site.store, site.federation_id, plan)


def test_too_few_members_are_said_beside_them_as_one_ticks(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    check = f"/federations/{site.federation_id}/runs/new/check"
    part = r'<div id="members-fault" aria-live="polite">(.*?)</div>'
    crowded = "Quorum: 3 is more than the number of members of a round, 2."
    for members, said in ((["a", "b"], crowded), (["a", "b", "c"], "")):
        sent = {"member": members, "network.quorum": "3"}
        answer = cora.post(check, sent, headers={"HX-Request": "true", "HX-Target": "plan"})
        assert ("network.quorum" in faults(answer)) == bool(said), "the field's own word follows"
        [found] = re.findall(part, answer.text, re.DOTALL)
        assert text_of(found) == said


def test_numbers_that_make_no_sense_are_refused_and_a_high_learning_rate_is_warned_of(
    site: Site, setting: Setting
) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/federations/{site.federation_id}/runs/new"
    assert re.search(
        r'type="number" step="any" min="1e-09" max="1"[^>]*id="f-training.learning_rate"', cora.get(address).text
    )
    right = {"member": ["a", "b"], "name": "autumn"}
    refused = cora.post(address, {**right, "training.learning_rate": "500", "network.deadline_s": "9000"})
    assert refused.status_code == 422
    assert faults(refused)["training.learning_rate"] == "Must be at most 1."
    assert faults(refused)["network.deadline_s"] == "Must be at most 8,760.", "in hours, as the field"
    nothing = cora.post(address, {**right, "training.learning_rate": "5e-324", "training.min_snr_gamma": "5e-324"})
    assert faults(nothing)["training.learning_rate"] == "Must be at least 0.000000001."
    assert faults(nothing)["training.min_snr_gamma"] == "Must be at least 0.001."
    for given, said in (("-1", "Must be at least 0."), ("9000", "Must be at most 8,760.")):
        assert faults(cora.post(address, {**right, "network.grace_s": given}))["network.grace_s"] == said
    hasty = cora.post(address, {**right, "network.deadline_s": "0.000001"})
    assert faults(hasty)["network.deadline_s"] == "Must be at least ten seconds, or nobody can answer in time."
    for rate, warned in (("0.01", False), ("0.02", True)):
        checked = cora.post(f"{address}/check", {**right, "training.learning_rate": rate}).text
        assert ("The learning rate is very high." in checked) is warned


@pytest.mark.parametrize("fault", plan_words.FAULTS)
def test_what_does_not_go_together_is_said_in_the_readers_language(site: Site, fault: str) -> None:
    sentence = re.sub(r"\{\w+\}", "fedit", fault)
    pieces = [piece for piece in re.split(r"\{\w+\}", fault) if piece.strip("' ")]
    assert all(piece.strip("'") in SOURCE for piece in pieces), "the plan says this no longer"
    with site.app.test_request_context(headers={"Accept-Language": "uk"}):
        assert re.search(r"[\u0430-\u044f]", plan_words.fault(f"{sentence[0].upper()}{sentence[1:]}."))


def test_words_for_settings_are_of_settings_that_there_are() -> None:
    known = {name for name, _ in forms.places(Plan)}
    groups = {name.partition(".")[0] for name in known if "." in name}
    named = (plan_words.LABELS, plan_words.HELP, plan_words.CHOICES, plan_words.NOT_GIVEN, plan_words.NOT_USED)
    for names in (*named, plan_words.OF_ADAPTERS, plan_words.HOURS):
        assert set(names) <= known | groups


def test_an_empty_place_holds_its_first_action(site: Site) -> None:
    empty = federations.create(site.store, "empty")
    Site(site.app, site.store, empty).account("cora", "coordinator")
    Site(site.app, site.store, empty).account("vera", "viewer")
    cora = site.reader("cora")
    runs_page = cora.get("/runs").text
    assert re.search(rf'class="empty".*href="/federations/{empty}/runs/new">Start the first run', runs_page, re.DOTALL)
    assert runs_page.count(f"/federations/{empty}/runs/new") == 1
    assert 'href="/federations">View federations' in site.reader("vera").get("/runs").text
    assert (
        f'href="/federations/{empty}/codes">Make the first join code' in cora.get(f"/federations/{empty}/runs/new").text
    )


def test_a_new_run_keeps_to_the_federations_rules(
    site: Site, setting: Setting, settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert setting.run
    with_hub = settings.model_copy(update={"hub_imports": True})
    monkeypatch.setitem(site.app.extensions, current.SETTINGS, with_hub)
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/federations/{site.federation_id}/runs/new"
    rules = {"allowed_models": ["owner/sdxl"], "allowed_methods": ["fedit"], "most_rounds": 2, "least_updates": 3}
    policies.change(
        site.store,
        site.federation_id,
        Policies.model_validate({"runs": rules, "visibility": {"member_galleries": False}}),
    )
    page = cora.get(address)
    begun = {name: value_of(page, name) for name in ("rounds", "network.quorum")}
    assert begun == {"rounds": "2", "network.quorum": "3"}
    assert choices(page.text, "model") == {"owner/sdxl": "owner/sdxl"}
    sent = {"member": ["a", "b", "c"], "model": "owner/sdxl", "method": "fedit", "evaluation.clients": "off"}
    within = {**sent, "rounds": "2", "network.quorum": "3"}
    against = cora.post(f"{address}/check", {**within, "rounds": "3"})
    assert "The federation's rule allows at most 2 rounds, and the plan has 3." in faults(against)["rounds"]
    assert cora.post(address, {**within, "rounds": "3"}).status_code == 422
    method = faults(cora.post(f"{address}/check", {**within, "method": "fedavg"}))["method"]
    words = plan_words.CHOICES["method"]
    assert f"“{words['fedit']}”, not “{words['fedavg']}”" in method
    assert cora.post(address, within).status_code == 303


def test_only_base_models_that_the_server_takes_are_offered(site: Site, setting: Setting) -> None:
    site.account("cora", "coordinator")
    cora = site.reader("cora")
    address = f"/federations/{site.federation_id}/runs/new"
    for models, offered in ((["owner/sdxl", "starter"], ["starter"]), (["owner/sdxl"], None)):
        rules = Policies.model_validate({"runs": {"allowed_models": models}})
        policies.change(site.store, site.federation_id, rules)
        page = cora.get(address).text
        if offered is not None:
            assert list(choices(page, "model")) == offered
        else:
            assert "this server takes none from there" in text_of(page)
            assert "Start run" not in page


def test_who_coordinates_nothing_starts_nothing(site: Site) -> None:
    site.account("vera", "viewer")
    vera = site.reader("vera")
    address = f"/federations/{site.federation_id}/runs/new"
    assert vera.get(address).status_code == 403
    assert vera.post(address, {"name": "mine"}).status_code == 403
    site.account("cora", "coordinator")
    other = federations.create(site.store, "other")
    assert site.reader("cora").get(f"/federations/{other}/runs/new").status_code == 404


def test_every_choice_of_a_plan_is_said_in_words(site: Site) -> None:
    with site.app.test_request_context():
        fields = [field for group in plan_words.described(()) for field in group.fields if field.choices]
    assert len(fields) >= 5
    for field in fields:
        raw = [value for value, word in field.choices if value == word]
        assert raw == [], f"{field.name} shows what a plan file holds"
