"""`fedflow train` writes adapters that open again, and a stop loses nothing."""

from __future__ import annotations

import _thread
import json
import re
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from little_memory import little_memory
from PIL import Image

from fedflow.cli.train import train
from fedflow.errors import AdapterError, MistakeError, ModelError, PlanError, RunError
from fedflow.lora import Adapter
from fedflow.models import open_model, read_adapter
from fedflow.training import CHECKPOINT_NAME


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        Image.fromarray(noise.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"{name}, fruit")
    (folder / "empty.png").write_bytes(b"")
    return folder


def same(left: Adapter, right: Adapter) -> bool:
    return left.keys() == right.keys() and all(
        torch.equal(left[key].A, right[key].A) and torch.equal(left[key].B, right[key].B) for key in left
    )


def test_an_adapter_is_written_in_both_layouts(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    train(
        str(tiny_model_folder),
        pictures,
        out,
        rank=2,
        alpha=1.0,
        epochs=2,
        batch_size=2,
        text_encoder=True,
        trigger="my_style",
        sample_prompt="a, fruit",
        sample_every=2,
    )
    diffusers_adapter, diffusers_layout = read_adapter(out / "adapter.safetensors")
    kohya_adapter, kohya_layout = read_adapter(out / "adapter.kohya.safetensors")
    assert (diffusers_layout, kohya_layout) == ("diffusers", "kohya")
    assert same(diffusers_adapter, kohya_adapter)
    assert {factors.alpha for factors in diffusers_adapter.values()} == {1.0}
    assert any(key.startswith("text_encoder.") for key in diffusers_adapter)
    report = json.loads((out / "training.json").read_text())
    assert report["num_examples"] == 3
    assert report["recipe"]["steps"] == len(report["losses"]) == 3
    assert report["model_hash"] == open_model(str(tiny_model_folder)).content_hash
    assert sorted(path.name for path in out.iterdir()) == [
        "adapter.kohya.safetensors",
        "adapter.safetensors",
        "samples",
        "training.json",
    ]
    for step, called in ((2, "out (step 2)"), (3, "out (step 3)")):
        with Image.open(out / "samples" / f"step-{step:06d}.png") as picture:
            assert picture.size == (16, 16)
            told = picture.text["parameters"]  # type: ignore[attr-defined]
            assert told.startswith(f"a, fruit <lora:{called}:1>\n")
    printed = capsys.readouterr()
    assert "empty.png" in printed.err
    assert "a.png: its caption is longer than the model can read (so are 3 of 3), and the end teach" in printed.err
    told = r"It will take 3 steps, under a minute on two processor cores, about \d+\.\d MB of memory .*free\)\."
    assert re.search(told, printed.err) or torch.cuda.is_available()
    assert "3 pictures, 3 steps in" in printed.out


def test_what_the_machine_lacks_is_told_before_the_start(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ModelError, match="size 100001"):
        train(str(tiny_model_folder), pictures, tmp_path / "large", size=100_001)
    assert "less memory free than it needs; take a smaller --batch-size" in capsys.readouterr().err


def test_a_disk_that_is_too_small_is_refused_before_the_start(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: there._replace(free=1000))
    out = tmp_path / "out"
    with pytest.raises(RunError, match=r"out: the disk has 1 kB free, and checkpoint and result take .* free space or"):
        train(str(tiny_model_folder), pictures, out)
    assert not out.exists()


def interrupt_once_there(path: Path) -> None:
    """Ctrl-C as soon as `path` is there."""
    deadline = time.monotonic() + 60
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.001)
    _thread.interrupt_main()


