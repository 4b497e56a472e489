"""A version as one whole model: the same weights, and the same pictures, as its base with what is laid over it."""

from __future__ import annotations

import hashlib
import io
import json
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.unit.server.import_setting import brought, kohya_file, tiny_adapter, work
from tests.unit.server.test_imports import ADMIN, LORA, version_of, zipped

from fedflow.federation.jobs import Committed
from fedflow.federation.rounds import Receipt
from fedflow.generation import generate
from fedflow.models import BaseModel, adapter_bytes, get_weights, open_model
from fedflow.plan import Plan
from fedflow.server.database.tables import Artifact, Round, Run, Version
from fedflow.server.errors import Conflict, NotFound
from fedflow.server.services import downloads, files, registry, releases
from fedflow.server.services.identifiers import new_id
from fedflow.server.services.identity import SERVER, first_coordinator
from fedflow.server.services.imports import Wanted
from fedflow.server.settings import ServerSettings
from fedflow.server.store import Store
from fedflow.tensors import to_bytes

TOLERANCE = 1e-6
"""Of weights of about 1: what float32 rounds when three matrices are added in another order."""


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    return ServerSettings(folder=tmp_path / "data")


@pytest.fixture
def model(store: Store, federation_id: str, tiny_model_folder: Path) -> Version:
    first_coordinator(store)
    wanted = Wanted("model", "tiny", "upload", "tiny.zip")
    return version_of(store, brought(store, federation_id, wanted, zipped(tiny_model_folder), ADMIN))


def written(store: Store, version: Version, layout: str, folder: Path) -> BaseModel:
    """The version written in a layout by a worker, and opened as others would."""
    assert downloads.ask(store, SERVER, version.id, layout).state == "waiting"
    work(store)
    told = next(each for each in downloads.listed(store, SERVER, version.id) if each.layout == layout)
    assert (told.state, told.message) == ("ready", "")
    path, name, sha256 = downloads.file_of(store, SERVER, version.id, layout)
    content = path.read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (sha256, told.size_bytes)
    folder.mkdir()
    if layout == "merged":
        assert name.endswith(".merged.zip")
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)
        return open_model(str(folder))
    assert name.endswith(".checkpoint.safetensors")
    (folder / "model.safetensors").write_bytes(content)
    return open_model(str(folder / "model.safetensors"))


def differences(model: BaseModel, other: BaseModel) -> dict[str, float]:
    """The largest difference of each of the UNet's weights."""
    ours, theirs = get_weights(model), get_weights(other)
    assert ours.keys() == theirs.keys()
    return {name: float((ours[name] - theirs[name]).abs().max()) for name in ours}


def drawn(model: BaseModel, adapters: list[tuple[object, float]]) -> np.ndarray:
    return generate(model, ["a fox"], [3], steps=4, guidance=3.0, batch_size=1, sampler="ddim", adapters=adapters)  # type: ignore[arg-type]


def test_a_merged_lora_has_the_weights_and_draws_the_pictures_of_base_and_lora(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path, tmp_path: Path
) -> None:
    wanted = Wanted("adapter", "foxes", "upload", "foxes.safetensors", model.id)
    version = version_of(store, brought(store, federation_id, wanted, kohya_file(tiny_model_folder), ADMIN))
    merged = written(store, version, "merged", tmp_path / "merged")
    base, adapter = open_model(str(tiny_model_folder)), tiny_adapter(tiny_model_folder)
    changes = {f"{key}.weight": factors.delta() for key, factors in adapter.items()}
    before, after = get_weights(base), get_weights(merged)
    for name, weight in before.items():
        if name in changes:
            assert float(changes[name].abs().max()) > 0.01, "else nothing would be tested"
            assert torch.allclose(after[name], weight + changes[name], atol=TOLERANCE, rtol=0.0)
        else:
            assert torch.equal(after[name], weight)
    for part in ("vae", "text_encoder"):
        named = dict(merged.part(part).named_parameters())
        assert all(torch.equal(named[name], each) for name, each in base.part(part).named_parameters())
    pictures = drawn(merged, []), drawn(base, [(adapter, 1.0)]), drawn(base, [])
    assert int(np.abs(pictures[0].astype(int) - pictures[1].astype(int)).max()) <= 1
    assert int(np.abs(pictures[0].astype(int) - pictures[2].astype(int)).max()) > 1, "the LoRA changes the picture"


