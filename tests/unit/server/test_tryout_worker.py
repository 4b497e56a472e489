"""An evaluator that draws try-outs on the tiny model: the right pictures, once, after the rounds, and whatever dies."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.unit.server.import_setting import tiny_adapter
from tests.unit.server.test_catalogue import person
from tests.unit.server.tryout_setting import ask, tiny_release, work

from fedflow.generation import generate
from fedflow.models import get_weights, open_model, set_weights
from fedflow.server.database.tables import Artifact, Job, Release, Version
from fedflow.server.database.tryouts import Tryout
from fedflow.server.services import files, jobs, registry, releases, tryout_work, tryouts
from fedflow.server.services.identity import SERVER, Caller
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.server.worker import tryouts as drawing
from fedflow.storage import Blobs
from fedflow.tensors import to_bytes


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; drawing on one."""
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def release_id(store: Store, federation_id: str, tiny_model_folder: Path) -> str:
    return tiny_release(store, federation_id, tiny_model_folder)


@pytest.fixture
def vera(release_id: str, store: Store, federation_id: str) -> Caller:
    assert release_id
    return person(store, "vera", federation_id, "viewer")


class Watched(Blobs):
    """The store's blobs; when the first picture has come, something happens."""

    def __init__(self, folder: Path, happens: Callable[[], object]) -> None:
        super().__init__(folder)
        self.happens: Callable[[], object] | None = happens

    def put(self, content: bytes) -> str:
        digest = super().put(content)
        if content.startswith(b"\x89PNG") and self.happens is not None:
            happens, self.happens = self.happens, None
            happens()
        return digest


def row(store: Store, tryout_id: str) -> Tryout:
    with store.read() as session:
        return session.get_one(Tryout, tryout_id)


def pixels(store: Store, sha256: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(store.blobs.get(sha256).read_bytes())))


def a_round_waits(store: Store) -> str:
    with store.begin() as session:
        job = jobs.add_alone(session, "evaluate", "a round", store.clock())
        session.flush()
        return job.id


def attempts(store: Store) -> int:
    with store.read() as session:
        return session.query(Job).where(Job.kind == "tryout").one().attempts


def test_pictures_are_those_of_base_and_adapter_and_carry_their_settings(
    store: Store, vera: Caller, release_id: str, tiny_model_folder: Path
) -> None:
    tryout_id = ask(store, vera, release_id, strength=0.5, negative_prompt="a cat", guidance=2.0)
    work(store)
    found = row(store, tryout_id)
    assert (found.status, found.steps_done, found.message) == ("done", 4, "")
    told = Image.open(store.blobs.get(found.pictures[1])).text["parameters"]  # type: ignore[attr-defined]
    base = open_model(str(tiny_model_folder))
    assert told == (
        "a fox <lora:foxes-v1:0.5>\nNegative prompt: a cat\nSteps: 2, Sampler: UniPC, CFG scale: 2, Seed: 8, "
        f"Size: 16x16, Model hash: {base.content_hash[:10]}, Model: tiny"
    )
    said = {"steps": 2, "guidance": 2.0, "negative": "a cat", "sampler": "unipc", "batch_size": 1}
    expected = generate(base, ["a fox"] * 2, [7, 8], adapters=[(tiny_adapter(tiny_model_folder), 0.5)], **said)  # type: ignore[arg-type]
    assert [np.array_equal(pixels(store, each), one) for each, one in zip(found.pictures, expected, strict=True)] == [
        True,
        True,
    ]
    plain = generate(base, ["a fox"], [7], **said)  # type: ignore[arg-type]
    assert not np.array_equal(pixels(store, found.pictures[0]), plain[0]), "the adapter acts"


def test_a_killed_workers_successor_goes_on_and_each_picture_counts_once(
    store: Store, vera: Caller, release_id: str, clock: object
) -> None:
    whole = ask(store, vera, release_id)
    work(store)
    tryout_id = ask(store, vera, release_id)
    about = tryouts.subject(row(store, tryout_id))
    [job_id] = jobs.waiting(store, ("tryout",))
    assert jobs.claim(store, job_id, "killed") is not None
    begun = tryout_work.begin(store, about)
    assert begun is not None
    first = row(store, whole).pictures[0]
    tryout_work.keep(store, about, 0, first)  # and then it is killed, with the second between blob and row
    store.blobs.put(b"half")
    clock.now += jobs.LEASE_S + 1  # type: ignore[attr-defined]
    work(store, "successor")
    assert (row(store, tryout_id).status, row(store, tryout_id).pictures) == ("done", row(store, whole).pictures)
    with store.read() as session:
        job = session.get_one(Job, job_id)
    drawing.draw(store, ServerSettings(folder=store.folder), job)  # the killed one was alive after all
    assert row(store, tryout_id).pictures == row(store, whole).pictures


