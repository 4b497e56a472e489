"""A server's pages with years of work in the database and 50 people who read them at once.

    python benchmarks/server_pages.py [--quick] [--database sqlite|postgresql|both] [--people 50] [--think 3]

A fresh database is filled with 10,000 adapters, 500 runs (10 rounds, 5 members, scores and charts each) and 100,000
entries of audit with their chain, in 10 federations, and a real `fedflow server` (web process, worker, evaluator)
started on it. 50 people of all roles sign in through the form (argon2 makes that slow on purpose, and it is not in the
figures) and ask for every page that the server has (its routes are read from the application, so new ones join in),
with up to five different things each; what their role does not let them see is left out from then on, pages that a page
leads to by its own filters and turnings are taken in. That is the warm-up. Then each reads one page after another at
random, with a pause of 3 s on average between two (exponential), for a minute: about 17 pages a second.

How to read: milliseconds until the last byte of an answer, by page. The readers are a process of their own on the same
machine at a lower priority (nice 10), which takes its share of the cores. The look through the whole audit log
that the audit page asks for is the evaluator's, and falls into the warm-up. The audit log as a file is no page.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from cluster import cluster, database
from full_server import PASSWORD, Account, Sizes, addresses, fill

from fedflow.server.api.app import create_app
from fedflow.server.services import audit
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store

FULL = Sizes(
    federations=10, members=5, people=20, runs=500, rounds=10, adapters=10_000, audit=100_000, imports=300, tryouts=40
)
QUICK = Sizes(federations=4, members=3, people=10, runs=40, rounds=4, adapters=200, audit=2000, imports=60, tryouts=14)
GOAL_P95_MS = 100.0
THINGS_EACH = 5
MOST_TURNS = 3
NICENESS = 10
STARTS_S = 60.0
PREFIX = "pages."
NO_PAGES = {"pages.runs.stream", "pages.audit.file", "pages.audit.file_of_federation"}
"""A stream that stays open, and the audit log as a file: up to 50 MB that nobody reads one after another."""


def quantile_ms(seconds: list[float], share: float) -> float:
    """The time that `share` of the answers stayed below."""
    ordered = sorted(seconds)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass
class Reader:
    """Somebody at their browser, with the pages that they may see: endpoint and address."""

    account: Account
    browser: httpx.AsyncClient
    pages: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Seen:
    """Seconds of every answer by endpoint, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


async def sign_in(account: Account, url: str) -> Reader:
    """Through the form, as a person does."""
    browser = httpx.AsyncClient(base_url=url, timeout=60.0, trust_env=False)
    page = await browser.get("/sign-in")
    guard = re.search(r'<meta name="csrf-token" content="(\w+)">', page.text)
    assert guard is not None
    form = {"csrf_token": guard[1], "email": account.email, "password": PASSWORD}
    answer = await browser.post("/sign-in", data=form)
    assert answer.status_code == 303, answer.text
    return Reader(account, browser)


async def look_round(reader: Reader, asked: dict[str, list[str]], seen: Seen) -> None:
    """Ask for everything once, and keep what this reader may see, with the turnings that its pages lead to."""
    for endpoint, places in asked.items():
        if not endpoint.startswith(PREFIX) or endpoint in NO_PAGES:
            continue
        for place in dict.fromkeys(places):
            answer = await reader.browser.get(place)
            if answer.status_code >= 500:
                seen.faults.append(f"{answer.status_code} {place}")
            if answer.status_code != 200:
                continue
            reader.pages.append((endpoint, place))
            turns = re.findall(rf'href="({re.escape(place)}\?[^"]+)"', answer.text)
            reader.pages += [(f"{endpoint} ?", unescape(turn)) for turn in dict.fromkeys(turns[:MOST_TURNS])]


async def read(reader: Reader, choice: random.Random, think_s: float, ends: float, seen: Seen) -> None:
    """One page after another; every kind of page as likely as every other."""
    kinds = sorted({endpoint for endpoint, _ in reader.pages})
    await asyncio.sleep(choice.uniform(0, think_s))
    while time.monotonic() < ends:
        kind = choice.choice(kinds)
        place = choice.choice([place for endpoint, place in reader.pages if endpoint == kind])
        began = time.perf_counter()
        answer = await reader.browser.get(place)
        seen.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        if answer.status_code != 200:
            seen.faults.append(f"{answer.status_code} {place}")
        await asyncio.sleep(choice.expovariate(1 / think_s))


