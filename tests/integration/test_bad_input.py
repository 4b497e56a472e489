"""What a person sees for a mistake: one line that names the file and the way out, exit status 2, no traceback."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
import warm
from PIL import Image
from safetensors.torch import save_file

from fedflow.cli import main
from fedflow.shipped import demo_folder

FEDFLOW = [sys.executable, "-c", "from fedflow.cli import main; main()"]


def refused(*arguments: str | Path) -> str:
    """Call the command that must fail with status 2; returns its last line of complaint."""
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(told):
        patch.setattr(sys, "argv", ["fedflow", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 2, told.getvalue()
    assert "Traceback" not in told.getvalue()
    return told.getvalue().strip().splitlines()[-1]


def process_refused(*arguments: str | Path) -> str:
    """The same of a process of its own, as a person starts it; slower by all that torch loads."""
    return complaint(
        subprocess.run([*FEDFLOW, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    )


def complaint(done: subprocess.CompletedProcess[str], status: int = 2) -> str:
    """The last line of what a process that must fail has written."""
    assert done.returncode == status, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two good clients and a held-out folder, and a plan for them."""
    for name in ("client-1", "client-2", "heldout"):
        (tmp_path / name).mkdir()
        for picture in sorted((demo_folder() / name).glob("*.png"))[:3]:
            shutil.copy(picture, tmp_path / name)
            shutil.copy(picture.with_suffix(".txt"), tmp_path / name)
    plan = '[data]\nroot = "."\nclients = ["client-1", "client-2"]\n'
    (tmp_path / "plan.toml").write_text(plan, encoding="utf-8")
    return tmp_path


def broken(folder: Path) -> str:
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (folder / "broken.txt").write_text("a_tag")
    return "broken.png"


def huge(folder: Path) -> str:
    Image.new("1", (9000, 8000)).save(folder / "huge.png")
    (folder / "huge.txt").write_text("a_tag")
    return "huge.png"


def animated(folder: Path) -> str:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "moving.txt").write_text("a_tag")
    return "moving.gif"


def no_caption(folder: Path) -> str:
    Image.new("RGB", (8, 8)).save(folder / "silent.png")
    return "silent.png"


def empty_caption(folder: Path) -> str:
    no_caption(folder)
    (folder / "silent.txt").write_text("  ")
    return "silent.txt"


def latin_caption(folder: Path) -> str:
    no_caption(folder)
    (folder / "silent.txt").write_bytes("café".encode("latin-1"))
    return "silent.txt"


@pytest.mark.parametrize("spoil", [broken, huge, animated, no_caption, empty_caption, latin_caption])
def test_a_bad_picture_or_caption_stops_a_run_before_it_starts(spoil, pictures: Path) -> None:  # type: ignore[no-untyped-def]
    name = spoil(pictures / "client-2")
    line = refused("simulate", pictures / "plan.toml", "--out", pictures / "out")
    assert str(pictures / "client-2" / name) in line
    assert not (pictures / "out").exists()


def test_an_empty_or_missing_client_folder_is_named(pictures: Path) -> None:
    shutil.rmtree(pictures / "client-2")
    line = process_refused("simulate", pictures / "plan.toml", "--out", pictures / "out")
    assert str(pictures / "client-2") in line
    (pictures / "client-2").mkdir()
    assert str(pictures / "client-2") in refused("simulate", pictures / "plan.toml", "--out", pictures / "out")


def test_a_plan_with_an_unknown_key_or_a_wrong_type(pictures: Path) -> None:
    line = refused("simulate", pictures / "plan.toml", "--out", pictures / "out", "--set", "rouds=3")
    assert "unknown key 'rouds'" in line
    line = refused("simulate", pictures / "plan.toml", "--out", pictures / "out", "--set", "rounds=many")
    assert "rounds" in line
    assert "'many'" in line


def test_items_of_a_wrong_type_are_each_named(pictures: Path) -> None:
    (pictures / "wrong.toml").write_text('seeds = ["7"]\n[data]\nclients = [1, "a"]\n', encoding="utf-8")
    line = refused("simulate", pictures / "wrong.toml", "--out", pictures / "out")
    said = "data.clients.0: must be text, not 1"
    assert line == f"fedflow: {pictures}/wrong.toml: seeds.0: must be a whole number, not '7'; {said}"
    line = refused("simulate", pictures / "plan.toml", "--out", pictures / "out", "--set", "seeds=[]")
    assert line.endswith("seeds: must hold at least 1, not []")


