"""Federations in bad weather: what cuts cost, and that rounds close by their deadline whoever is away, late or doubled.

    python benchmarks/network_weather.py [--quick] [--seed 1]

A real server, worker and `fedflow join` processes on this machine, each participant behind a proxy (tests/support):

- upload, download: a file of 200 MB by the participant's own code, its connection cut 20 times at drawn bytes, in
  order and by reset in turn. Sent twice: all bytes that passed in the transfer's direction, headers and those lost in
  a cut included, beyond the file's own.
- federation: in every round 30% of six participants drop out (cut off, in round 3 one killed), in every second
  round one takes ten times its usual time (its process stands still, or its line is slow), and half of all requests
  are sent to the server twice. 'other than accepted' counts rounds whose commit is not, bit for bit, the offline join
  of exactly the accepted updates; after the end every POST and PATCH of every participant is sent once more, and no
  table but those of uploads and tokens may change.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from cut_transfers import Transfer, cut_download, cut_upload, random_file
from network import Network
from stormy_federation import Seen, Storm, carry
from tiny_model import make_tiny_model

MOST_RESENT = 0.02
FULL = (200_000_000, 20)
QUICK = (20_000_000, 5)


def storm_of(seed: int, quick: bool) -> Storm:
    """The federation and its weather."""
    if quick:
        return Storm(4, 2, 3, 2, 30.0, 0.3, 0.5, {2: "stands still"}, 0, seed)
    return Storm(6, 6, 4, 3, 40.0, 0.3, 0.5, {2: "stands still", 4: "slow line", 6: "stands still"}, 3, seed)


def transfers(folder: Path, size_bytes: int, cuts: int, seed: int) -> list[Transfer]:
    """A large file up and down."""
    network = Network(folder)
    try:
        network.start_server()
        file = random_file(folder / "file", size_bytes, seed)
        return [cut_upload(network, file, cuts, seed), cut_download(network, file, cuts, seed + 1)]
    finally:
        network.stop()


def federation(folder: Path, storm: Storm) -> Seen:
    """A whole run."""
    make_tiny_model(folder / "model")
    network = Network(folder)
    try:
        return carry(storm, network, folder / "model")
    finally:
        network.stop()


def tell_transfers(found: list[Transfer]) -> bool:
    """Print the table; whether the goals are met."""
    print("| transfer | file | cuts | bytes that passed | sent twice | goal | content | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for each in found:
        right = "right" if each.right else "WRONG"
        print(
            f"| {each.what} | {each.file_bytes / 1e6:.0f} MB | {each.cuts} | {each.passed_bytes:,} | "
            f"{each.resent:.3%} | at most {MOST_RESENT:.0%} | {right} | {each.seconds:.1f} |"
        )
    return all(each.right and each.resent <= MOST_RESENT for each in found)


def tell_rounds(storm: Storm, seen: Seen) -> bool:
    """Print the tables; whether the goals are met."""
    print(f"\n| round | weather | answered (quorum {storm.quorum}, {storm.wanted} wanted) | closed after | deadline |")
    print("|---|---|---|---|---|")
    for each in seen.rounds:
        weather = ", ".join(f"{name} {fate}" for name, fate in sorted(each.fates.items()))
        print(
            f"| {each.number} | {weather} | {', '.join(each.answered)} | {each.closed_s:.1f} s | "
            f"{each.deadline_s:.0f} s |"
        )
    faults = [f"round {each.number}: {fault}" for each in seen.rounds for fault in each.faults] + seen.faults
    other = sum("its commit" in fault for fault in faults)
    print("\n| what | measured | goal |\n|---|---|---|")
    print(f"| rounds closed by deadline with quorum | {sum(not r.faults for r in seen.rounds)} | {storm.rounds} |")
    print(f"| commits other than the accepted updates give | {other} | 0 |")
    print(f"| requests sent twice, of them answered 5xx | {seen.copies}, {seen.server_errors} | any, 0 |")
    print(f"| answers that came after their round had closed | {seen.late} | any |")
    print(f"| faults | {'; '.join(faults) or 'none'} | none |")
    return not faults and seen.server_errors == 0


def main() -> int:
    """Run it all; 0 where every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 MB, five cuts; four participants, two rounds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    size_bytes, cuts = QUICK if options.quick else FULL
    storm = storm_of(options.seed, options.quick)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "transfers").mkdir()
        (Path(folder) / "federation").mkdir()
        met = tell_transfers(transfers(Path(folder) / "transfers", size_bytes, cuts, options.seed))
        met &= tell_rounds(storm, federation(Path(folder) / "federation", storm))
    print("\nall goals met" if met else "\nA GOAL IS MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