def test_a_rounds_residuals_are_folded_in_too(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path, tmp_path: Path
) -> None:
    adapters = [tiny_adapter(tiny_model_folder, rank) for rank in (2, 3, 1)]
    digests = [files.put(store, adapter_bytes(each, "diffusers", {}), "adapter") for each in adapters]
    plan = Plan.model_validate({"name": "joint", "model": "registry:tiny/1", "data": {"clients": ("a", "b")}})
    version = committed(store, federation_id, model, plan, digests)
    merged = written(store, version, "merged", tmp_path / "merged")
    expected = get_weights(open_model(str(tiny_model_folder)))
    for adapter in adapters:
        for key, factors in adapter.items():
            expected[f"{key}.weight"] = expected[f"{key}.weight"] + factors.delta()
    after = get_weights(merged)
    assert max(float((after[name] - expected[name]).abs().max()) for name in expected) < 3 * TOLERANCE
    single = written_beside(store, version, tiny_model_folder, tmp_path / "single")
    assert max(differences(merged, single).values()) == 0.0
    assert single.content_hash == merged.content_hash


def committed(store: Store, federation_id: str, model: Version, plan: Plan, digests: list[str]) -> Version:
    """A run of two rounds as rows: a residual each, and the second round's adapter."""
    adapter, *residuals = digests
    with store.begin() as session:
        run = Run(id=new_id(), federation_id=federation_id, name=plan.name, plan=plan.model_dump(mode="json"))
        run.status, run.round, run.message, run.created_at = "done", 2, "", 0.0
        run.base, run.base_hash, run.initial = model.content, model.content_hash, adapter
        session.add(run)
        session.flush()
        for number, residual in enumerate(residuals, 1):
            row = Round(run_id=run.id, number=number, phase="done", selected=[], opened_at=0.0, deadline_at=0.0)
            row.adapter, row.residual, row.committed_at = adapter, residual, 0.0
            session.add(row)
            session.flush()
            receipts = [Receipt("a", number, adapter, 10), Receipt("b", number, adapter, 10)]
            made = Committed(adapter, residual, 0, 0, {}, None)
            version = registry.add_round(session, store, run, number, receipts, made)
        return version


def written_beside(store: Store, version: Version, configs: Path, folder: Path) -> BaseModel:
    """The version as a checkpoint, with a model's settings beside it, as who loads one file has them."""
    downloads.ask(store, SERVER, version.id, "checkpoint")
    work(store)
    path, _, _ = downloads.file_of(store, SERVER, version.id, "checkpoint")
    (folder / "model").mkdir(parents=True)
    for each in configs.rglob("*"):
        if each.is_file() and each.suffix != ".safetensors":
            target = folder / "model" / each.relative_to(configs)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(each.read_bytes())
    (folder / "model.safetensors").write_bytes(path.read_bytes())
    return open_model(str(folder / "model.safetensors"))


def test_a_whole_model_that_a_run_trained_is_merged_too(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path, tmp_path: Path
) -> None:
    trained = {name: tensor + 0.5 for name, tensor in get_weights(open_model(str(tiny_model_folder))).items()}
    weights = files.put(store, to_bytes(trained, {}), "adapter")
    clients = {"clients": ("a", "b")}
    plan = Plan.model_validate({"name": "starter", "model": "registry:tiny/1", "method": "fedavg", "data": clients})
    with store.begin() as session:
        run = Run(id=new_id(), federation_id=federation_id, name="starter", plan=plan.model_dump(mode="json"))
        run.status, run.round, run.message, run.created_at, run.base_hash = "done", 1, "", 0.0, model.content_hash
        session.add(run)
        session.flush()
        version = registry.add_round(session, store, run, 1, [], Committed(weights, None, 0, 0, {}, None))
        artifact = session.get_one(Artifact, version.artifact_id)
    assert artifact.name == "starter (run)", "the starter's name stands for its licence"
    merged = get_weights(written(store, version, "merged", tmp_path / "merged"))
    assert all(torch.equal(merged[name], trained[name]) for name in trained)


