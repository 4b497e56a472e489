"""A hostile participant against a real server, as a table: every attack, its answers, and what was to be expected.

`python benchmarks/network_hostile.py` sends 100,000 forged safetensors headers through the firewall, more than 300 of
them over HTTP, every attack of the tests, and slow clients; `--quick` is smaller. Exits with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from attacks import AFTER, BEFORE, Attack
from forged import forged
from hostile import Scene, Seen, hang_up, tensors_of
from network import Network, wait_for
from siege import HONEST, REFUSED_A_ROUND, SlowClients, answer_honestly, begin, close, latencies_s, send_forged

from fedflow.errors import UpdateError
from fedflow.federation.firewall import inspect, manifest_of

LONGEST_S = 1.0
LONGEST_SENTENCE = 700
MOST_MB = 64.0


class Table:
    """Rows as Markdown, printed as they come; remembers what missed its goal."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        print("| attack | requests | statuses seen | expected | 5xx | server MB before / after | sentence shown |")
        print("|---|---|---|---|---|---|---|")

    def row(self, name: str, statuses: Counter[str], expected: str, memory: str, sentence: str, good: bool) -> None:
        """One attack."""
        seen = ", ".join(f"{status} x {count}" for status, count in sorted(statuses.items()))
        failed = sum(count for status, count in statuses.items() if status.startswith("5"))
        shown = sentence.replace("|", "\\|")
        shown = shown if len(shown) <= 110 else f"{shown[:109]}…"
        print(f"| {name} | {statuses.total()} | {seen} | {expected} | {failed} | {memory} | {shown} |", flush=True)
        if not good or failed:
            self.missed.append(name)


def web_mb(network: Network) -> float:
    """Resident memory of the process that answers requests, in MB."""
    assert network.server is not None
    pids, largest = [network.server.pid], 0.0
    while pids:
        pid = pids.pop()
        base = Path(f"/proc/{pid}")
        pids += [int(child) for child in (base / f"task/{pid}/children").read_text().split()]
        if b"server.processes\0web" in (base / "cmdline").read_bytes():
            found = re.search(r"VmRSS:\s+(\d+) kB", (base / "status").read_text())
            largest = max(largest, int(found[1]) / 1000 if found else 0.0)
    return largest