def test_ctrl_c_loses_no_checkpoint_and_changes_nothing(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    def run(out: Path, learning_rate: float = 1e-3) -> Adapter:
        settings = {"rank": 2, "epochs": 40, "batch_size": 2, "checkpoint_every": 5}
        train(str(tiny_model_folder), pictures, out, learning_rate=learning_rate, **settings)  # type: ignore[arg-type]
        return read_adapter(out / "adapter.safetensors")[0]

    whole = run(tmp_path / "whole")
    stopped = tmp_path / "stopped"
    threading.Thread(target=interrupt_once_there, args=[stopped / CHECKPOINT_NAME], daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match=r"of 60; run the same command again to go on from step"):
        run(stopped)
    assert not (stopped / "adapter.safetensors").exists()
    with pytest.raises(PlanError, match=r"learning_rate 0\.001, now 0\.5"):
        run(stopped, learning_rate=0.5)
    assert same(run(stopped), whole)


def test_training_starts_from_an_adapter_that_is_given(tiny_model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    train(str(tiny_model_folder), pictures, tmp_path / "first", rank=2, epochs=1)
    start = tmp_path / "first" / "adapter.safetensors"
    train(str(tiny_model_folder), pictures, tmp_path / "second", epochs=1, start=start, learning_rate=1e-9)
    before, after = read_adapter(start)[0], read_adapter(tmp_path / "second" / "adapter.safetensors")[0]
    for key, factors in before.items():
        torch.testing.assert_close(after[key].A, factors.A, rtol=0, atol=1e-7)
        assert after[key].rank == 2
    with pytest.raises(AdapterError, match=r"nothing\.safetensors"):
        train(str(tiny_model_folder), pictures, tmp_path / "third", start=tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("name", ["adapter.safetensors", "adapter.kohya.safetensors", "model/thesis.txt"])
@pytest.mark.parametrize("full", [False, True])
def test_what_is_not_of_this_training_is_not_replaced(name: str, full: bool, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(MistakeError, match="is there already and not of a training that was stopped"):
        train("no-such-model", pictures, out, full=full)
    assert (out / name).read_text() == "mine"
    assert [path for path in out.rglob("*") if path.is_file()] == [out / name]


def test_a_checkpoint_does_not_make_a_foreign_model_folder_ours(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def run() -> None:
        train(str(tiny_model_folder), pictures, out, full=True, epochs=40, batch_size=2, checkpoint_every=5)

    threading.Thread(target=interrupt_once_there, args=[out / CHECKPOINT_NAME], daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run()
    thesis = out / "model" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("mine")
    with pytest.raises(MistakeError, match="model: is there already and no model"):
        run()
    assert thesis.read_text() == "mine"
    thesis.unlink()
    run()
    assert open_model(str(out / "model")).resolution == 16


def test_a_size_that_does_not_fit_leaves_no_folder(tiny_model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="size 33"):
        train(str(tiny_model_folder), pictures, tmp_path / "new" / "out", size=33)
    assert not (tmp_path / "new").exists()


def test_the_whole_unet_is_written_as_a_model(tiny_model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    train(str(tiny_model_folder), pictures, tmp_path, full=True, epochs=1)
    base, trained = open_model(str(tiny_model_folder)), open_model(str(tmp_path / "model"))
    assert trained.content_hash != base.content_hash
    assert torch.equal(trained.vae.encoder.conv_in.weight, base.vae.encoder.conv_in.weight)
    assert not torch.equal(trained.unet.conv_in.weight, base.unet.conv_in.weight)


def test_options_that_exclude_each_other_or_count_for_nothing_are_refused(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(MistakeError, match="--sample-every: nothing is drawn without --sample"):
        train(str(tiny_model_folder), pictures, tmp_path / "out", sample_every=5)
    with pytest.raises(MistakeError, match="--full trains no adapter"):
        train(str(tiny_model_folder), pictures, tmp_path / "out", full=True, start=tmp_path / "a.safetensors")
    for given, named in (({"rank": 4}, "--rank"), ({"alpha": 1.0, "text_encoder": True}, "--alpha, --text-encoder")):
        for whole, start, why in ((True, None, "--full trains no"), (False, tmp_path / "a", "--start keeps its own")):
            with pytest.raises(MistakeError, match=f"^{named}: .*{why}"):
                train(str(tiny_model_folder), pictures, tmp_path / "out", full=whole, start=start, **given)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_an_out_that_takes_no_files_is_refused_before_anything_heavy(tiny_model_folder: Path, pictures: Path) -> None:
    with pytest.raises(MistakeError, match=r"/proc: cannot be written into"):
        train(str(tiny_model_folder), pictures, Path("/proc"))


def test_memory_that_lacks_is_told_with_the_options_that_fit(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    train(str(tiny_model_folder), pictures, tmp_path / "first", rank=2, epochs=1, batch_size=2)
    for options, batch_size, size, full in (
        ("give --batch-size 2048 --accumulation 2, which learns the same, or", 4096, 64, False),
        ("give --size 1024, or", 1, 2048, False),
        ("give --size 1024, leave out --full, or", 8, 2048, True),
    ):
        out = tmp_path / f"{batch_size}"
        with little_memory(), pytest.raises(RunError, match=f"the machine's memory does not suffice; {options} close"):
            train(str(tiny_model_folder), pictures, out, batch_size=batch_size, size=size, full=full)
        assert not out.exists()
