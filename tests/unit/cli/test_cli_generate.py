"""`fedflow generate` writes pictures that carry their settings."""

from __future__ import annotations

import _thread
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from little_memory import little_memory
from PIL import Image

from fedflow.cli.generate import generate, split_weight
from fedflow.errors import AdapterError, MistakeError, ModelError, RunError
from fedflow.lora import Factors
from fedflow.models import adapter_bytes, new_adapter, open_model


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_pictures_of_every_prompt_and_seed(tiny_model_folder: Path, tmp_path: Path) -> None:
    written = generate(str(tiny_model_folder), ["red", "green"], tmp_path, seed=7, count=2, steps=2)
    assert [path.name for path in written] == [
        "001-seed-7.png",
        "001-seed-8.png",
        "002-seed-7.png",
        "002-seed-8.png",
    ]
    with Image.open(written[3]) as picture:
        assert picture.size == (16, 16)
        settings = picture.text["parameters"]  # type: ignore[attr-defined]
    assert settings.startswith("green\nNegative prompt: \nSteps: 2, Sampler: UniPC, CFG scale: 3, Seed: 8, Size: 16x16")


def test_a_picture_is_as_wide_and_high_as_was_asked_for(tiny_model_folder: Path, tmp_path: Path) -> None:
    for width, height, size in ((32, 24, (32, 24)), (18, None, (18, 16)), (None, 10, (16, 10))):
        [written] = generate(str(tiny_model_folder), ["red"], tmp_path, steps=1, width=width, height=height)
        with Image.open(written) as picture:
            assert picture.size == size
            assert f"Size: {size[0]}x{size[1]}," in picture.text["parameters"]  # type: ignore[attr-defined]


