"""Federations over the network: real server, worker and client processes, and the same bits as on one machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import warm
from network import Network, simulated

from fedflow.shipped import demo_folder

ROUNDS = 2
SEED = 5
CLIPPING = {"fedex-lora": "max_change_norm = 0.01", "fedavg": ""}
COUNTS = {"client-1": 4, "client-2": 6}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clients with some of the demo pictures, and held-out ones."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, count in {**COUNTS, "heldout": 4}.items():
        (folder / name).mkdir()
        for picture in sorted((demo_folder() / name).glob("*.png"))[:count]:
            for path in (picture, picture.with_suffix(".txt")):
                (folder / name / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture(scope="module", params=["fedex-lora", "fedavg"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plan(method: str, tiny_model_folder: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(
        f"""name = "network"
model = "{tiny_model_folder}"
method = "{method}"
rounds = {ROUNDS}
{CLIPPING[method]}
seeds = [{SEED}]
[data]
root = "{pictures}"
clients = ["client-1", "client-2"]
[lora]
rank = 4
alpha = 8
[training]
batch_size = 2
epochs = 2
checkpoint_every = 1
[baselines]
central = false
[evaluation]
clients = true
sampler_steps = 1
[gallery]
count = 1
""",
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module")
def alone(plan: Path) -> Path:
    """What a simulation makes of the plan."""
    out = plan.parent / "out"
    done = warm.run("simulate", plan, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_a_federation_over_the_network_ends_with_the_bits_of_a_simulation(
    network: Network, plan: Path, alone: Path, method: str, pictures: Path, tmp_path: Path
) -> None:
    network.options = ("--pictures", str(pictures))
    network.start_server()
    for member in COUNTS:
        network.join(member, pictures / member)
    network.wait_members(*COUNTS)
    run_id = network.asked("run", "start", str(plan))
    network.wait_done(run_id, 240)
    assert network.committed(run_id) == simulated(alone, SEED, ROUNDS)
    for member, process in network.clients.items():
        assert process.wait(30) == 0, network.log(member)
    assert "done" in network.asked("run", "explain", run_id)
    watched = network.asked("run", "watch", run_id)
    assert ("clipped 2" in watched) == (method == "fedex-lora")
    network.asked("run", "report", run_id, "--out", str(tmp_path / "report"))
    assert table(tmp_path / "report") == [row for row in table(alone) if ",floor," not in row]
    assert (tmp_path / "report" / "report.html").is_file()
    layout = "kohya" if method == "fedex-lora" else "unet"
    for member in COUNTS:
        joint = network.folder / member / "runs" / run_id / f"joint.{layout}.safetensors"
        network.asked("run", "export", run_id, "--out", str(tmp_path / "export.safetensors"))
        assert joint.read_bytes() == (tmp_path / "export.safetensors").read_bytes()


def table(folder: Path) -> list[str]:
    return (folder / "table.csv").read_text().splitlines()


@pytest.mark.parametrize("method", ["fedex-lora"], indirect=True)
def test_the_demo_over_the_network_writes_the_report_of_a_simulation(plan: Path, alone: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from fedflow.cli.simulate import simulate; "
        "from fedflow.cli.demo_network import carry_over_network; "
        "simulate(Path(sys.argv[1]), Path(sys.argv[2]), (), 1, 1, 'icons-v1', None, carry_over_network)"
    )
    command = [sys.executable, "-c", script, str(plan), str(tmp_path / "network")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "run done" in done.stdout
    assert simulated(tmp_path / "network", SEED, ROUNDS) == simulated(alone, SEED, ROUNDS)
    assert table(tmp_path / "network") == table(alone)
    assert (tmp_path / "network" / "report.html").is_file()
