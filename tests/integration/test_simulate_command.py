"""A tiny federation end to end through the command line: real processes, real pictures, a real (tiny) model."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import warm
from diffusers import StableDiffusionPipeline, UniPCMultistepScheduler
from network import FEDFLOW, SETTINGS, wait_for
from PIL import Image

from fedflow.shipped import demo_folder

LIMIT_S = 300


def fedflow(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return warm.run(*arguments, timeout=LIMIT_S)


def plan_text(model: Path, data: Path, **settings: str) -> str:
    lines = {"name": '"tiny"', "model": f'"{model}"', "rounds": "2", "seeds": "[5]"} | settings
    return (
        "\n".join(f"{key} = {value}" for key, value in lines.items())
        + f"""
[data]
root = "{data}"
clients = ["client-1", "client-2"]
[lora]
rank = 4
alpha = 8
[training]
batch_size = 2
epochs = 1
checkpoint_every = 1
[baselines]
central = true
alone = true
[evaluation]
sampler_steps = 2
[gallery]
count = 2
"""
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clients with 4 and 6 of the demo pictures, and 8 held-out ones."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, source, count in (("client-1", "client-1", 4), ("client-2", "client-3", 6), ("heldout", "heldout", 8)):
        (folder / name).mkdir()
        for picture in sorted((demo_folder() / source).glob("*.png"))[:count]:
            for path in (picture, picture.with_suffix(".txt")):
                (folder / name / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module")
def finished(tiny_model_folder: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished FedEx-LoRA run, by the command as a person starts it."""
    folder = tmp_path_factory.mktemp("run")
    plan = folder / "plan.toml"
    plan.write_text(plan_text(tiny_model_folder, pictures), encoding="utf-8")
    command = [*FEDFLOW, "simulate", str(plan), "--out", str(folder / "out"), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout.splitlines()[-1]
    return folder / "out"


def table(run: Path) -> list[dict[str, str]]:
    with open(run / "table.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def blobs(run: Path) -> set[str]:
    return {path.name for path in (run / "blobs").rglob("*") if path.is_file()}


def test_the_table_has_every_participant_and_honest_steps(finished: Path) -> None:
    rows = table(finished)
    assert list(rows[0]) == ["seed", "round", "participant", "examples", "steps", "fid", "kid", "kid_low", "kid_high"]
    got = [(row["round"], row["participant"], row["examples"], row["steps"]) for row in rows]
    assert got == [
        ("0", "base", "0", "0"),
        ("0", "floor", "8", "0"),
        ("1", "client-1", "4", "2"),
        ("1", "client-2", "6", "3"),
        ("1", "aggregated", "10", "5"),
        ("1", "central", "10", "5"),
        ("2", "client-1", "4", "4"),
        ("2", "client-2", "6", "6"),
        ("2", "aggregated", "10", "10"),
        ("2", "central", "10", "10"),
        ("2", "alone-1", "4", "4"),
        ("2", "alone-2", "6", "6"),
    ]
    assert all(float(row["kid_low"]) <= float(row["kid"]) <= float(row["kid_high"]) for row in rows)


def test_report_chart_gallery_and_adapters_are_there(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "finished"
    for name in ("chart.png", "gallery.png"):
        with Image.open(finished / name) as picture:
            picture.load()
    assert "<svg" in (finished / "report.html").read_text(encoding="utf-8")
    adapters = finished / "seed-5" / "adapters"
    for layout in ("diffusers", "kohya"):
        for who in ("client-1", "client-2", "aggregated", "residual"):
            for number in (1, 2):
                assert (adapters / f"round-{number}" / f"{who}.{layout}.safetensors").is_file()
        assert (adapters / f"joint.{layout}.safetensors").is_file()


def test_the_bits_do_not_depend_on_the_number_of_workers(
    finished: Path, tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(plan_text(tiny_model_folder, pictures), encoding="utf-8")
    done = fedflow("simulate", plan, "--out", tmp_path / "out", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert blobs(tmp_path / "out") == blobs(finished)
    assert table(tmp_path / "out") == table(finished)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(
    number: signal.Signals, finished: Path, tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    plan, out = tmp_path / "plan.toml", tmp_path / "out"
    plan.write_text(plan_text(tiny_model_folder, pictures), encoding="utf-8")
    words = ["simulate", str(plan), "--out", str(out), "--workers", "2"]
    process = warm.start(words, {**os.environ, **SETTINGS}, tmp_path / "log")
    outcome = out / "seed-5" / "aggregate" / "round-1.json"
    wait_for(lambda: outcome.is_file() or process.poll() is not None, LIMIT_S, "the first round's outcome")
    process.send_signal(number)
    status, stderr = process.wait(60), (tmp_path / "log").read_text()
    assert status == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[number]
    if number is signal.SIGINT:
        assert "same command goes on from there" in stderr
        assert "Traceback" not in stderr
    done = fedflow("simulate", plan, "--out", out, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert blobs(out) == blobs(finished)
    assert table(out) == table(finished)
    assert not list(out.rglob("*.partial"))


def test_another_plan_in_the_same_folder_is_refused(
    finished: Path, tiny_model_folder: Path, pictures: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(plan_text(tiny_model_folder, pictures, rounds="3"), encoding="utf-8")
    done = fedflow("simulate", plan, "--out", finished)
    assert done.returncode == 2
    assert "holds a run of another plan" in done.stderr


def test_the_exported_adapter_draws_what_the_federated_model_draws(
    finished: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    exported = tmp_path / "joint.safetensors"
    done = fedflow("export", finished, "--format", "kohya", "--out", exported)
    assert done.returncode == 0, done.stderr
    assert "nothing lost" in done.stdout
    gallery = finished / "seed-5" / "gallery" / "round-2" / "aggregated"
    with Image.open(gallery / "00.png") as picture:
        federated = np.asarray(picture.convert("RGB")).astype(int)
        settings = picture.text["parameters"]
    prompt = settings.splitlines()[0]
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_model_folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
    generator = torch.Generator().manual_seed(1)
    settings = {"num_inference_steps": 2, "guidance_scale": 3.0, "output_type": "np"}
    base = pipeline(prompt, generator=generator.manual_seed(1), **settings).images[0] * 255
    pipeline.load_lora_weights(exported)
    drawn = pipeline(prompt, generator=generator.manual_seed(1), **settings).images[0] * 255
    assert np.abs(drawn - federated).max() <= 2
    assert np.abs(drawn - base).max() > np.abs(drawn - federated).max()


def test_a_truncated_export_says_what_it_lost(finished: Path, tmp_path: Path) -> None:
    done = fedflow("export", finished, "--format", "diffusers", "--rank", "1", "--out", tmp_path / "short.safetensors")
    assert done.returncode == 0, done.stderr
    assert "rank 1, " in done.stdout
    assert "% of its energy lost" in done.stdout


def test_fedavg_trains_and_joins_whole_models(tiny_model_folder: Path, pictures: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(plan_text(tiny_model_folder, pictures, method='"fedavg"', rounds="1"), encoding="utf-8")
    done = fedflow("simulate", plan, "--out", tmp_path / "out", "--workers", "2", "--set", "baselines.alone=false")
    assert done.returncode == 0, done.stderr
    assert [row["participant"] for row in table(tmp_path / "out")] == [
        "base", "floor", "client-1", "client-2", "aggregated", "central",
    ]  # fmt: skip
    refused = fedflow("export", tmp_path / "out", "--format", "kohya", "--out", tmp_path / "x.safetensors")
    assert refused.returncode == 2
    assert "no adapter to export" in refused.stderr
