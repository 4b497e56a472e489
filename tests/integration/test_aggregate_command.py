"""`fedflow aggregate` on real files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fedflow.cli.aggregate import aggregate
from fedflow.errors import MistakeError
from fedflow.lora import Adapter, Factors
from fedflow.models.adapter_files import adapter_bytes, read_adapter

Q = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"


def adapter(seed: int, rank: int = 2, alpha: float = 3.0) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    return {
        module: Factors(torch.randn(rank, k, generator=generator), torch.randn(d, rank, generator=generator), alpha)
        for module, d, k in ((Q, 20, 20), (OUT, 20, 12))
    }


def write(path: Path, content: Adapter, layout: str = "kohya", peft_names: bool = False) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(adapter_bytes(content, layout, {}, peft_names))  # type: ignore[arg-type]
    return str(path)


def listing(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize(("layout", "peft_names"), [("kohya", False), ("diffusers", False), ("diffusers", True)])
def test_fedex_files_add_up_to_the_weighted_sum(tmp_path: Path, layout: str, peft_names: bool) -> None:
    counts = [20, 40, 60]
    inputs = [
        f"{write(tmp_path / f'{seed}.safetensors', adapter(seed), layout, peft_names)}:{count}"
        for seed, count in enumerate(counts)
    ]
    out = tmp_path / "out"
    aggregate("fedex-lora", "samples", None, inputs, out)
    assert listing(out) == ["adapter.safetensors", "report.json", "residual.safetensors"]
    assert {name.rpartition(".lora")[2] for name in load_file(out / "residual.safetensors")} == {
        name.rpartition(".lora")[2] for name in load_file(tmp_path / "0.safetensors")
    }
    mean, mean_layout = read_adapter(out / "adapter.safetensors")
    rest, rest_layout = read_adapter(out / "residual.safetensors")
    assert mean_layout == rest_layout == layout
    for module in (Q, OUT):
        want = sum(count / 120 * adapter(seed)[module].delta().double() for seed, count in enumerate(counts))
        assert rest[module].alpha == rest[module].rank == 4
        assert mean[module].alpha == 3.0
        torch.testing.assert_close((mean[module].delta() + rest[module].delta()).double(), want, rtol=1e-5, atol=1e-5)
    report = json.loads((out / "report.json").read_text())
    assert report["method"] == "fedex-lora"
    assert report["inputs"][2]["examples"] == 60
    assert report["residual_rank"] == 4
    assert report["naive_error"] > 0.1


def test_truncated_and_uniform_without_counts(tmp_path: Path) -> None:
    inputs = [write(tmp_path / f"{seed}.safetensors", adapter(seed)) for seed in range(3)]
    aggregate("fedex-lora", "uniform", 1, inputs, tmp_path / "out")
    rest, _ = read_adapter(tmp_path / "out" / "residual.safetensors")
    assert rest[Q].rank == 1
    assert 0 < json.loads((tmp_path / "out" / "report.json").read_text())["discarded_energy"] < 1


def test_fedit_writes_the_means(tmp_path: Path) -> None:
    inputs = [f"{write(tmp_path / f'{seed}.safetensors', adapter(seed))}:1" for seed in range(2)]
    aggregate("fedit", "samples", None, inputs, tmp_path / "out")
    assert listing(tmp_path / "out") == ["adapter.safetensors", "report.json"]
    mean, _ = read_adapter(tmp_path / "out" / "adapter.safetensors")
    torch.testing.assert_close(mean[Q].A, (adapter(0)[Q].A + adapter(1)[Q].A) / 2)


def test_fedavg_of_any_tensors_and_paths_with_colons(tmp_path: Path) -> None:
    folder = tmp_path / "round:3"
    folder.mkdir()
    save_file({"w": torch.tensor([0.0])}, folder / "a:1.safetensors", metadata={"ss_tag_frequency": "private"})
    save_file({"w": torch.tensor([4.0])}, folder / "b")
    aggregate("fedavg", "samples", None, [f"{folder}/a:1.safetensors:30", f"{folder}/b:10"], tmp_path / "out")
    assert load_file(tmp_path / "out" / "model.safetensors")["w"].tolist() == [1.0]
    assert b"private" not in (tmp_path / "out" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("count", ["0", "-5", "nan", "inf", "2.5", "many", "", "1e3", "9" * 30, "٣"])
def test_bad_counts_are_named(tmp_path: Path, count: str) -> None:
    path = write(tmp_path / "a.safetensors", adapter(0))
    with pytest.raises(MistakeError, match="is not a whole number of at least 1") as caught:
        aggregate("fedit", "uniform", None, [f"{path}:{count}"], tmp_path / "out")
    assert path in str(caught.value)
    assert caught.value.exit_status == 2
    assert listing(tmp_path / "out") == []


def test_refused_inputs_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    good = write(tmp_path / "good.safetensors", adapter(0))
    bad_values = adapter(1)
    bad_values[OUT].B[3, 1] = float("inf")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(Path(good).read_bytes()[:-10])
    (tmp_path / "image.safetensors").write_bytes(b"\x89PNG")
    cases = {
        write(tmp_path / "nan.safetensors", bad_values): (
            "tensor 'lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_out_0.lora_up.weight' holds NaN"
        ),
        write(tmp_path / "rank.safetensors", adapter(1, rank=3)): r"to_q' lora_A has shape \(3, 20\)",
        write(tmp_path / "alpha.safetensors", adapter(1, alpha=1.0)): "alpha 1",
        write(tmp_path / "layout.safetensors", adapter(1), "diffusers"): "diffusers layout",
        write(tmp_path / "less.safetensors", {Q: adapter(1)[Q]}): "module '.*to_out.0' is missing",
        str(damaged): "damaged safetensors header",
        str(tmp_path / "image.safetensors"): "not a safetensors file",
    }
    for path, words in cases.items():
        for method in ("fedit", "fedex-lora"):
            with pytest.raises(MistakeError, match=words) as caught:
                aggregate(method, "samples", None, [f"{good}:3", f"{path}:3"], tmp_path / "out")
            assert path in str(caught.value)
            assert "\n" not in str(caught.value)
    assert listing(tmp_path / "out") == []


def test_what_was_asked_is_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "in" / "adapter.safetensors", adapter(0))
    out = tmp_path / "out"
    for method, weights, max_rank, inputs, folder, words in (
        ("median", "samples", None, [f"{path}:1"], out, "choose one of fedavg, fedit, fedex-lora"),
        ("fedit", "size", None, [f"{path}:1"], out, "choose one of samples, uniform"),
        ("fedit", "samples", 4, [f"{path}:1"], out, "only with --method fedex-lora"),
        ("fedex-lora", "samples", 0, [f"{path}:1"], out, "at least 1"),
        ("fedit", "samples", None, [], out, "no update files"),
        ("fedit", "samples", None, [path], out, "number of examples is not given"),
        ("fedit", "samples", None, ["missing.safetensors:3"], out, r"^missing.safetensors: no such file"),
        ("fedit", "samples", None, [f"{path}:1"], Path(path), "is a file; name a folder"),
        ("fedit", "samples", None, [f"{path}:1"], Path(path).parent, "would overwrite the input"),
    ):
        with pytest.raises(MistakeError, match=words):
            aggregate(method, weights, max_rank, inputs, folder)
    assert listing(out) == []
    assert listing(Path(path).parent) == ["adapter.safetensors"]


@pytest.mark.parametrize("method", ["fedit", "fedex-lora"])
def test_factors_out_of_range_write_nothing(tmp_path: Path, method: str) -> None:
    good, bad = write(tmp_path / "good.safetensors", adapter(0)), tmp_path / "huge.safetensors"
    write(bad, {module: Factors(f.A * 1e30, f.B * 1e30, f.alpha) for module, f in adapter(1).items()})
    with pytest.raises(
        MistakeError, match=r"huge\.safetensors': .*to_q' changes its weights by up to 1?[0-9]e\+6"
    ) as caught:
        aggregate(method, "samples", None, [f"{good}:3", f"{bad}:3"], tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert listing(tmp_path / "out") == []


@pytest.mark.parametrize("method", ["fedit", "fedex-lora"])
def test_an_outcome_out_of_range_writes_nothing(tmp_path: Path, method: str) -> None:
    """Every change alone is within float32; the means of A and of B are not."""
    inputs = []
    for number, (down, up) in enumerate([(1e19, 1e17), (1e17, 1e19)]):
        factors = {
            module: Factors(torch.full_like(f.A, down), torch.full_like(f.B, up), 3.0)
            for module, f in adapter(0).items()
        }
        inputs.append(f"{write(tmp_path / f'{number}.safetensors', factors)}:1")
    with pytest.raises(MistakeError, match="leaves the range of float32, although every update is within") as caught:
        aggregate(method, "samples", None, inputs, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert listing(tmp_path / "out") == []


def test_another_methods_result_is_not_mixed_in(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", adapter(0))
    aggregate("fedex-lora", "samples", None, [f"{path}:1"], tmp_path / "out")
    aggregate("fedex-lora", "samples", None, [f"{path}:2"], tmp_path / "out")
    with pytest.raises(MistakeError, match=r"holds residual\.safetensors of another aggregation"):
        aggregate("fedit", "samples", None, [f"{path}:1"], tmp_path / "out")


def test_the_command_itself(tmp_path: Path) -> None:
    first, second = (write(tmp_path / f"{seed}.safetensors", adapter(seed)) for seed in range(2))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from fedflow.cli import main; main()", "aggregate", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    out = tmp_path / "out"
    done = run("--method", "fedex-lora", f"{first}:20", f"{second}:60", "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert listing(out) == ["adapter.safetensors", "report.json", "residual.safetensors"]
    assert "residual rank 2, discarded energy 0.00% (exact)" in done.stdout

    refused = run("--method", "fedit", f"{first}:20", f"{second}:0", "--out", str(tmp_path / "none"))
    assert refused.returncode == 2
    assert "example count '0'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert listing(tmp_path / "none") == []


@pytest.mark.parametrize("name", ["adapter.safetensors", "report.json"])
def test_what_is_not_of_an_aggregation_is_not_overwritten(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("[]")
    updates = [write(tmp_path / "a.safetensors", adapter(1)), write(tmp_path / "b.safetensors", adapter(2))]
    with pytest.raises(MistakeError, match=f"holds {name} of something else"):
        aggregate("fedit", "samples", None, [f"{update}:1" for update in updates], out)
    assert listing(out) == [name]
    assert (out / name).read_text() == "[]"