@pytest.mark.parametrize("place", ["file", "file/in/it", "/proc/nothing", "/proc"])
def test_an_out_that_cannot_be_a_folder(place: str, pictures: Path) -> None:
    (pictures / "file").write_text("mine")
    out = pictures / place
    assert f"{out}: cannot be a run's folder" in refused("simulate", pictures / "plan.toml", "--out", out)
    assert (pictures / "file").read_text() == "mine"


def test_a_folder_with_other_files_is_not_taken_for_a_run(pictures: Path) -> None:
    line = refused("simulate", pictures / "plan.toml", "--out", pictures)
    assert "is not empty and holds no run" in line


def test_a_hub_model_that_cannot_be_reached_is_one_line(pictures: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    line = process_refused("generate", "--model", "nobody/nothing", "--prompt", "a", "--out", pictures / "drawn")
    assert "nobody/nothing" in line


def adapter(path: Path, rank: int, value: float = 1.0) -> Path:
    key = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    tensors = {f"{key}.lora.down.weight": torch.full((rank, 8), value), f"{key}.lora.up.weight": torch.ones(8, rank)}
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("count", ["0", "-3", "nan", "2.5", "many"])
def test_a_forged_example_count(count: str, tmp_path: Path) -> None:
    good, bad = adapter(tmp_path / "a.safetensors", 2), adapter(tmp_path / "b.safetensors", 2)
    line = refused("aggregate", "--method", "fedex-lora", f"{good}:20", f"{bad}:{count}", "--out", tmp_path / "out")
    assert str(bad) in line
    assert not (tmp_path / "out").exists()


def test_adapters_of_unlike_ranks_and_nan(tmp_path: Path) -> None:
    good = adapter(tmp_path / "a.safetensors", 2)
    for name, rank, value in (("rank", 3, 1.0), ("nan", 2, float("nan")), ("inf", 2, float("inf"))):
        bad = adapter(tmp_path / f"{name}.safetensors", rank, value)
        line = refused("aggregate", "--method", "fedit", f"{good}:20", f"{bad}:20", "--out", tmp_path / "out")
        assert name in line
        assert not (tmp_path / "out").exists()


def test_an_adapter_with_nan_draws_nothing(tmp_path: Path) -> None:
    bad = adapter(tmp_path / "nan.safetensors", 2, float("nan"))
    line = refused("generate", "--prompt", "red_apple", "--adapter", bad, "--out", tmp_path / "drawn")
    assert str(bad) in line
    assert not (tmp_path / "drawn").exists()


def test_an_adapter_weight_that_is_not_finite(tmp_path: Path) -> None:
    good = adapter(tmp_path / "a.safetensors", 2)
    line = refused("generate", "--prompt", "red_apple", "--adapter", f"{good}:nan", "--out", tmp_path / "drawn")
    assert f"adapter '{good}:nan': weight nan is not finite" in line
    assert not (tmp_path / "drawn").exists()


def test_a_finished_training_is_not_overwritten(pictures: Path) -> None:
    out = pictures / "trained"
    warm.run("train", pictures / "client-1", "--out", out, "--epochs", "1").check_returncode()
    before = (out / "adapter.safetensors").read_bytes()
    assert "holds a finished training" in refused("train", pictures / "client-1", "--out", out, "--epochs", "2")
    assert (out / "adapter.safetensors").read_bytes() == before


def test_an_out_that_is_a_file_is_refused_before_training(pictures: Path) -> None:
    (pictures / "file").write_text("x")
    assert "choose another --out" in refused("train", pictures / "client-1", "--out", pictures / "file")


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs root to mount a small disk")
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(pictures: Path) -> None:
    disk = pictures / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        done = warm.run("simulate", pictures / "plan.toml", "--out", disk / "out", "--workers", "1")
        line = complaint(done, status=1)
        assert str(disk) in line
        assert "full" in line
        assert not list(disk.rglob("*.partial"))
    finally:
        subprocess.run(["umount", disk], check=True)