def test_a_picture_is_drawn_over_where_the_mask_is_white(tiny_model_folder: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    start, mask = tmp_path / "start.png", tmp_path / "mask.png"
    Image.fromarray(noise).save(start)
    Image.new("L", (64, 64)).save(tmp_path / "black.png")
    half = Image.new("L", (64, 64))
    half.paste(255, (0, 0, 32, 64))
    half.save(mask)

    def drawn(name: str, **given: object) -> Path:
        return generate(str(tiny_model_folder), ["red"], tmp_path / name, steps=4, **given)[0]  # type: ignore[arg-type]

    plain, over = drawn("plain"), drawn("over", start=start, count=2, batch_size=1)
    assert not np.array_equal(pixels(plain), pixels(over))
    with Image.open(over) as picture:
        assert "Denoising strength: 0.6" in picture.text["parameters"]  # type: ignore[attr-defined]
    part = pixels(drawn("part", start=start, mask=mask, strength=1.0))
    assert np.array_equal(part[:, 8:], noise[:, 8:]), "elsewhere it stays as it is"
    assert not np.array_equal(part[:, :8], noise[:, :8])
    for given, why in (
        ({"mask": mask}, "^--mask says how --start is drawn over"),
        ({"strength": 0.5}, "^--strength says how --start is drawn over"),
        ({"start": start, "mask": tmp_path / "black.png"}, r"black\.png: nothing in it is white"),
        ({"start": tmp_path / "none.png"}, r"none\.png: cannot be opened \(No such file"),
        ({"start": Path(__file__)}, r"\.py: the file is none of PNG, JPEG, WEBP, or is damaged; save it as one"),
    ):
        with pytest.raises(MistakeError, match=why):
            drawn("refused", **given)  # type: ignore[arg-type]
    assert not (tmp_path / "refused").exists()


def test_adapters_act_by_their_weights(tiny_model_folder: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    fresh = new_adapter(open_model(str(tiny_model_folder)), 2, 2.0, False, generator)
    adapter = {key: Factors(f.A, torch.randn(f.B.shape, generator=generator), f.alpha) for key, f in fresh.items()}
    file = tmp_path / "style.safetensors"
    file.write_bytes(adapter_bytes(adapter, "kohya", {}))

    def drawn(name: str, *adapters: str) -> Path:
        return generate(str(tiny_model_folder), ["red"], tmp_path / name, adapters=list(adapters), steps=2)[0]

    base, none = drawn("base"), drawn("none", f"{file}:0")
    whole, halves = drawn("whole", str(file)), drawn("halves", f"{file}:0.5", f"{file}:0.5")
    assert np.array_equal(pixels(base), pixels(none))
    assert np.abs(pixels(base) - pixels(whole)).max() > 1
    assert np.abs(pixels(whole) - pixels(halves)).max() <= 1
    with Image.open(halves) as picture:
        assert picture.text["parameters"].startswith("red <lora:style:0.5> <lora:style:0.5>\n")  # type: ignore[attr-defined]


def test_numbers_go_on_after_the_largest_in_the_folder(tiny_model_folder: Path, tmp_path: Path) -> None:
    for name in ("001-seed-0.png", "007-seed-3.png", "900-seed-3.txt", "another.png"):
        (tmp_path / name).write_bytes(b"mine")
    written = generate(str(tiny_model_folder), ["red", "green"], tmp_path, steps=1)
    assert [path.name for path in written] == ["008-seed-0.png", "009-seed-0.png"]
    assert (tmp_path / "001-seed-0.png").read_bytes() == b"mine"


def test_ctrl_c_loses_at_most_the_batch_under_way(tiny_model_folder: Path, tmp_path: Path) -> None:
    """The second batch ends in Ctrl-C once the first one's pictures are there."""
    out = tmp_path / "out"

    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while len(list(out.glob("*.png"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.001)
        _thread.interrupt_main()

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt, match=r"stopped; \d+ of 400 pictures are written in .*out$") as stop:
        generate(str(tiny_model_folder), ["red"], out, count=400, steps=20, batch_size=2)
    files = sorted(out.iterdir())
    assert 2 <= len(files) < 400
    assert f"stopped; {len(files)} of" in str(stop.value)
    for path in files:
        assert pixels(path).shape == (16, 16, 3)


def test_what_cannot_be_drawn_is_refused_before_the_model_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(MistakeError, match=r"file: cannot be made a folder \(File exists\); choose another --out"):
        generate("no-such-model", ["red"], tmp_path / "file")
    with pytest.raises(MistakeError, match=r"file/in: cannot be made a folder"):
        generate("no-such-model", ["red"], tmp_path / "file" / "in")
    with pytest.raises(ModelError, match="sampler 'plms' is unknown"):
        generate("no-such-model", ["red"], tmp_path / "out", sampler="plms")
    with pytest.raises(ModelError, match="no-such-model: no such folder"):
        generate("no-such-model", ["red"], tmp_path / "new" / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_size_that_does_not_fit_leaves_no_folder(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="size 33"):
        generate(str(tiny_model_folder), ["red"], tmp_path / "out", width=32, height=33)
    assert not (tmp_path / "out").exists()


def test_an_adapter_out_of_range_draws_no_black_picture(tiny_model_folder: Path, tmp_path: Path) -> None:
    fresh = new_adapter(open_model(str(tiny_model_folder)), 2, 2.0, False, torch.Generator().manual_seed(0))
    huge = {key: Factors(f.A * 1e30, torch.full_like(f.B, 1e30), f.alpha) for key, f in fresh.items()}
    file = tmp_path / "huge.safetensors"
    file.write_bytes(adapter_bytes(huge, "kohya", {}))
    with pytest.raises(RunError, match=r"with its 1 adapters draws no picture but NaN; lower the adapters' weights"):
        generate(str(tiny_model_folder), ["red"], tmp_path / "out", adapters=[str(file)], steps=2)
    assert not (tmp_path / "out").exists()


def test_memory_that_lacks_is_told_with_the_options_that_fit(tiny_model_folder: Path, tmp_path: Path) -> None:
    generate(str(tiny_model_folder), ["red"], tmp_path, steps=1)
    smaller = "--width 1024 --height 1024"
    for count, batch_size, options in ((2, 2, "--batch-size 1"), (2, 1, smaller), (1, 16, smaller)):
        wanted = f"the machine's memory does not suffice; give {options}, or close other programs"
        with little_memory(), pytest.raises(RunError, match=wanted):
            generate(
                str(tiny_model_folder), ["red"], tmp_path, count=count, steps=1, width=2048, height=2048,
                batch_size=batch_size,
            )  # fmt: skip


def test_a_weight_stands_behind_the_last_colon(tmp_path: Path) -> None:
    assert split_weight("a/b.safetensors") == (Path("a/b.safetensors"), 1.0)
    assert split_weight("a/b.safetensors:0.8") == (Path("a/b.safetensors"), 0.8)
    odd = tmp_path / "b:7"
    odd.touch()
    assert split_weight(str(odd)) == (odd, 1.0)
    with pytest.raises(AdapterError, match="weight 'strong' is not a number"):
        split_weight("b.safetensors:strong")
    for weight in ("nan", "inf", "-inf", "1e999"):
        with pytest.raises(AdapterError, match=f"weight {weight} is not finite"):
            split_weight(f"b.safetensors:{weight}")


def test_nothing_to_draw_is_refused(tiny_model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="0 prompts, 1 pictures each"):
        generate(str(tiny_model_folder), [], tmp_path)
    with pytest.raises(AdapterError, match=r"missing\.safetensors"):
        generate(str(tiny_model_folder), ["red"], tmp_path, adapters=[f"{tmp_path}/missing.safetensors:1"])
