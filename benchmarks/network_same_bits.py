"""The same bits over the network as on one machine: a real server, five real `fedflow join`, the demo pictures.

    python benchmarks/network_same_bits.py [--quick]

For each of two methods a `fedflow server` (with its web process, worker and evaluator) and five `fedflow join` on the
five shipped folders (20, 40, 60, 40 and 40 pictures) carry the shipped demo plan on the shipped starter to its end,
then `fedflow simulate` carries the same plan file with the same `--set`, seed and thread count in another folder:

- fedex-lora with the demo plan's own settings: rank 16, 5 epochs, 3 rounds, 378 optimiser steps;
- fedavg, which trains the whole UNet: the same but for the learning rate, 1e-4 in the place of an adapter's 3e-3.

Compared by SHA-256, of the bytes as they lie in the server's store and in the simulation's: every client's update, the
adapter (fedavg: the weights) and the residual of every round; and of the joint model the tensors that `fedflow run
export` gives in each layout against the simulation's own export (which carries another title in its header), or
against its last weights where it has none. Every file of the joint model that a participant has taken home must be
that export, byte for byte. Plan, base model, thread count and counted examples must be the same too, and no two rounds
may have ended with the same adapter: two runs in which nothing happened would agree as well.

Smaller than the demo: nothing of the training. The server is given no held-out pictures, so that it scores nothing;
the simulation, which always scores the base and the rounds' joint models, draws in 1 step without guidance for it, and
leaves out central training and the clients' scores. Scores come after a round's commit and flow back into nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from killed_federation import Ledger, tensors_hash
from network import FEDFLOW, SETTINGS, Network

from fedflow.cli.simulate import demo_plan
from fedflow.federation.jobs import TrainJob
from fedflow.federation.places import RunFolder, data_folder
from fedflow.federation.records import last_round, read_record
from fedflow.plan import Plan, read_plan
from fedflow.server.settings import ServerSettings
from fedflow.storage import Blobs, read_json
from fedflow.tensors import load_tensors, to_bytes

METHODS = {"fedex-lora": (), "fedavg": ("method=fedavg", "training.learning_rate=1e-4")}
UNSCORED = (
    "baselines.central=false",
    "evaluation.clients=false",
    "evaluation.sampler_steps=1",
    "evaluation.guidance=1.0",
)
THREADS = 1
LIMIT_S = 1800.0

Bits = dict[str, dict[str, str]]
"""What a run left: SHA-256 by the item's name ('round 2'), by what it is ('adapter')."""


@dataclass(frozen=True)
class Compared:
    """A method's two runs: whatever differs or is not as it should be, one line each, and what the table tells."""

    plan: Plan
    pictures: tuple[str, ...]
    bits: Bits
    faults: list[str]
    network_s: float
    simulated_s: float