def few(start: bytes, count: int) -> bytes:
    """An honest file of the first tensors of another one."""
    header, data = tensors_of(start)
    tensors = sorted((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"])
    kept = {name: header[name] for name in tensors[:count]}
    text = json.dumps({"__metadata__": header.get("__metadata__", {}), **kept}).encode()
    return len(text).to_bytes(8, "little") + text + data[: kept[tensors[count - 1]]["data_offsets"][1]]


def headers(start: bytes, count: int) -> tuple[bool, str]:
    """Forged files through the firewall, and how it went; the start itself is an honest file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "update"
        path.write_bytes(start)
        manifest = manifest_of(path, "float32", 10.0, 100)
        passed, longest, slowest_s, bad = 0, "", 0.0, 0
        rss_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.monotonic()
        for content in forged(start, 11, count):
            path.write_bytes(content)
            at = time.monotonic()
            try:
                inspect(path, 5, manifest)
                passed += 1
            except UpdateError as error:
                sentence = str(error)
                longest = max(longest, sentence, key=len)
                bad += "\n" in sentence or folder in sentence or not sentence.isprintable()
            slowest_s = max(slowest_s, time.monotonic() - at)
        peak_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - rss_kb) / 1000
    good = not bad and slowest_s <= LONGEST_S and len(longest) <= LONGEST_SENTENCE and peak_mb <= MOST_MB
    told = (
        f"{count} forged headers: {count - passed} refused, {passed} were right after all; every sentence in one line "
        f"without a path: {'yes' if not bad else 'NO'}; longest sentence {len(longest)} characters (goal "
        f"{LONGEST_SENTENCE}), slowest {slowest_s:.2f} s (goal {LONGEST_S:.0f}), resident memory grew by {peak_mb:.0f} "
        f"MB (goal {MOST_MB:.0f}), {time.monotonic() - began:.0f} s in all"
    )
    return good, told


def tried(table: Table, network: Network, scene: Scene, attack: Attack) -> None:
    """One attack's row."""
    before = web_mb(network)
    answers = list(attack.tries(scene))
    statuses = Counter(str(answer.status) for answer in answers)
    good = all(answer.status in attack.statuses and not answer.fault for answer in answers)
    expected = " or ".join(str(status) for status in sorted(attack.statuses))
    memory = f"{before:.0f} / {web_mb(network):.0f}"
    table.row(attack.name, statuses, expected, memory, _sentence(answers), good)


def slow(table: Table, network: Network, scene: Scene, each: int) -> str:
    """Slow clients of every kind at once, and what an honest one meets meanwhile."""
    before = web_mb(network)
    alone = latencies_s(scene.honest[HONEST[0]], 3)
    clients = SlowClients(scene)
    try:
        clients.open(each)
        beside = latencies_s(scene.honest[HONEST[0]], 15)

        def over() -> bool:
            return not any("open" in clients.answers(kind) for kind in clients.connections)

        wait_for(over, 60, "the end of the slow clients")
        for kind in clients.connections:
            told = clients.answers(kind)
            memory = f"{before:.0f} / {web_mb(network):.0f}"
            expected = {"408", "429", "closed", *(["200"] if kind == "an unread page" else [])}
            table.row(f"slow: {kind}", told, ", ".join(sorted(expected)), memory, "", set(told) <= expected)
    finally:
        clients.close()
    p95 = [1000 * taken[int(0.95 * len(taken))] for taken in (alone, beside)]
    if p95[1] > 1000:
        table.missed.append("reads beside slow clients")
    return f"an honest client's reads beside them: p95 {p95[1]:.0f} ms (goal 1000), alone {p95[0]:.0f} ms"


def _sentence(answers: list[Seen]) -> str:
    return next((answer.sentence for answer in answers if answer.sentence), "")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="2,000 headers, 40 over HTTP, few slow clients")
    parser.add_argument("--model", default="starter", help="the base model that the run trains")
    options = parser.parse_args()
    count, over_http, each = (2000, 40, 20) if options.quick else (100_000, 360, 100)
    with tempfile.TemporaryDirectory() as folder:
        network = Network(Path(folder))
        try:
            scene, quiet = begin(network, options.model, over_http // REFUSED_A_ROUND)
            table = Table()
            for attack in BEFORE:
                tried(table, network, scene, attack)
            before = web_mb(network)
            statuses, answers = send_forged(scene, over_http, seed=3)
            named = Counter({str(status): number for status, number in statuses.items()})
            good = set(named) <= {"200", "422"} and not any(answer.fault for answer in answers)
            memory = f"{before:.0f} / {web_mb(network):.0f}"
            table.row("forged files as updates", named, "422, 200 where it is right", memory, _sentence(answers), good)
            reads = slow(table, network, scene, each)
            answer_honestly(scene, scene.run, HONEST[0])
            for attack in AFTER:
                tried(table, network, scene, attack)
            answer_honestly(scene, scene.run, HONEST[1])
            for name in HONEST:
                answer_honestly(scene, quiet, name)
            same = close(scene, scene.run) == close(scene, quiet)
            lines = [json.loads(line) for line in network.log("server").splitlines() if line.startswith("{")]
            defects = [line for line in lines if line["level"] == "error" or line.get("status", 0) >= 500]
        finally:
            hang_up()
            network.stop()
    right, told = headers(few(scene.start, 12), count)
    print(f"\n{told}\n\n{reads}\n")
    print(f"the attacked round committed the bits of one without an attacker: {'yes' if same else 'NO'} (goal: yes)")
    print(f"requests in the server's log: {sum('status' in line for line in lines)}, 5xx or errors: {len(defects)}")
    missed = [
        *table.missed,
        *([] if right else ["headers"]),
        *([] if same else ["bits"]),
        *(["errors"] if defects else []),
    ]
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
