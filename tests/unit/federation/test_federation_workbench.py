"""What a workbench makes of a job, with a tiny model and a few demo pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from peft.tuners.lora import LoraLayer

from fedflow.errors import DatasetError, RunError
from fedflow.federation.jobs import DrawJob, Trained, TrainJob
from fedflow.federation.rounds import Merged
from fedflow.federation.workbench import Workbench
from fedflow.lora import Factors
from fedflow.models import adapter_bytes, new_adapter, open_model, read_adapter
from fedflow.plan import Plan
from fedflow.shipped import demo_folder
from fedflow.tensors import open_tensors


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for picture in sorted((demo_folder() / "client-1").glob("*.png"))[:3]:
        for path in (picture, picture.with_suffix(".txt")):
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def plan(model: str, **settings: object) -> Plan:
    training = {"batch_size": 2, "epochs": 1, "checkpoint_every": 1, **settings.pop("training", {})}  # type: ignore[dict-item]
    return Plan.model_validate({"model": model, "lora": {"rank": 2, "alpha": 4}, "training": training, **settings})


def train(bench: Workbench, who: str = "client-1", steps: int = 2) -> Trained:
    start = bench.initial_adapter(1) if bench.plan.trains_adapter else None
    return bench.train(TrainJob(1, who, 1, ("client-1",), steps, start, ()))


def test_the_name_of_the_folder_and_the_place_of_the_base_change_no_bit(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    there = Workbench(plan(str(tiny_model_folder)), tmp_path / "a", {"client-1": pictures}, "auto", None)
    elsewhere = tmp_path / "the cat collection"
    elsewhere.symlink_to(pictures)
    base = tmp_path / "base"
    base.symlink_to(tiny_model_folder)
    here = Workbench(
        plan("somebody/unreachable"), tmp_path / "b", {"client-1": elsewhere}, "auto", None, base=str(base)
    )
    assert train(there).update == train(here).update


def test_a_name_without_a_folder_is_refused(tiny_model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    bench = Workbench(plan(str(tiny_model_folder)), tmp_path, {"studio": pictures}, "auto", None)
    with pytest.raises(DatasetError, match="no pictures of 'client-1' here; the folders given are of studio"):
        train(bench)


@pytest.mark.parametrize(("wire", "dtype"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
@pytest.mark.parametrize("method", ["fedex-lora", "fedavg"])
def test_an_update_is_the_trained_one_rounded_to_the_wire(
    wire: str, dtype: torch.dtype, method: str, tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    def update(out: str, number_format: str) -> Path:
        asked = plan(str(tiny_model_folder), method=method, network={"wire": number_format})
        bench = Workbench(asked, tmp_path / out, {"client-1": pictures}, "auto", None)
        return bench.folder.blobs.get(train(bench).update)

    whole, rounded = open_tensors(update("whole", "float32")), open_tensors(update("rounded", wire))
    assert whole.keys() == rounded.keys()
    for name in whole:
        assert rounded.dtype(name) == dtype
        assert torch.equal(rounded[name], whole[name].to(dtype))
    if method == "fedex-lora":
        factors, _ = read_adapter(rounded.path)
        assert {each.alpha for each in factors.values()} == {4.0}


def test_a_baseline_sends_nothing_and_keeps_its_precision(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    asked = plan(str(tiny_model_folder), network={"wire": "bfloat16"})
    bench = Workbench(asked, tmp_path, {"client-1": pictures}, "auto", None)
    for who in ("central", "alone-1"):
        file = open_tensors(bench.folder.blobs.get(train(bench, who).update))
        assert {file.dtype(name) for name in file} == {torch.float32}


def test_values_beyond_the_wire_are_refused_with_the_way_out(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    asked = plan(str(tiny_model_folder), network={"wire": "float16"}, training={"learning_rate": 1e6})
    bench = Workbench(asked, tmp_path, {"client-1": pictures}, "auto", None)
    with pytest.raises(RunError, match=r"client-1, round 1: .* beyond float16; lower training.learning_rate"):
        train(bench, steps=1)


def test_the_base_that_was_given_is_the_one_that_is_open(tiny_model_folder: Path, tmp_path: Path) -> None:
    bench = Workbench(plan("starter"), tmp_path, {}, "auto", None, base=str(tiny_model_folder))
    assert bench.model.content_hash == open_model(str(tiny_model_folder)).content_hash


@pytest.mark.parametrize("text_encoder", [False, True])
def test_merged_weights_in_the_place_of_residuals_change_no_bit(
    text_encoder: bool, tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    asked = plan(str(tiny_model_folder), lora={"rank": 2, "alpha": 4, "text_encoder": text_encoder})
    benches = [Workbench(asked, tmp_path / name, {"client-1": pictures}, "auto", None) for name in ("a", "b", "c")]
    made = [random_adapter(benches[0], seed) for seed in (3, 4, 5)]
    for bench in benches:
        for content in made:
            bench.folder.blobs.put(content)
    start, residuals = benches[0].initial_adapter(1), tuple(sha256(content) for content in made)
    merged = Merged(benches[1].folder.blobs.put(benches[2].merged_weights(residuals[:2])), 2)
    benches[1].folder.blobs.put(benches[0].folder.blobs.get(start).read_bytes())
    for name in residuals[:2]:
        benches[1].folder.blobs.get(name).unlink()  # what is merged need not be there
    updates = [
        benches[number].train(TrainJob(1, "client-1", 4, ("client-1",), 2, start, residuals, given)).update
        for number, given in ((0, None), (1, merged))
    ]
    assert updates[0] == updates[1]
    plain = Workbench(asked, tmp_path / "d", {"client-1": pictures}, "auto", None)
    assert train(plain).update != updates[0]


@pytest.mark.parametrize("text_encoder", [False, True])
def test_layers_that_stay_from_the_training_before_change_no_bit(
    text_encoder: bool, tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    asked = plan(
        str(tiny_model_folder),
        lora={"rank": 2, "alpha": 4, "text_encoder": text_encoder},
        evaluation={"sampler_steps": 2},
        gallery={"prompts": ["a cat"]},
    )
    folders = {"client-1": pictures, "client-2": pictures, asked.data.heldout: pictures}
    benches = [Workbench(asked, tmp_path / name, folders, "auto", None) for name in ("a", "b", "c", "d")]
    contents = [random_adapter(benches[0], seed) for seed in (3, 4)]
    for bench in benches:
        for content in contents:
            bench.folder.blobs.put(content)
    residual, start = (sha256(content) for content in contents)
    first = TrainJob(1, "client-1", 1, ("client-1",), 2, start, ())
    second = TrainJob(1, "client-1", 2, ("client-1",), 2, start, (residual,))
    others = TrainJob(1, "client-2", 2, ("client-2",), 2, start, (residual,))
    drawing = DrawJob(1, "aggregated", 2, start, (residual,))
    kept, fresh, other, last = benches
    kept.train(first)
    layers = {path: module for path, module in kept.model.unet.named_modules() if isinstance(module, LoraLayer)}
    update = kept.train(second).update
    now = dict(kept.model.unet.named_modules())
    assert layers
    assert all(now[path] is module for path, module in layers.items())
    others_update, drawn = kept.train(others).update, kept.draw(drawing)
    assert update == fresh.train(second).update
    assert others_update == other.train(others).update
    plain = last.draw(drawing)
    assert np.array_equal(np.load(kept.folder.out / drawn.features), np.load(last.folder.out / plain.features))


def random_adapter(bench: Workbench, seed: int) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    fresh = new_adapter(bench.model, 2, 4.0, bench.plan.lora.text_encoder, generator)
    filled = {
        key: Factors(each.A, torch.randn(each.B.shape, generator=generator), each.alpha) for key, each in fresh.items()
    }
    return adapter_bytes(filled, "diffusers", {})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
