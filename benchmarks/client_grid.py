"""The grid of a dataset of ten thousand pictures in a real browser: how long its longest frame is while it is scrolled.

    python benchmarks/client_grid.py [--pictures 10000] [--px-a-frame 240] [--again]

A folder of small pictures (96 x 96 pixels, each another) with captions is made, taken into a fresh app and looked at
by its worker. Chromium opens the dataset's page at 1280 x 800 and scrolls from its top to its end, so many pixels in
every frame (240 is a wheel that is turned as fast as one can), selects everything, and jumps to the top. With `--again`
the whole is scrolled twice: the second time all thumbnails lie in the app's folder.

How to read: milliseconds between two frames as requestAnimationFrame tells them; 16.7 is one that was not late. `nodes`
is the largest number of elements in the page. Server, worker and browser share the machine's cores.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from browser import chromium, served

from fedflow.client.app import create_app
from fedflow.client.services import datasets, jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import open_store
from fedflow.client.worker.main import carry_out

GOAL_MS = 100.0
EDGE = 96
SCROLL = """
async ([step]) => {
  const frames = [];
  let nodes = 0;
  let before = await new Promise(requestAnimationFrame);
  while (scrollY + innerHeight < document.documentElement.scrollHeight - 1) {
    scrollBy(0, step);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
    nodes = Math.max(nodes, document.getElementsByTagName("*").length);
  }
  return { frames, nodes };
}
"""
DO = """
async ([what]) => {
  const frames = [];
  let before = await new Promise(requestAnimationFrame);
  if (what === "select all") {
    document.querySelector("#grid .cell").focus({ preventScroll: true });
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "a", ctrlKey: true, bubbles: true }));
  } else scrollTo(0, 0);
  for (let each = 0; each < 30; each += 1) {
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - before);
    before = now;
  }
  return { frames, nodes: document.getElementsByTagName("*").length };
}
"""


def make_pictures(folder: Path, count: int) -> None:
    """So many pictures of two colours each, with captions of eight tags."""
    random = np.random.default_rng(7)
    words = [f"tag_{number}" for number in range(300)]
    folder.mkdir()
    for number in range(count):
        first, second = random.integers(0, 256, (2, 3), dtype=np.uint8)
        pixels = np.full((EDGE, EDGE, 3), first)
        left, top = random.integers(8, 48, 2)
        pixels[top : top + 40, left : left + 40] = second
        Image.fromarray(pixels).save(folder / f"{number:05}.png")
        tags = random.choice(words, 8, replace=False)
        (folder / f"{number:05}.txt").write_text(", ".join(tags), encoding="utf-8")


def tell(name: str, seen: dict[str, Any]) -> float:
    """Print one line; the longest frame in milliseconds."""
    frames = sorted(seen["frames"])
    p99 = frames[min(len(frames) - 1, int(0.99 * len(frames)))]
    print(f"{name:<22} {len(frames):6} frames  p50 {frames[len(frames) // 2]:6.1f}  p99 {p99:6.1f}  "
          f"longest {frames[-1]:6.1f} ms  nodes {seen['nodes']}")  # fmt: skip
    return float(frames[-1])


def scroll(page: Page, step: int, name: str) -> float:
    """From the top to the end."""
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(500)
    return tell(name, page.evaluate(SCROLL, [step]))


def main() -> int:
    """0 where no frame took longer than the goal."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pictures", type=int, default=10_000)
    options.add_argument("--px-a-frame", type=int, default=240)
    options.add_argument("--again", action="store_true")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_pictures(Path(place) / "pictures", asked.pictures)
        store = open_store(Path(place) / "app")
        settings = ClientSettings(folder=store.folder)
        dataset_id = datasets.add(store, str(Path(place) / "pictures"))
        began = time.perf_counter()
        for job_id in jobs.waiting(store):
            carry_out(store, settings, job_id)
        print(f"{asked.pictures} pictures looked at in {time.perf_counter() - began:.1f} s")
        with served(create_app(store, settings)) as url, chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            for name in ("the page is there, in a fresh app and browser,", "and when it is opened once more,"):
                began = time.perf_counter()
                page.goto(f"{url}/datasets/{dataset_id}")
                page.wait_for_selector("html[data-grid=ready]", state="attached")
                print(f"{name} after {time.perf_counter() - began:.2f} s")
            longest = scroll(page, asked.px_a_frame, "scroll")
            if asked.again:
                longest = max(longest, scroll(page, asked.px_a_frame, "scroll, kept"))
            for what in ("select all", "to the top"):
                longest = max(longest, tell(what, page.evaluate(DO, [what])))
        store.engine.dispose()
    return int(longest > GOAL_MS)


if __name__ == "__main__":
    sys.exit(main())