def test_a_base_model_is_given_out_as_it_came(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path, tmp_path: Path
) -> None:
    assert written(store, model, "merged", tmp_path / "merged").content_hash == model.content_hash
    listed = json.loads(store.blobs.get(model.content).read_bytes())
    for each in listed:
        content = (tmp_path / "merged" / each["path"]).read_bytes()
        assert content == (tiny_model_folder / each["path"]).read_bytes()
    release_id = releases.release(store, SERVER, model.id, "v1", "")
    _, name, _ = releases.file_of(store, SERVER, release_id, "merged")
    assert name == "tiny-v1.merged.zip"


def test_what_names_no_base_cannot_be_merged_and_a_failure_is_told_and_tried_again(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path
) -> None:
    alone = version_of(store, brought(store, federation_id, LORA, kohya_file(tiny_model_folder), ADMIN))
    with pytest.raises(Conflict, match="names no base model that it could be merged into"):
        downloads.ask(store, SERVER, alone.id, "merged")
    with pytest.raises(NotFound, match="has no layout 'onnx'; there are diffusers, kohya, merged, checkpoint"):
        downloads.ask(store, SERVER, alone.id, "onnx")
    with pytest.raises(NotFound, match="is not written in the layout 'merged' yet"):
        downloads.file_of(store, SERVER, model.id, "merged")
    damaged = files.put(store, b"no adapter", "adapter")
    with store.begin() as session:
        row = session.get_one(Version, alone.id)
        row.base_id, row.content = model.id, damaged
    downloads.ask(store, SERVER, alone.id, "merged")
    work(store)
    told = next(each for each in downloads.listed(store, SERVER, alone.id) if each.layout == "merged")
    assert told.state == "failed"
    assert "is not a safetensors file" in told.message
    assert str(store.folder) not in told.message
    assert downloads.ask(store, SERVER, alone.id, "merged").state == "waiting"


def test_written_twice_it_is_the_same_file(
    store: Store, federation_id: str, model: Version, tiny_model_folder: Path, tmp_path: Path
) -> None:
    wanted = Wanted("adapter", "foxes", "upload", "foxes.safetensors", model.id)
    version = version_of(store, brought(store, federation_id, wanted, kohya_file(tiny_model_folder), ADMIN))
    hashes = set()
    for number in range(2):
        written(store, version, "merged", tmp_path / str(number))
        with store.begin() as session:
            row = session.get_one(Version, version.id)
            hashes.add(row.files["merged"])
            row.files = {}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("Лисиці та їжаки", "Лисиці-та-їжаки"),
        (unicodedata.normalize("NFD", "Лисиці та їжаки"), "Лисиці-та-їжаки"),
        ("../a b/<c>.", "a-b-c"),
        ("हिन्दी", "हिन्दी"),
        ("foxes 🦊", "foxes-0badcafe"),
        ("🐻", "adapter-0badcafe"),
        ("<>", "adapter-0badcafe"),
        ("ї" * 100, "ї" * 90 + "-0badcafe"),
    ],
)
def test_a_file_keeps_the_letters_of_its_artifacts_name(name: str, called: str) -> None:
    artifact = Artifact(id="01a22122-fa4f-777c-a424-b6690badcafe", kind="adapter", name=name)
    assert downloads.file_name(artifact, "v1.0", "kohya") == f"{called}-v1.0.kohya.safetensors"
    longest = downloads.file_name(artifact, "v" * 40, "provenance")
    assert len(longest.encode()) < 255