async def all_read(
    url: str, people: list[tuple[Account, dict[str, list[str]]]], think_s: float, seconds: float, seed: int
) -> Seen:
    """Sign everybody in, let them look round, and read."""
    seen = Seen()
    readers = [await sign_in(account, url) for account, _ in people]
    for reader, (_, asked) in zip(readers, people, strict=True):
        await look_round(reader, asked, seen)
    ends = time.monotonic() + seconds
    await asyncio.gather(
        *(read(reader, random.Random(seed + n), think_s, ends, seen) for n, reader in enumerate(readers))
    )
    for reader in readers:
        await reader.browser.aclose()
    return seen


@contextmanager
def served(folder: Path, options: list[str]) -> Iterator[str]:
    """A `fedflow server` on the folder; gives its address."""
    log = folder.with_suffix(".log")
    command = [sys.executable, "-m", "fedflow", "server", "--folder", str(folder), "--port", "0", *options]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        began = time.monotonic()
        while (found := re.search(r"listening on (http://\S+?)[\"\s]", log.read_text())) is None:
            if process.poll() is not None or time.monotonic() - began > STARTS_S:
                raise SystemExit(f"the server did not start: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield found[1]
    finally:
        process.terminate()
        process.wait(30)


def some_of_each(accounts: list[Account], most: int, choice: random.Random) -> list[Account]:
    """So many people, a tenth of them administrators of the server, the others as they come."""
    ordered = choice.sample(accounts, len(accounts))
    first = [each for each in ordered if each.role == "server"][: max(1, most // 10)]
    return (first + [each for each in ordered if each not in first])[:most]


def measure(kind: str, sizes: Sizes, people: int, think_s: float, seconds: float, seed: int) -> tuple[Seen, str]:
    """Fill, start, read; gives what was seen, and a line about the filled database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fedflow-pages-"))) / "server"
        url = None
        if kind == "postgresql":
            url = stack.enter_context(database(stack.enter_context(cluster()), "pages"))
        settings = ServerSettings(folder=folder, database_url=url)
        store = open_store(settings)
        began = time.monotonic()
        accounts = fill(store, sizes)
        filled_s = time.monotonic() - began
        began = time.monotonic()
        found = audit.verify(store)
        assert found.faults == (), found.faults
        line = f"filled in {filled_s:.0f} s; {found.entries:,} audit entries looked through in "
        line += f"{time.monotonic() - began:.1f} s, none altered"
        app = create_app(store, settings)
        chosen = some_of_each(accounts, people, random.Random(seed))
        with store.read() as session:
            asked = [(each, addresses(app, session, each, THINGS_EACH)) for each in chosen]
        store.engine.dispose()
        address = stack.enter_context(served(folder, [] if url is None else ["--database-url", url]))
        plan = folder.with_suffix(".json")
        plan.write_text(json.dumps([address, [(vars(each), places) for each, places in asked], think_s, seconds, seed]))
        driver = [sys.executable, __file__, "--drive", str(plan)]
        told = subprocess.run(driver, check=True, stdout=subprocess.PIPE, text=True).stdout
        return Seen(**json.loads(told)), line


def report(kind: str, seen: Seen, line: str) -> bool:
    """Print the table; returns whether the goal was met."""
    every = [second for seconds in seen.seconds.values() for second in seconds]
    p95 = quantile_ms(every, 0.95)
    print(f"\n{kind}: {line}; load average {os.getloadavg()[0]:.1f} at the end\n")
    print("| page | answers | p50 ms | p95 ms | longest ms |\n|---|---|---|---|---|")
    rows = [("all", every), *sorted(seen.seconds.items(), key=lambda item: -quantile_ms(item[1], 0.95))]
    for name, seconds in rows:
        middle, high = quantile_ms(seconds, 0.5), quantile_ms(seconds, 0.95)
        print(f"| {name} | {len(seconds)} | {middle:.0f} | {high:.0f} | {max(seconds) * 1000:.0f} |")
    print(f"\nanswers other than 200: {seen.faults}")
    met = p95 <= GOAL_P95_MS and not seen.faults
    print(f"goal: p95 of all at most {GOAL_P95_MS:.0f} ms and no fault: {'met' if met else 'NOT met'}")
    return met


def drive(plan: Path) -> None:
    """The readers' process."""
    os.nice(NICENESS)
    address, people, think_s, seconds, seed = json.loads(plan.read_text())
    seen = asyncio.run(
        all_read(address, [(Account(**each), places) for each, places in people], think_s, seconds, seed)
    )
    print(json.dumps(vars(seen)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small database and 10 s, to see that it works")
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--think", type=float, default=3.0, help="mean seconds between two pages of one person")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive is not None:
        drive(given.drive)
        return
    kinds = ("sqlite", "postgresql") if given.database == "both" else (given.database,)
    sizes, seconds = (QUICK, 10.0) if given.quick else (FULL, given.seconds)
    met = [report(kind, *measure(kind, sizes, given.people, given.think, seconds, given.seed)) for kind in kinds]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
