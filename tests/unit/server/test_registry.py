"""What runs make is kept with its versions, its lineage, its figures and its exports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.server.conftest import Machine
from tests.unit.server.run_setting import MEASURED, MEMBERS, Setting, adapter, plan_of

from fedflow.plan import AGGREGATED, BASE
from fedflow.server.database.tables import Job
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.services import (
    commits,
    devices,
    events,
    federations,
    files,
    jobs,
    registry,
    run_charts,
    runs,
    scores,
)
from fedflow.server.services.identity import Caller, authenticate
from fedflow.server.services.imports import Allowed
from fedflow.server.services.scores import Measured
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker.main import EVALUATION, carry_out

PERSON = Caller("person", "p", is_admin=True)


def play(setting: Setting, rounds: int) -> None:
    """Let all members answer `rounds` rounds."""
    first = setting.work("a").round
    for number in range(first, first + rounds):
        for seed, member in enumerate(MEMBERS):
            setting.hand_in(member, number, adapter(10 * number + seed), metrics={"steps": 5.0, "seconds": 2.0})
        setting.aggregate()


@pytest.fixture
def scored(store: Store, federation_id: str, callers: dict[str, Caller]) -> Setting:
    """A run whose rounds are scored."""
    run_id = runs.create(store, federation_id, plan_of())
    base = files.put(store, json.dumps([]).encode(), "base")
    prepared = {"tensors": {}, "upload_bytes": 0, "norm": 1.0, "scored": True, "merged_bytes": 100}
    initial = files.put(store, adapter(0), "adapter")
    runs.begin(store, run_id, base=base, base_hash="0" * 64, initial=initial, prepared=prepared)
    setting = Setting(store, run_id, callers)
    for job_id in jobs.waiting(store, ("prepare",)):
        jobs.finish(store, job_id)
    for caller in callers.values():
        runs.consent(store, caller, run_id, accept=True, num_examples=10, reason="")
    return setting


def waiting(store: Store, *kinds: str) -> list[Job]:
    with store.read() as session:
        return [session.get_one(Job, job_id) for job_id in jobs.waiting(store, kinds)]


def measured(store: Store, number: int) -> Measured:
    picture, features = store.blobs.put(b"picture %d" % number), store.blobs.put(b"features %d" % number)
    return replace(MEASURED, features=features, gallery=[picture])


def test_every_round_is_a_version_that_comes_from_the_one_before(setting: Setting) -> None:
    play(setting, 2)
    (made,) = registry.artifacts(setting.store, setting.callers["a"], registry.ADAPTER, "", 10)
    (base,) = registry.artifacts(setting.store, setting.callers["a"], registry.MODEL, "", 10)
    assert (made.name, base.name) == ("test", "starter")
    assert (made.licence, base.licence) == ("", "Apache-2.0")
    assert "Twemoji" in base.card, "whose pictures it was trained on"
    first, second = registry.versions(setting.store, setting.callers["a"], made.id, 0, 10)
    assert (first.number, second.number, second.round) == (1, 2, 2)
    assert second.facts["members"] == {"a": 10, "b": 10, "c": 10}
    assert second.facts["method"] == "fedex-lora"
    chain = registry.lineage(setting.store, PERSON, second.id)
    assert [(version.number, artifact.name) for version, artifact in chain] == [
        (2, "test"),
        (1, "test"),
        (1, "starter"),
    ]
    assert chain[-1][0].content_hash == "0" * 64
    assert first.base_id == second.base_id == chain[-1][0].id


def test_a_folder_called_starter_is_not_taken_for_the_starter(
    store: Store, federation_id: str, setting: Setting, tmp_path: Path
) -> None:
    (folder := tmp_path / "starter").mkdir()
    run_id = runs.create(store, federation_id, plan_of(model=str(folder)), allowed=Allowed(tmp_path, hub=False))
    base, initial = files.put(store, b"[]\n", "base"), files.put(store, adapter(0), "adapter")
    runs.begin(store, run_id, base=base, base_hash="1" * 64, initial=initial, prepared={})
    found = registry.artifacts(store, PERSON, registry.MODEL, "", 10)
    assert {each.name: each.licence for each in found} == {"starter": "Apache-2.0", "starter (folder)": ""}
    (version,) = registry.versions(store, PERSON, next(each.id for each in found if "folder" in each.name), 0, 10)
    assert version.content == base


def test_another_run_of_the_name_makes_further_versions_on_the_same_base(
    store: Store, federation_id: str, callers: dict[str, Caller], setting: Setting, scored: Setting
) -> None:
    play(setting, 2)
    play(scored, 1)
    (made,) = registry.artifacts(store, PERSON, registry.ADAPTER, "", 10)
    found = registry.versions(store, PERSON, made.id, 0, 10)
    assert [(version.number, version.run_id) for version in found] == [
        (1, setting.run), (2, setting.run), (3, scored.run)
    ]  # fmt: skip
    assert len({version.base_id for version in found}) == 1


def test_another_federation_sees_none_of_it(store: Store, setting: Setting, scored: Setting) -> None:
    play(setting, 1)
    other = federations.create(store, "other")
    machine = Machine(store)
    machine.join(devices.new_code(store, other, "stranger", 10, ttl_s=60))
    stranger = authenticate(store, machine.token())
    (made,) = registry.artifacts(store, PERSON, registry.ADAPTER, "", 10)
    (version,) = registry.versions(store, PERSON, made.id, 0, 10)
    assert registry.artifacts(store, stranger, registry.ADAPTER, "", 10) == []
    for ask in (
        lambda: registry.versions(store, stranger, made.id, 0, 10),
        lambda: registry.lineage(store, stranger, version.id),
        lambda: scores.listed(store, stranger, scored.run),
    ):
        with pytest.raises(NotFound):
            ask()


def test_an_export_is_made_once_and_every_member_may_fetch_it(setting: Setting) -> None:
    play(setting, 1)
    (made,) = registry.artifacts(setting.store, PERSON, registry.ADAPTER, "", 10)
    (version,) = registry.versions(setting.store, PERSON, made.id, 0, 10)
    for _ in range(2):
        assert registry.ask_export(setting.store, PERSON, version.id).files == {}
    assert len(waiting(setting.store, "export")) == 1
    setting.aggregate()
    exports = registry.ask_export(setting.store, PERSON, version.id).files
    assert set(exports) == {"diffusers", "kohya"}
    assert waiting(setting.store, "export") == []
    for digest in exports.values():
        assert files.path_for(setting.store, setting.callers["b"], digest).is_file()


def test_a_base_model_has_nothing_to_export(setting: Setting) -> None:
    play(setting, 1)
    (base,) = registry.artifacts(setting.store, PERSON, registry.MODEL, "", 10)
    (version,) = registry.versions(setting.store, PERSON, base.id, 0, 10)
    with pytest.raises(Conflict, match="nothing to export"):
        registry.ask_export(setting.store, PERSON, version.id)


def test_rounds_are_scored_with_the_base_first_and_each_model_once(scored: Setting) -> None:
    store = scored.store
    play(scored, 1)
    asked = waiting(store, "evaluate")
    assert [(job.round, job.subject) for job in asked] == [
        (0, BASE), (1, AGGREGATED), (1, "a"), (1, "b"), (1, "c")
    ]  # fmt: skip
    for number, job in enumerate(asked):
        model = scores.to_score(store, job)
        assert model is not None
        scores.keep(store, scored.run, model, measured(store, number))
        scores.keep(store, scored.run, model, measured(store, 99))  # done twice, as after a crash
        assert scores.to_score(store, job) is None
        jobs.finish(store, job.id)
    found = scores.listed(store, scored.callers["a"], scored.run)
    assert [(score.round, score.who, score.num_examples, score.steps) for score in found] == [
        (0, BASE, 0, 0), (1, "a", 10, 5), (1, "b", 10, 5), (1, "c", 10, 5), (1, AGGREGATED, 30, 15)
    ]  # fmt: skip
    assert store.blobs.get(found[0].features).read_bytes() == b"features 0"
    assert files.path_for(store, scored.callers["c"], found[0].gallery[0]).is_file()
    with pytest.raises(NotFound):
        files.path_for(store, scored.callers["c"], found[0].features)
    assert [event.kind for event in events.since(store, scored.callers["a"].federation_id or "", 0, 99)].count(
        "scored"
    ) == 5


def test_a_client_is_drawn_with_on_the_residuals_before_its_round(scored: Setting) -> None:
    play(scored, 2)
    models = {(job.round, job.subject): scores.to_score(scored.store, job) for job in waiting(scored.store, "evaluate")}
    drawings = {key: model.drawing for key, model in models.items() if model is not None}
    assert [len(drawings[key].residuals) for key in ((1, "a"), (1, AGGREGATED), (2, "a"), (2, AGGREGATED))] == [
        0,
        1,
        1,
        2,
    ]
    assert drawings[2, AGGREGATED].adapter != drawings[1, AGGREGATED].adapter
    assert models[2, AGGREGATED].steps == 30


def test_a_run_without_held_out_pictures_says_so_and_asks_for_no_scores(
    store: Store, federation_id: str, callers: dict[str, Caller], setting: Setting
) -> None:
    play(setting, 1)
    assert waiting(store, "evaluate") == []
    assert scores.listed(store, PERSON, setting.run) == []


def test_merged_weights_are_offered_where_they_are_smaller_and_only_the_newest(scored: Setting) -> None:
    store, run = scored.store, scored.run
    play(scored, 1)
    (job,) = waiting(store, "merge")
    found = commits.to_merge(store, run, job.round)
    assert found is not None
    assert len(found[1]) == 1
    commits.keep_merged(store, run, 1, store.blobs.put(b"merged"))
    assert commits.to_merge(store, run, 1) is None
    offer = scored.work("a").merged
    assert offer is not None
    assert (offer.count, offer.size_bytes) == (1, 6)
    assert files.path_for(store, scored.callers["a"], offer.weights).read_bytes() == b"merged"


def test_a_run_that_is_over_needs_no_merged_weights(scored: Setting) -> None:
    play(scored, 2)
    for job in waiting(scored.store, "merge"):
        assert commits.to_merge(scored.store, scored.run, job.round) is None


def test_what_evaluations_left_is_dropped_when_all_is_measured(scored: Setting) -> None:
    store = scored.store
    left = store.folder / scores.SCRATCH / scored.run
    left.mkdir(parents=True)
    strangers = store.folder / scores.SCRATCH / "of-no-run"
    strangers.mkdir()
    scores.drop_scratch(store)
    assert (left.is_dir(), strangers.is_dir()) == (True, False)
    runs.stop(store, scored.run)
    scores.drop_scratch(store)
    assert left.is_dir()  # its base model's evaluation is still to come
    for job in waiting(store, "evaluate"):
        jobs.finish(store, job.id)
    scores.drop_scratch(store)
    assert not left.is_dir()


def draw_charts(scored: Setting) -> dict[str, str]:
    for job in waiting(scored.store, "chart"):
        carry_out(scored.store, ServerSettings(folder=scored.store.folder), EVALUATION, job.id, "worker")
    return run_charts.drawn(scored.store, scored.run)


def test_charts_show_what_there_is(scored: Setting) -> None:
    assert draw_charts(scored) == {}
    for number, member in enumerate(MEMBERS):
        scored.hand_in(member, 1, adapter(ord(member)), metrics={"last_loss": 0.1 * (number + 1)})
    scored.aggregate()
    charts = draw_charts(scored)
    assert charts.keys() == {"loss"}, "nothing is scored yet"
    assert charts["loss"].startswith("<svg stroke-linejoin=")
    assert "style" not in charts["loss"], "the pages' policy forbids it"
    assert all(f">{text}</text>" in charts["loss"] for text in (*MEMBERS, "mean 0.200", "Training loss"))
    for job in waiting(scored.store, "evaluate"):
        asked = scores.to_score(scored.store, job)
        assert asked is not None
        scores.keep(scored.store, scored.run, asked, measured(scored.store, job.round))
    charts = draw_charts(scored)
    assert charts.keys() == {"loss", "fid", "kid"}
    assert ">aggregated 90.0</text>" in charts["fid"]
    files.collect(scored.store, upload_ttl_s=1.0)
    assert run_charts.drawn(scored.store, scored.run) == charts


def test_a_loss_that_is_none_spoils_no_chart(scored: Setting) -> None:
    for member, loss in zip(MEMBERS, (-1.0, 1e300, 0.5), strict=True):
        scored.hand_in(member, 1, adapter(ord(member)), metrics={"last_loss": loss})
    scored.aggregate()
    assert ">mean 0.500</text>" in draw_charts(scored)["loss"]


def test_hostile_step_counts_do_no_harm(scored: Setting) -> None:
    for member, steps in zip(MEMBERS, (-5.0, 1e300, 2.5), strict=True):
        scored.hand_in(member, 1, adapter(ord(member)), metrics={"steps": steps})
    scored.aggregate()
    models = [scores.to_score(scored.store, job) for job in waiting(scored.store, "evaluate")]
    assert [model.steps for model in models if model is not None] == [0, 2**53 + 2, 0, 2**53, 2]


def test_a_failed_export_leaves_the_run_done(scored: Setting) -> None:
    play(scored, 2)
    (job,) = waiting(scored.store, "export")
    scored.store.blobs.place(setting_adapter(scored)).unlink()
    for _ in range(jobs.MOST_ERRORS):
        scored.aggregate()
    assert waiting(scored.store, "export") == []
    assert scored.status() == "done"
    assert scored.work("a").action == "finished"
    assert job.kind == "export"
    last = events.since(scored.store, scored.callers["a"].federation_id or "", 0, 99)[-1]
    assert last.kind == "export failed"
    assert "blob is missing" in last.facts["message"]


def setting_adapter(setting: Setting) -> str:
    (made,) = registry.artifacts(setting.store, PERSON, registry.ADAPTER, "", 10)
    return registry.versions(setting.store, PERSON, made.id, 0, 10)[-1].content