def compare(method: str, overrides: tuple[str, ...]) -> Compared:
    """Carry the plan over the network and on this machine alone, and compare what they left."""
    put = [word for each in overrides for word in ("--set", each)]
    plan = read_plan(demo_plan(), overrides)
    with tempfile.TemporaryDirectory(prefix="fedflow-same-bits-") as name:
        folder, out = Path(name), Path(name) / "simulated"
        network = Network(folder)
        began = time.monotonic()
        try:
            over_network, taken_home, told = carry(network, plan, put)
        finally:
            network.stop()
        network_s, began = time.monotonic() - began, time.monotonic()
        print(f"{method}: carried over the network in {network_s:.0f} s", file=sys.stderr, flush=True)
        command = [*FEDFLOW, "simulate", str(demo_plan()), "--out", str(out), "--threads", str(THREADS), *put]
        done = subprocess.run(
            command,
            env={**os.environ, **SETTINGS},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        simulated_s = time.monotonic() - began
        print(f"{method}: simulated in {simulated_s:.0f} s", file=sys.stderr, flush=True)
        alone = simulated_bits(out, plan)
        faults = [*differences(over_network, alone), *missing(alone, plan), *taken_home]
        faults += [f"{what}: another one" for what, value in simulated_facts(out, plan).items() if told[what] != value]
    pictures = tuple(told[f"examples of {client}"] for client in plan.data.clients)
    return Compared(plan, pictures, alone, faults, network_s, simulated_s)


def carry(network: Network, plan: Plan, put: list[str]) -> tuple[Bits, list[str], dict[str, str]]:
    """Run the demo plan with `put` over the network: what was left, faults of what was taken home, and its facts."""
    network.start_server()
    for client in plan.data.clients:
        network.join(client, data_folder(plan) / client, "--threads", str(THREADS))
    network.wait_members(*plan.data.clients)
    run = network.asked("run", "start", str(demo_plan()), *put)
    network.wait_done(run, LIMIT_S)
    taken_home = [
        f"{client} ended with {status}: {network.log(client)[-300:]}"
        for client, process in network.clients.items()
        if (status := process.wait(120)) != 0
    ]
    ledger, blobs = Ledger(f"sqlite:///{network.data / 'server.db'}", run), Blobs(network.data / "blobs")
    try:
        rounds = ledger.rows("SELECT number, adapter, residual FROM round WHERE run_id = :run ORDER BY number")
        receipts = ledger.rows(
            "SELECT round, name, sha256, num_examples FROM receipt JOIN member ON member.id = member_id "
            "WHERE run_id = :run"
        )
        started_plan, base = ledger.rows("SELECT plan, base_hash FROM run WHERE id = :run")[0]
    finally:
        ledger.close()
    bits: Bits = {
        "update": {f"round {number}, {client}": stored(blobs, sha256) for number, client, sha256, _ in receipts},
        "adapter": {f"round {number}": stored(blobs, adapter) for number, adapter, _ in rounds},
        "residual": {f"round {number}": stored(blobs, residual) for number, _, residual in rounds if residual},
        "export": {},
    }
    for layout in ("diffusers", "kohya") if plan.trains_adapter else ("unet",):
        path = network.folder / f"export.{layout}.safetensors"
        network.asked("run", "export", run, "--out", str(path), *(["--format", layout] if plan.trains_adapter else []))
        bits["export"][layout] = tensors_hash(path)
        for client in plan.data.clients:
            own = network.folder / client / "runs" / run / f"joint.{layout}.safetensors"
            if not own.is_file() or own.read_bytes() != path.read_bytes():
                taken_home.append(f"the {layout} file that {client} has taken home: another one, or none")
    facts = {
        "plan": Plan.model_validate(json.loads(started_plan)).model_dump_json(),
        "base model": str(base),
        "thread count": str(ServerSettings.model_fields["worker_threads"].default),
        **{f"examples of {client}": str(examples) for _, client, _, examples in receipts},
    }
    return bits, taken_home, facts


def simulated_bits(out: Path, plan: Plan) -> Bits:
    """What the simulation in `out` left."""
    folder, seed = RunFolder(out), plan.seeds[0]
    committed = {number: last_round(out, seed, number) for number in range(1, plan.rounds + 1)}
    updates = {
        f"round {number}, {client}": read_json(folder.outcome(job(plan, client, number).name))["update"]
        for number in committed
        for client in plan.data.clients
    }
    if plan.trains_adapter:
        exports = {layout: tensors_hash(folder.joint(seed, layout)) for layout in ("diffusers", "kohya")}
    else:  # as the server writes a whole model for other tools
        weights = load_tensors(folder.blobs.get(committed[plan.rounds].adapter))
        path = out / "unet.safetensors"
        path.write_bytes(to_bytes({name.removeprefix("unet."): each for name, each in weights.items()}, {}))
        exports = {"unet": tensors_hash(path)}
    return {
        "update": {item: stored(folder.blobs, sha256) for item, sha256 in updates.items()},
        "adapter": {f"round {number}": stored(folder.blobs, each.adapter) for number, each in committed.items()},
        "residual": {
            f"round {number}": stored(folder.blobs, each.residual)
            for number, each in committed.items()
            if each.residual
        },
        "export": exports,
    }


def simulated_facts(out: Path, plan: Plan) -> dict[str, str]:
    """What the simulation in `out` was carried with, and how many examples each client counted."""
    record, folder = read_record(out), RunFolder(out)
    return {
        "plan": record.plan.model_dump_json(),
        "base model": read_json(folder.base)["content_hash"],
        "thread count": str(record.threads),
        **{
            f"examples of {client}": str(read_json(folder.outcome(job(plan, client, 1).name))["num_examples"])
            for client in plan.data.clients
        },
    }


def job(plan: Plan, client: str, number: int) -> TrainJob:
    """The training of a client in a round, as far as its name goes."""
    return TrainJob(plan.seeds[0], client, number, (client,), 0, None, ())


def stored(blobs: Blobs, sha256: str) -> str:
    """The SHA-256 of the bytes that lie in the store under it."""
    return hashlib.sha256(blobs.place(sha256).read_bytes()).hexdigest()


def differences(network: Bits, alone: Bits) -> list[str]:
    """Every item whose bits are not the same in both, those that only one of them has among them."""
    return [
        f"{what} of {item}: {network[what].get(item, 'none')[:12]} over the network, "
        f"{alone[what].get(item, 'none')[:12]} simulated"
        for what in alone
        for item in sorted(network[what].keys() | alone[what].keys())
        if network[what].get(item) != alone[what].get(item)
    ]


def missing(bits: Bits, plan: Plan) -> list[str]:
    """What a run of the plan leaves and this one did not, and rounds that changed nothing."""
    rounds, clients = plan.rounds, len(plan.data.clients)
    wanted: Mapping[str, int] = {
        "update": rounds * clients,
        "adapter": rounds,
        "residual": rounds if plan.method == "fedex-lora" else 0,
        "export": 2 if plan.trains_adapter else 1,
    }
    return [
        f"{what}: {len(set(bits[what].values()))} different ones, {count} wanted"
        for what, count in wanted.items()
        if len(set(bits[what].values())) != count
    ]


def tell(found: dict[str, Compared]) -> None:
    """Print the tables."""
    print("| method | clients | pictures | rounds | compared | same | seconds: network, simulation |")
    print("|---|---|---|---|---|---|---|")
    for method, each in found.items():
        counts = {what: len(items) for what, items in each.bits.items()}
        joined = "adapters" if each.plan.trains_adapter else "whole UNets"
        parts = [f"updates ({counts['update']})", f"joint {joined} ({counts['adapter']})"]
        parts += [f"residuals ({counts['residual']})"] if counts["residual"] else []
        parts.append(f"exports ({counts['export']})")
        parts.append(f"files taken home ({counts['export'] * len(each.plan.data.clients)})")
        print(
            f"| {method} | {len(each.plan.data.clients)} | {' / '.join(each.pictures)} | {each.plan.rounds} | "
            f"{', '.join(parts)} | {'NO' if each.faults else 'yes'} | {each.network_s:.0f}, {each.simulated_s:.0f} |"
        )
    print("\n| SHA-256 of the simulation, begins with | " + " | ".join(found) + " |")
    print("|---|" + "---|" * len(found))
    for what in ("adapter", "residual", "export"):
        for item in dict.fromkeys(item for each in found.values() for item in each.bits[what]):
            row = " | ".join(each.bits[what].get(item, "-")[:16] for each in found.values())
            print(f"| {what}, {item} | {row} |")
    for method, each in found.items():
        for fault in each.faults:
            print(f"\n{method}: {fault}")


def main() -> int:
    """Run it all; 0 where nothing differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1 round in the place of 3: to see that it runs")
    options = parser.parse_args()
    rounds = ("rounds=1",) if options.quick else ()
    before = os.getloadavg()[0]
    found = {method: compare(method, (*UNSCORED, *rounds, *settings)) for method, settings in METHODS.items()}
    print(f"\n{os.cpu_count()} cores, load average {before:.1f} before and {os.getloadavg()[0]:.1f} after, "
          f"{THREADS} thread a process\n")  # fmt: skip
    tell(found)
    return 1 if any(each.faults for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