def test_rounds_go_first_before_it_and_between_its_pictures(store: Store, vera: Caller, release_id: str) -> None:
    before = a_round_waits(store)
    tryout_id = ask(store, vera, release_id)
    work(store)
    assert (row(store, tryout_id).status, attempts(store)) == ("waiting", 0)
    assert tryouts.one(store, vera, tryout_id).rounds_first
    jobs.finish(store, before)
    later: list[str] = []

    def comes() -> None:
        with store.begin() as session:
            job = jobs.add_alone(session, "evaluate", "the next round", store.clock())
            session.flush()
            later.append(job.id)

    work(replace(store, blobs=Watched(store.blobs.folder, comes)))
    assert (row(store, tryout_id).status, len(row(store, tryout_id).pictures)) == ("waiting", 1)
    jobs.finish(store, later[0])
    work(store)
    assert (row(store, tryout_id).status, len(row(store, tryout_id).pictures)) == ("done", 2)
    assert attempts(store) == 1, "nobody died at it"


def test_a_cancelled_one_is_drawn_no_further(store: Store, vera: Caller, release_id: str) -> None:
    tryout_id = ask(store, vera, release_id)
    work(replace(store, blobs=Watched(store.blobs.folder, lambda: tryouts.cancel(store, vera, tryout_id))))
    assert (row(store, tryout_id).status, row(store, tryout_id).pictures) == ("cancelled", [])
    deleted = ask(store, vera, release_id)
    work(replace(store, blobs=Watched(store.blobs.folder, lambda: tryouts.remove(store, vera, deleted))))
    assert row(store, deleted).pictures == []


def test_a_cancel_is_seen_between_two_steps(
    store: Store, vera: Caller, release_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "NOTE_S", 0.0)
    tryout_id = ask(store, vera, release_id, steps=3)
    about = tryouts.subject(row(store, tryout_id))
    asked = tryout_work.begin(store, about)
    assert asked is not None
    model = drawing._opened(store, asked.source)
    before = get_weights(model)
    adapter = drawing.stored_adapter(store.blobs, asked.source.adapter or "")
    tryouts.cancel(store, vera, tryout_id)
    with pytest.raises(drawing.Unwanted):
        drawing._picture(store, about, asked, model, adapter, 0)
    after = get_weights(model)
    assert all((before[name] == after[name]).all() for name in before), "the next try-out draws with the plain base"


def test_a_failed_one_says_why_and_is_drawn_again(
    store: Store, vera: Caller, release_id: str, settings: ServerSettings
) -> None:
    tryout_id = ask(store, vera, release_id, size_pixels=17)
    work(store)
    failed = row(store, tryout_id)
    assert failed.status == "failed"
    assert failed.message.startswith("size 17: model ")
    assert failed.message.endswith(" needs a multiple of 2 pixels; its own is 16")
    assert str(store.folder) not in failed.message
    assert tryouts.view(store, settings, vera, release_id).allowance.pictures == 60, "nothing was drawn"
    tryouts.again(store, settings, vera, tryout_id)
    assert (row(store, tryout_id).status, len(jobs.waiting(store, ("tryout",)))) == ("waiting", 1)


def test_one_at_which_evaluators_die_is_given_up(store: Store, vera: Caller, release_id: str, clock: object) -> None:
    tryout_id = ask(store, vera, release_id)
    [job_id] = jobs.waiting(store, ("tryout",))
    for number in range(jobs.MOST_DEATHS_ASIDE):
        assert jobs.claim(store, job_id, f"killed {number}") is not None
        clock.now += jobs.LEASE_S + 1  # type: ignore[attr-defined]
    work(store, "successor")
    assert row(store, tryout_id).status == "failed"
    assert row(store, tryout_id).message.startswith("the worker died at it 3 times, perhaps for want of memory")


def test_whole_models_and_base_models_are_drawn_with_too(
    store: Store, vera: Caller, release_id: str, federation_id: str, tiny_model_folder: Path
) -> None:
    with store.begin() as session:
        version = session.get_one(Version, session.get_one(Release, release_id).version_id)
        base = session.get_one(Version, version.base_id)
        base.files = {"checkpoint": base.content}
        model = open_model(str(tiny_model_folder))
        weights = {name: tensor * 1.5 for name, tensor in get_weights(model).items()}
        digest = store.blobs.put(to_bytes({name.removeprefix("unet."): each for name, each in weights.items()}, {}))
        files.record(session, store, digest, "export")
        files.record(session, store, base.content, "base")
        artifact = Artifact(id="m", federation_id=federation_id, kind=registry.MODEL, name="trained", created_at=0.0)
        session.add(artifact)
        session.flush()
        whole = registry.add(session, store, artifact, content=digest, facts={})
        whole.files, whole.base_id = {"unet": digest}, base.id
        ids = whole.id, base.id
    trained, plain = (ask(store, vera, releases.release(store, SERVER, each, "v2", ""), pictures=1) for each in ids)
    work(store)
    said = {"steps": 2, "guidance": 3.0, "sampler": "unipc"}
    expected = {plain: generate(model, ["a fox"], [7], **said)[0]}  # type: ignore[arg-type]
    set_weights(model, weights)
    expected[trained] = generate(model, ["a fox"], [7], **said)[0]  # type: ignore[arg-type]
    for tryout_id, picture in expected.items():
        assert np.array_equal(pixels(store, row(store, tryout_id).pictures[0]), picture)
        told = Image.open(store.blobs.get(row(store, tryout_id).pictures[0])).text["parameters"]  # type: ignore[attr-defined]
        assert "<lora:" not in told
    assert not np.array_equal(expected[plain], expected[trained])
