"""Trainings as the app keeps them: what is asked for, what it will take, what became of it."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch
from adapters import add_adapter
from little_memory import little_memory
from tests.unit.client_app.conftest import Visitor

from fedflow.client.database.tables import Asset, Job
from fedflow.client.pages.curves import loss_curve
from fedflow.client.services import datasets, datasets_asides, drawings, jobs, library, trainings
from fedflow.client.services.trainings import Change, TrainRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store
from fedflow.client.training_cost import Cost
from fedflow.client.worker.main import carry_out
from fedflow.errors import MistakeError
from fedflow.models import open_model, read_adapter
from fedflow.tensors import open_tensors


@pytest.fixture
def dataset(store: Store, pictures: Path) -> str:
    dataset_id = datasets.add(store, str(pictures))
    for job_id in jobs.waiting(store):
        carry_out(store, ClientSettings(folder=store.folder), job_id)
    return dataset_id


def asked(dataset: str, model: Path | str, **said: object) -> TrainRequest:
    training = {"batch_size": 2, "epochs": 2, "checkpoint_every": 1}
    given = {"name": "Foxes", "dataset": dataset, "model": str(model), "training": training, "lora": {"rank": 2}}
    return TrainRequest.model_validate({**given, **said})


def work(store: Store, job_id: str) -> str:
    carry_out(store, ClientSettings(folder=store.folder), job_id)
    job = jobs.one(store, job_id)
    assert job is not None
    return job.status if job.status == jobs.DONE else f"{job.status}: {job.message}"


def test_a_lora_is_trained_into_the_library_with_its_curve(store: Store, dataset: str, tiny_model_folder: Path) -> None:
    job_id = trainings.ask(store, asked(dataset, tiny_model_folder))
    assert work(store, job_id) == jobs.DONE
    steps = [step for step, _ in trainings.losses(store, job_id)]
    job = jobs.one(store, job_id)
    assert job is not None
    assert steps == list(range(1, job.of + 1))
    row = library.one(store, job_id)
    assert row is not None
    assert (row.kind, row.name, row.base_hash) == ("adapter", "Foxes", open_model(str(tiny_model_folder)).content_hash)
    for name in library.ADAPTER_FILES.values():
        adapter, _ = read_adapter(library.folder(store, job_id) / name)
        assert {factors.rank for factors in adapter.values()} == {2}
    assert not trainings.folder(store, job_id).exists(), "the checkpoint goes"


def paused_soon(store: Store, job_id: str) -> Job:
    """The training after its first steps, paused as its owner wants."""
    at_work = threading.Thread(target=work, args=(store, job_id))
    at_work.start()
    while not trainings.losses(store, job_id) and at_work.is_alive():
        time.sleep(0.01)
    jobs.want(store, job_id, jobs.PAUSE)
    at_work.join()
    job = jobs.one(store, job_id)
    assert job is not None
    return job


def test_a_stopped_training_goes_on_where_it_was_and_ends_as_one_that_was_not(
    store: Store, dataset: str, tiny_model_folder: Path
) -> None:
    training = {"batch_size": 2, "epochs": 40, "checkpoint_every": 1000}
    whole, cut = (
        trainings.ask(store, asked(dataset, tiny_model_folder, name=name, training=training)) for name in ("A", "B")
    )
    assert work(store, whole) == jobs.DONE
    job = paused_soon(store, cut)
    assert (job.status, 0 < job.done < job.of) == (jobs.PAUSED, True), "no checkpoint is waited for"
    assert len(open_tensors(trainings.folder(store, cut) / "training.safetensors")["losses"]) == job.done
    jobs.resume(store, cut)
    assert work(store, cut) == jobs.DONE
    assert trainings.losses(store, cut) == trainings.losses(store, whole)
    first, second = (read_adapter(library.adapter_file(store, each))[0] for each in (whole, cut))
    assert all(torch.equal(first[key].B, second[key].B) for key in first)


@pytest.mark.parametrize("what", ["left out", "replaced", "deleted"])
def test_a_paused_training_goes_on_without_a_picture_that_went(
    store: Store, visitor: Visitor, dataset: str, pictures: Path, tiny_model_folder: Path, what: str
) -> None:
    training = {"batch_size": 2, "epochs": 40, "checkpoint_every": 1000}
    job_id = trainings.ask(store, asked(dataset, tiny_model_folder, training=training))
    paused = paused_soon(store, job_id)
    first, other = sorted(pictures.glob("*.png"))[:2]
    found = datasets.one(store, dataset)
    assert found is not None
    if what == "left out":
        datasets_asides.leave_out(store, found, [datasets.lines(store, dataset)[0].id])
    elif what == "replaced":
        shutil.copy(other, first)
    else:
        first.unlink()
    left = 4 if what == "replaced" else 3
    jobs.resume(store, job_id)
    assert work(store, job_id) == jobs.DONE
    done = jobs.one(store, job_id)
    assert done is not None
    assert trainings.changes(done) == [Change(paused.done, 4, left)]
    assert [step for step, _ in trainings.losses(store, job_id)] == list(range(1, paused.of + 1)), "as many steps"
    row = library.one(store, job_id)
    assert row is not None
    assert (row.origin["pictures"], row.origin["changed_at"]) == (left, [paused.done])
    page = visitor.client.get(f"/train/{job_id}").text
    assert f"up to step {paused.done} it learnt from 4 pictures, since then from {left} pictures" in page
    assert f"{left} captions are longer than the model can read" in page, "the tiny one reads 14 letters"
    assert f"which changed at step {paused.done}" in visitor.client.get(f"/models/{job_id}").text
    back = {jobs.DONE: "", jobs.RUNNING: "stop it, put the pictures back", jobs.STOPPED: "all, put the pictures back"}
    for status, told in back.items():
        with store.begin() as session:
            session.get_one(Job, job_id).status = status
        notice = visitor.client.get(f"/train/{job_id}").text.partition("For a result without that, train again")[2]
        assert (told in notice, notice.count("put the pictures back")) == (True, bool(told))
    page = visitor.client.get(f"/train/{job_id}", headers={"Accept-Language": "uk"}).text
    assert re.search(r"<dd[^>]*>\s*0,001\s*</dd>", page)
    assert visitor.client.get(f"/train/new?like={job_id}").status_code == 200


def test_pictures_on_the_way_change_nothing_of_what_is_learnt(
    visitor: Visitor, store: Store, dataset: str, tiny_model_folder: Path
) -> None:
    plain = trainings.ask(store, asked(dataset, tiny_model_folder))
    shown = trainings.ask(store, asked(dataset, tiny_model_folder, sample_prompt="a cat", sample_every=2))
    assert work(store, plain) == work(store, shown) == jobs.DONE
    drawn = drawings.of_job(store, shown)
    assert [each.made_from["step"] for each in drawn] == [2, 4]
    assert [each.adapters for each in drawn] == [[["Foxes (step 2)", 1.0]], [["Foxes (step 4)", 1.0]]]
    page = visitor.client.get(f"/gallery/{drawn[0].id}").text
    assert re.search(rf'href="/train/{shown}">Drawn at step 2 of its training', page)
    assert "&lt;lora:Foxes (step 2):1&gt;" in page
    assert "Adapter “Foxes (step 2)” is not in the library" in visitor.client.get(f"/?like={drawn[0].id}").text
    form = visitor.client.get(f"/?like={drawn[1].id}").text
    assert library.one(store, plain).name == "Foxes"  # type: ignore[union-attr]
    chosen = re.findall(r'name="adapter" value="([^"]+)"', form)
    assert chosen == [shown], "what came of it, and not the other training's, which has the name"
    rare = trainings.ask(store, asked(dataset, tiny_model_folder, sample_prompt="a cat", sample_every=3))
    assert work(store, rare) == jobs.DONE
    assert [each.made_from["step"] for each in drawings.of_job(store, rare)] == [3, 4], "the end is always seen"
    assert len({each.sha256 for each in drawn}) == 2, "it learns from one to the next"
    assert trainings.losses(store, plain) == trainings.losses(store, shown)
    first, second = (read_adapter(library.adapter_file(store, each))[0] for each in (plain, shown))
    assert all(torch.equal(first[key].B, second[key].B) for key in first)


def test_a_whole_model_is_one_of_the_librarys_and_trained_on_again(
    store: Store, dataset: str, tiny_model_folder: Path
) -> None:
    drawn = {"sample_prompt": "a cat", "sample_every": 2}
    job_id = trainings.ask(store, asked(dataset, tiny_model_folder, trains="model", **drawn))
    assert work(store, job_id) == jobs.DONE
    shown = [(each.model, each.model_hash, each.adapters) for each in drawings.of_job(store, job_id)]
    assert shown == [("Foxes (step 2)", "", []), ("Foxes (step 4)", "", [])], "and not the model that it began from"
    row = library.one(store, job_id)
    assert row is not None
    assert (row.kind, row.base_hash) == ("model", open_model(str(library.folder(store, job_id))).content_hash)
    again = trainings.ask(store, asked(dataset, f"library:{job_id}", name="On it"))
    assert work(store, again) == jobs.DONE
    assert library.listed(store)[0].base_hash == row.base_hash


def test_what_goes_on_from_an_adapter_tells_it_its_federation_and_the_base_as_it_was_named(
    visitor: Visitor, store: Store, dataset: str, tiny_model_folder: Path
) -> None:
    base_id = jobs.new_id()
    shutil.copytree(tiny_model_folder, library.folder(store, base_id))
    model = open_model(str(tiny_model_folder))
    library.keep(store, base_id, library.New("model", "Copy", base_hash=model.content_hash))
    start = add_adapter(store, model, "three", asset_id=f"{jobs.new_id()}-{jobs.new_id()}")
    with store.begin() as session:
        row = session.get_one(Asset, start)
        row.origin = {"how": "federated", "federation": "Icons", "run": "first", "rounds": 2, "members": ["a", "b"]}
    job_id = trainings.ask(store, asked(dataset, tiny_model_folder, start=start, name="further", lora={"rank": 16}))
    training = visitor.client.get(f"/train/{job_id}").text
    facts = dict(re.findall(r"<dt>([^<]+)</dt>\s*<dd[^>]*>\s*([^<]*?)\s*</dd>", training))
    assert {"Goes on from": "three", "Rank": "2"}.items() <= facts.items()
    assert work(store, job_id) == jobs.DONE
    made = library.one(store, job_id)
    assert made is not None
    assert made.origin["start"] == {"id": start, "name": "three", "federation": "Icons", "run": "first"}
    page = visitor.client.get(f"/models/{job_id}").text
    lines = re.findall(r"<li[^>]*>(.*?)</li>", page.split('class="lineage"')[1].split("</ol>")[0], re.DOTALL)
    shown = [" ".join(re.sub(r"<[^>]+>", " ", line).split()) for line in lines]
    assert shown[0].startswith(f"{made.base} base model")
    assert shown[1] == "three adapter gone on from, of Icons"
    assert "Copy" not in " ".join(shown)


def test_what_cannot_be_trained_says_why_and_how_to_go_on(
    store: Store, visitor: Visitor, dataset: str, tiny_model_folder: Path, pictures: Path
) -> None:
    with pytest.raises(MistakeError, match="start: a whole model goes on from no adapter"):
        trainings.ask(store, asked(dataset, tiny_model_folder, trains="model", start="x"))
    with pytest.raises(MistakeError, match="dataset: it is no longer here"):
        trainings.ask(store, asked("gone", tiny_model_folder))
    job_id = trainings.ask(store, asked(dataset, tiny_model_folder))
    pictures.rename(pictures.with_name("moved"))
    assert "its dataset's folder is not where it was" in work(store, job_id)
    page = visitor.client.get(f"/train/{job_id}").text
    assert "on the dataset&#39;s page" in page
    assert re.search(rf'<dt>Dataset</dt>\s*<dd><a href="/datasets/{dataset}">pictures</a></dd>', page), "it leads there"
    pictures.with_name("moved").rename(pictures)
    jobs.resume(store, job_id)
    assert work(store, job_id) == jobs.DONE


def test_memory_that_lacks_is_told_with_a_setting_that_fits_better(
    store: Store, dataset: str, tiny_model_folder: Path
) -> None:
    assert work(store, trainings.ask(store, asked(dataset, tiny_model_folder))) == jobs.DONE
    large = {"batch_size": 4096, "gradient_accumulation": 2}
    for said, request in (
        ("start one with 2048 per step and 4", {"size_pixels": 64, "training": large}),
        ("start one with a size of 1024, or close", {"size_pixels": 2048}),
        ("start one of an adapter, or with a size of 1024,", {"size_pixels": 2048, "trains": "model"}),
    ):
        job_id = trainings.ask(store, asked(dataset, tiny_model_folder, **request))
        with little_memory():
            told = work(store, job_id)
        assert told.startswith("failed: the machine's memory does not suffice"), told
        assert said in told


def test_the_cost_is_known_before_the_start(store: Store, dataset: str, tiny_model_folder: Path) -> None:
    lora = trainings.cost(store, asked(dataset, tiny_model_folder))
    whole = trainings.cost(store, asked(dataset, tiny_model_folder, trains="model"))
    assert lora is not None
    assert whole is not None
    assert lora.pictures == trainings.usable(store, dataset) > 0
    assert lora.memory_bytes < whole.memory_bytes
    assert lora.disk_bytes < whole.disk_bytes
    assert not lora.lacks_disk
    more = trainings.cost(store, asked(dataset, tiny_model_folder, training={"batch_size": 4, "epochs": 2}))
    large = trainings.cost(store, asked(dataset, tiny_model_folder, size_pixels=2048))
    assert more is not None
    assert large is not None
    assert lora.memory_bytes < more.memory_bytes < large.memory_bytes
    assert large.seconds > 100 * lora.seconds
    huge = trainings.cost(store, asked(dataset, "starter", size_pixels=2048, training={"batch_size": 4000}))
    assert huge is not None
    assert huge.lacks_memory
    assert trainings.cost(store, asked(dataset, Path("no/such"))) is None, "only a folder's headers tell"


def test_an_adapter_to_go_on_from_counts_as_it_is_and_has_to_fit(
    store: Store, visitor: Visitor, dataset: str, tiny_model_folder: Path
) -> None:
    start = add_adapter(store, open_model(str(tiny_model_folder)), "large", rank=32, text_encoder=True)
    fresh = asked(dataset, tiny_model_folder, lora={"rank": 32, "text_encoder": True})
    on = asked(dataset, tiny_model_folder, start=start)
    told, wanted = trainings.cost(store, on), trainings.cost(store, fresh)
    assert told is not None
    assert wanted is not None
    assert (told.disk_bytes, told.memory_bytes) == (wanted.disk_bytes, wanted.memory_bytes)
    form = {"name": "Foxes", "dataset": dataset, "start": start, "trains": "lora"}
    for address, told_as in (("/train/new/check", 200), ("/train/new", 422)):
        answer = visitor.post(address, **form, model="starter")
        assert answer.status_code == told_as
        assert re.search(r'id="f-start-error">.*It does not fit the base model', answer.text)
        assert "about" in answer.text.partition("What it will take")[2]


def test_the_time_is_told_by_the_last_training_of_the_same_sort(
    store: Store, dataset: str, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(dataset, tiny_model_folder, training={"batch_size": 2, "epochs": 6})

    def cost() -> Cost:
        found = trainings.cost(store, request)
        assert found is not None
        return found

    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    idle = cost()
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0 * (os.cpu_count() or 1), 0.0, 0.0))
    assert cost().seconds == pytest.approx(4 * idle.seconds), "what runs beside it takes its share"
    assert not cost().is_measured
    for name, kind, base, pace in (
        ("a", library.ADAPTER, str(tiny_model_folder), 3e9),
        ("b", library.MODEL, str(tiny_model_folder), 5e9),
        ("c", library.ADAPTER, "starter", 7e9),
    ):
        library.folder(store, name).mkdir(parents=True)
        library.keep(store, name, library.New(kind, name, base, origin={"how": "trained", "flops_s": pace}))
        assert trainings.measured_pace(store, request) == 3e9
    assert trainings.measured_pace(store, request.model_copy(update={"trains": "model"})) == 5e9
    assert trainings.measured_pace(store, request.model_copy(update={"model": "other"})) == 7e9, "the newest adapter"
    assert work(store, trainings.ask(store, request)) == jobs.DONE
    assert trainings.measured_pace(store, request) not in (3e9, None)
    assert cost().is_measured


def test_the_form_tells_the_cost_and_refuses_beside_the_field(visitor: Visitor, store: Store, dataset: str) -> None:
    page = visitor.client.get("/train/new").text
    assert "What it will take" in page
    assert re.search(r'<option value="constant"[^>]*>the same \(constant\)', page)
    first = trainings.first_caption(store, dataset)
    assert first
    prompt = re.search(r'<input[^>]*name="sample_prompt"[^>]*>', page)
    assert prompt is not None
    assert f'value="{first}"' in prompt[0], "what is drawn on the way is proposed"
    assert page.index('name="sample_prompt"') < page.index("<details"), "and in sight"
    few = visitor.post("/train/new/check", name="x", dataset=dataset, **{"training.epochs": "1"}).text
    assert "teach hardly anything" in few or "teaches hardly anything" in few
    many = visitor.post("/train/new/check", name="x", dataset=dataset, **{"training.epochs": "100"}).text
    assert "hardly anything" not in many
    wild = visitor.post("/train/new", name="x", dataset=dataset, **{"training.learning_rate": "1e9"})
    assert re.search(r'id="f-training.learning_rate-error"', wild.text)
    refused = visitor.post("/train/new", name="", dataset=dataset)
    assert refused.status_code == 422
    assert jobs.under_way(store, (trainings.KIND,)) == []


def test_the_form_begins_with_a_dataset_that_can_be_used_and_counts_its_pictures(
    visitor: Visitor, store: Store, dataset: str, tmp_path: Path
) -> None:
    (tmp_path / "A none").mkdir()
    (tmp_path / "A none" / "broken.png").write_bytes(b"no picture")
    empty = datasets.add(store, str(tmp_path / "A none"))
    page = visitor.client.get("/train/new").text
    assert re.search(rf'<option value="{dataset}" selected>\s*pictures, 4 pictures', page)
    assert "A none, no picture that can be used" in page
    named = visitor.client.get(f"/train/new?dataset={empty}").text
    assert "No picture of this dataset can be used; its page says why." in named


def test_a_curve_of_many_steps_has_few_points() -> None:
    assert loss_curve([(1, 0.5)], 10) is None
    curve = loss_curve([(step, 1.0 / step) for step in range(1, 5001)], 5000)
    assert curve is not None
    assert curve.path.count("L") <= 320
    assert curve.first > curve.now
