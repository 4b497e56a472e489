"""A server under load: 200 participants in a run, 50 uploads of 100 MB at once, and reads that are timed meanwhile.

    python benchmarks/network_load.py [--quick] [--database sqlite|postgresql|both]

A real `fedflow server` (web process and worker) runs in a temporary folder. 200 simulated participants join by code
with keys of their own, consent, poll `/work` as often as the server says, fetch what their assignment names, and send
real updates (the global adapter and small noise) through round after round of one run; only their training is a pause.
While that goes on, 50 other devices send 100 MB each by tus, all at once, and one reader times the API's reads. The
drivers run on the same machine and take their share of its cores; the last row of the first table says how much. The
senders of the large uploads run at a lower priority (nice 10), as they stand for other machines. The uploads begin when
every participant has fetched the base model and consented, so that rounds are under way while they last.

How to read: p50, p95 and p99 are of all GETs, the participants' and the reader's, that began while the uploads ran.
Memory is proportional set size, sampled twice a second: web (gunicorn's two processes), worker (torch), and all of
the server's processes together. Hashes: of each upload's file on the disk, and as the server noted it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from cluster import cluster, database
from load import Load, Seen, put_under_load, quantile_ms
from network import Network
from tiny_model import make_tiny_model

FULL = Load(200, 50, 100_000_000, least_rounds=3, training_s=(5.0, 15.0), processes=2)
QUICK = Load(20, 5, 10_000_000, least_rounds=2, training_s=(0.5, 1.0), processes=1)
GOAL_P95_MS, GOAL_MB, GOAL_IDLE_MB = 100.0, 1000.0, 150.0


def measure(kind: str, load: Load) -> Seen:
    """One load on a fresh server with a database of this kind."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedflow-load-")))
        model = folder / "model"
        make_tiny_model(model)
        url, options = f"sqlite:///{folder / 'server' / 'server.db'}", []
        if kind == "postgresql":
            url = stack.enter_context(database(stack.enter_context(cluster()), "load"))
            options = ["--database-url", url]
        network = Network(folder, tuple(options))
        stack.callback(network.stop)
        return put_under_load(network, load, model, url)


def report(kind: str, load: Load, seen: Seen) -> bool:
    """Print the table; returns whether every goal was met."""
    reads = seen.reads()
    p50, p95, p99 = (quantile_ms(reads, share) for share in (0.5, 0.95, 0.99))
    seconds = seen.window[1] - seen.window[0]
    megabytes = load.uploads * load.upload_bytes / 1e6
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(seen.statuses().items()))
    goals = [
        ("answers of 500 and more, broken connections", f"{seen.faults()}", "0", seen.faults() == 0),
        ("p95 of API reads during the uploads", f"{p95:.0f} ms", f"below {GOAL_P95_MS:.0f} ms", p95 < GOAL_P95_MS),
        ("peak memory, all processes", f"{seen.peak_mb['all']:.0f} MB", "below 1 GB", seen.peak_mb["all"] < GOAL_MB),
        (
            "web process before the load",
            f"{seen.idle_web_mb:.0f} MB",
            f"below {GOAL_IDLE_MB:.0f} MB",
            seen.idle_web_mb < GOAL_IDLE_MB,
        ),
        ("uploads or notes with a wrong SHA-256", f"{seen.wrong_hashes}", "0", seen.wrong_hashes == 0),
        (
            "updates acknowledged, and counted in the database",
            f"{seen.handed_in}, {seen.receipts}",
            "the same",
            seen.handed_in == seen.receipts,
        ),
        (
            "rounds committed",
            f"{seen.rounds}",
            f"at least {load.least_rounds}",
            seen.rounds >= load.least_rounds,
        ),
    ]
    print(f"\n### {kind}: {load.clients} participants, {load.uploads} uploads of {load.upload_bytes / 1e6:.0f} MB\n")
    print("| | measured | goal | met |\n|---|---|---|---|")
    for name, measured, goal, met in goals:
        print(f"| {name} | {measured} | {goal} | {'yes' if met else 'NO'} |")
    driver, server = seen.driver_cpu_s, seen.server_cpu_s
    peaks = f"{seen.peak_mb['web']:.0f} MB, {seen.peak_mb['worker']:.0f} MB"
    for name, measured in (
        ("p50 and p99 of API reads during the uploads", f"{p50:.0f} ms, {p99:.0f} ms of {len(reads)}"),
        ("requests in all, by status", f"{len(seen.samples)} ({statuses})"),
        ("peak memory of web process, of worker", peaks),
        ("all uploads", f"{megabytes:.0f} MB in {seconds:.1f} s: {megabytes / seconds:.0f} MB/s"),
        (
            f"processor time in {seen.whole_s:.0f} s: web, worker, drivers",
            f"{server['web']:.0f} s, {server['worker']:.0f} s, {driver:.0f} s",
        ),
    ):
        print(f"| {name} | {measured} | - | |")
    print("\n| read | number | p50 | p95 | p99 |\n|---|---|---|---|---|")
    for name in sorted({sample.kind for sample in reads}):
        of_kind = [sample for sample in reads if sample.kind == name]
        times = " | ".join(f"{quantile_ms(of_kind, share):.0f} ms" for share in (0.5, 0.95, 0.99))
        print(f"| {name} | {len(of_kind)} | {times} |")
    sys.stdout.flush()
    return all(met for *_, met in goals)


def main() -> int:
    """Print the tables; the exit status is 1 where a goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 participants, 5 uploads of 10 MB: to see that it runs")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    options = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    load = QUICK if options.quick else FULL
    met = [report(kind, load, measure(kind, load)) for kind in kinds]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
