"""Jobs: what is asked for, how far it is, and what became of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from little_memory import little_memory
from PIL import Image
from tests.unit.client_app.conftest import Visitor

from fedflow.client.pages.job_words import left_s
from fedflow.client.services import datasets, drawings, jobs
from fedflow.client.services.drawings import Axis, DrawRequest
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store, open_store
from fedflow.client.worker.main import carry_out
from fedflow.errors import MistakeError
from fedflow.models import one_model


def asked(store: Store, model: Path, **more: object) -> str:
    request = {"prompt": "cat", "pictures": 2, "steps": 2, "seed": 7, "width_pixels": 32, "height_pixels": 32, **more}
    return drawings.ask(store, DrawRequest(model=str(model), **request))  # type: ignore[arg-type]


def do(store: Store, job_id: str) -> str:
    carry_out(store, ClientSettings(folder=store.folder, threads=1), job_id)
    job = jobs.one(store, job_id)
    assert job is not None
    return job.status


def test_what_is_drawn_stands_in_the_gallery_with_its_settings(
    store: Store, visitor: Visitor, tiny_model_folder: Path
) -> None:
    job_id = asked(store, tiny_model_folder)
    assert do(store, job_id) == jobs.DONE
    first, second = drawings.of_job(store, job_id)
    assert (first.seed, second.seed) == (7, 8)
    shown = visitor.client.get(f"/pictures/{first.id}.png", buffered=True)
    with Image.open(store.blobs.get(first.sha256)) as picture:
        assert picture.size == (32, 32)
        assert picture.info["parameters"].startswith("cat\nNegative prompt: \nSteps: 2, Sampler: UniPC, ")
    assert shown.data == store.blobs.get(first.sha256).read_bytes()
    page = visitor.client.get(f"/gallery/{first.id}").text
    assert "Steps: 2, Sampler: UniPC" in page
    again = visitor.client.get(f"/?like={first.id}").text
    assert 'value="7"' in again
    assert first.id in visitor.client.get("/gallery?text=CAT").text
    assert first.id not in visitor.client.get("/gallery?text=dog").text


def test_a_job_whose_worker_died_is_told_as_died_and_goes_on_with_the_next_picture(
    store: Store, visitor: Visitor, tiny_model_folder: Path
) -> None:
    job_id = asked(store, tiny_model_folder)
    whole = asked(store, tiny_model_folder)
    assert do(store, whole) == jobs.DONE
    assert jobs.claim(store, job_id) is not None
    with store.begin() as session:
        jobs.add(session, jobs.ROUND, "a round that waits", {}, 4, store.clock())
    jobs.bury(store)
    assert "a round that waits" not in visitor.client.get("/activity").text, "it comes anew"
    assert "The worker ended while it was at it." in visitor.client.get("/activity").text
    assert do(store, job_id) == jobs.DIED, "nobody does it before it is resumed"
    jobs.note(store, job_id, 1)
    assert "1 of 4 steps were done; it goes on" in visitor.client.get("/activity").text
    assert visitor.post(f"/activity/{job_id}/resume").status_code == 303
    assert do(store, job_id) == jobs.DONE
    pictures = [[each.sha256 for each in drawings.of_job(store, one)] for one in (job_id, whole)]
    assert pictures[0] == pictures[1]


def test_a_picture_that_is_deleted_while_its_job_rests_is_drawn_again_and_no_other_twice(
    store: Store, tiny_model_folder: Path
) -> None:
    job_id = asked(store, tiny_model_folder, pictures=3)
    assert do(store, job_id) == jobs.DONE
    first, second, third = drawings.of_job(store, job_id)
    for each in (first, third):
        drawings.remove(store, each.id)
    jobs.end(store, job_id, jobs.PAUSED)
    jobs.resume(store, job_id)
    assert do(store, job_id) == jobs.DONE
    found = drawings.of_job(store, job_id)
    assert sorted(each.seed for each in found) == [7, 8, 9]
    assert second.id in {each.id for each in found}


def test_the_time_left_is_that_of_the_pace_since_it_was_begun_or_resumed(store: Store) -> None:
    now = 1000.0
    timed = replace(store, clock=lambda: now)
    with timed.begin() as session:
        job_id = jobs.add(session, "train", "Foxes", {}, 100, now).id

    def left(done: int | None = None) -> float | None:
        if done is not None:
            jobs.note(timed, job_id, done)
        job = jobs.one(timed, job_id)
        assert job is not None
        return left_s(job, now)

    jobs.claim(timed, job_id)
    assert left(0) is None
    now += 60  # the pictures are encoded
    assert left(10) is None, "no step was timed yet"
    now += 20
    assert left(20) == 2.0 * 80
    jobs.end(timed, job_id, jobs.PAUSED)
    now += 5000
    jobs.resume(timed, job_id)
    jobs.claim(timed, job_id)
    assert left() is None
    now += 30
    assert left(21) is None
    now += 3
    assert left(22) == 3.0 * 78


def test_one_that_runs_is_stopped_at_its_next_step_and_one_that_waits_at_once(
    store: Store, visitor: Visitor, tiny_model_folder: Path
) -> None:
    job_id = asked(store, tiny_model_folder)
    visitor.post(f"/activity/{job_id}/pause")
    assert do(store, job_id) == jobs.PAUSED
    jobs.resume(store, job_id)
    assert jobs.claim(store, job_id) is not None
    jobs.want(store, job_id, jobs.STOP)
    assert jobs.note(store, job_id, 1) == jobs.STOP
    jobs.end(store, job_id, jobs.STOPPED)
    with pytest.raises(MistakeError):
        jobs.want(store, job_id, jobs.PAUSE)


def test_what_is_paused_is_stopped_without_going_on_first_and_can_go_on_all_the_same(
    store: Store, visitor: Visitor, tiny_model_folder: Path
) -> None:
    job_id = asked(store, tiny_model_folder)
    visitor.post(f"/activity/{job_id}/pause")
    page = visitor.client.get("/activity").text
    assert [f"/activity/{job_id}/{what}" in page for what in ("resume", "stop", "pause")] == [True, True, False]
    visitor.post(f"/activity/{job_id}/stop")
    assert [job.status for job in jobs.listed(store, 1)] == [jobs.STOPPED]
    page = visitor.client.get("/activity").text
    assert [f"/activity/{job_id}/{what}" in page for what in ("resume", "aside", "stop")] == [True, True, False]
    jobs.resume(store, job_id)
    assert do(store, job_id) == jobs.DONE
    with store.begin() as session:
        job = jobs.add(session, jobs.ROUND, "autumn", {}, 1, store.clock())
        job.status = jobs.PAUSED
    with pytest.raises(MistakeError):
        jobs.want(store, job.id, jobs.STOP)


def test_a_job_that_failed_is_put_aside_and_asks_for_nothing_more(
    store: Store, visitor: Visitor, tmp_path: Path
) -> None:
    job_id = asked(store, tmp_path / "nothing")
    assert "aside" not in visitor.client.get("/activity").text, "what waits is stopped, not put aside"
    with pytest.raises(MistakeError):
        jobs.put_aside(store, job_id)
    assert do(store, job_id) == jobs.FAILED
    page = visitor.client.get("/activity").text
    assert "Resume" in page
    assert f"/activity/{job_id}/aside" in page
    visitor.post(f"/activity/{job_id}/aside")
    page = visitor.client.get("/activity").text
    assert "Set aside" in page
    assert "no such folder or file" in page, "why it failed can still be read"
    assert "Resume" not in page
    visitor.post(f"/activity/{job_id}/resume")
    assert jobs.waiting(store) == []
    one_model.close()


def test_a_grid_that_is_put_aside_is_resumed_no_more(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    job_id = asked(store, tmp_path / "nothing", across=Axis(kind="steps", values=("1", "2")))
    assert do(store, job_id) == jobs.FAILED
    address = f"/compare/{job_id}"
    assert f"/activity/{job_id}/resume" in visitor.client.get(address).text
    visitor.post(f"/activity/{job_id}/aside", next=address)
    page = visitor.client.get(address).text
    assert "no such folder or file" in page
    assert f"/activity/{job_id}/" not in page
    one_model.close()


def test_jobs_about_a_dataset_that_is_taken_out_are_put_aside(store: Store, visitor: Visitor, pictures: Path) -> None:
    gone, stays = datasets.add(store, str(pictures)), datasets.add(store, str(pictures.parent))
    [first, second] = jobs.waiting(store)
    visitor.post(f"/activity/{first}/stop")
    datasets.look_again(store, gone)
    visitor.post(f"/datasets/{gone}/remove")
    assert jobs.waiting(store) == [second]
    assert datasets.one(store, stays) is not None
    assert "Resume" not in visitor.client.get("/activity").text


def test_what_cannot_be_drawn_says_why_in_one_sentence(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    job_id = asked(store, tmp_path / "nothing")
    assert do(store, job_id) == jobs.FAILED
    page = visitor.client.get("/").text
    assert "no such folder or file" in page
    assert "Traceback" not in page
    one_model.close()


def test_memory_that_does_not_suffice_is_told_with_the_way_out(store: Store, tiny_model_folder: Path) -> None:
    assert do(store, asked(store, tiny_model_folder)) == jobs.DONE  # the model is open by now
    job_id = asked(store, tiny_model_folder, width_pixels=2048, height_pixels=2048)
    with little_memory():
        status = do(store, job_id)
    job = jobs.one(store, job_id)
    assert job is not None
    said = "for 2048 by 2048 pixels; ask for 1024 by 1024, or close other programs, then resume"
    assert (status, said in job.message) == (jobs.FAILED, True), job.message


def test_everything_is_there_after_a_restart(store: Store, tiny_model_folder: Path) -> None:
    job_id = asked(store, tiny_model_folder)
    assert do(store, job_id) == jobs.DONE
    store.engine.dispose()
    anew = open_store(store.folder)
    assert [each.job_id for each in drawings.listed(anew, "cat", 10)] == [job_id, job_id]
    assert anew.key == store.key
    anew.engine.dispose()


def test_a_picture_that_is_deleted_takes_its_file_along(
    store: Store, visitor: Visitor, tiny_model_folder: Path
) -> None:
    job_id, same = asked(store, tiny_model_folder, pictures=1), asked(store, tiny_model_folder, pictures=1)
    assert do(store, job_id) == do(store, same) == jobs.DONE
    [first], [second] = drawings.of_job(store, job_id), drawings.of_job(store, same)
    assert first.sha256 == second.sha256
    visitor.post(f"/gallery/{first.id}/delete")
    assert first.sha256 in store.blobs, "the other shows it still"
    visitor.post(f"/gallery/{second.id}/delete")
    assert first.sha256 not in store.blobs
    assert visitor.client.get(f"/gallery/{first.id}").status_code == 404


def test_a_faulty_form_says_so_beside_the_field(visitor: Visitor, store: Store) -> None:
    answer = visitor.post("/", model="starter", prompt="", pictures="900")
    assert answer.status_code == 422
    assert "Must be at most 64." in answer.text
    assert jobs.waiting(store) == []


def test_a_page_hears_of_what_changed_before_it_began_to_listen(store: Store, visitor: Visitor, tmp_path: Path) -> None:
    page = visitor.client.get("/activity").text
    address = re.search(r'sse-connect="([^"]+)"', page)
    assert address is not None
    asked(store, tmp_path)
    with visitor.client.get(address[1]) as stream:
        told = iter(stream.response)
        assert b"retry" in bytes(next(told))  # type: ignore[arg-type]
        assert b"event: changed" in bytes(next(told))  # type: ignore[arg-type]
