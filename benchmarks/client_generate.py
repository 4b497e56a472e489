"""Pictures drawn through the app's page against the bare diffusers pipeline on the same model.

    python benchmarks/client_generate.py [--pairs 5] [--pictures 32] [--steps 20]

A real `fedflow client` (web process and worker) is started on a fresh folder. Through the page: the form is sent over
HTTP as a browser sends it, and the time is taken until its job is done, so that the queue, the preview, progress in the
database, PNG files and the gallery are all in it. Bare: a `StableDiffusionPipeline` of the starter's own parts in this
process, with the same sampler, steps, guidance, seeds and threads, no files written; once as many pictures a call as
the app draws at once (they are kept as soon as they are there), and once one a call. The three take turns, and who
begins changes; the first turn of each is a warm-up, in which the worker opens the model.

How to read: medians of seconds, and by how many percent the page takes longer than the bare pipeline with as many
pictures a call: at most 5 is the goal. One a call stands beside it to show what batches save on this machine.
"""

from __future__ import annotations

import argparse
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import torch
from diffusers import StableDiffusionPipeline, UniPCMultistepScheduler

from fedflow.client.services import jobs
from fedflow.client.settings import ClientSettings
from fedflow.client.store import Store, open_store
from fedflow.client.worker.drawing import MOST_AT_ONCE
from fedflow.federation.workbench import settle_torch
from fedflow.models import BaseModel, best_device, open_model
from fedflow.plan import STARTER

PROMPT = "fluent_style, red_apple, fruit"
GUIDANCE = 3.0
GOAL_PERCENT = 5.0
AS_MANY = f"bare, {MOST_AT_ONCE} a call"
LOOK_S = 0.05
PATIENCE_S = 600.0


def main() -> None:
    """Measure, and print a table for RESULTS.md; exits 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    settle_torch(ClientSettings(folder=Path()).threads)
    model = open_model(STARTER).to(best_device())
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "fedflow", "client", "--folder", folder, "--port", "0", "--no-browser"]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as app:
            try:
                assert app.stdout is not None
                address = app.stdout.readline().split()[4].removesuffix(";")
                store = open_store(Path(folder))
                ways: dict[str, Callable[[], None]] = {
                    "through the page": lambda: through_page(address, store, given.pictures, given.steps),
                    AS_MANY: lambda: bare(model, given.pictures, given.steps, MOST_AT_ONCE),
                    "bare, one a call": lambda: bare(model, given.pictures, given.steps, 1),
                }
                times = taken(ways, given.pairs)
                store.engine.dispose()
            finally:
                app.send_signal(signal.SIGINT)
                app.wait(30)
    page, one = (statistics.median(times[name]) for name in ("through the page", AS_MANY))
    over = statistics.median(
        100 * (mine / other - 1) for mine, other in zip(times["through the page"], times[AS_MANY], strict=True)
    )
    print(
        f"{given.pictures} pictures of {model.resolution} px, {given.steps} steps, {model.device}, {given.pairs} turns"
    )
    for name, seconds in times.items():
        told = f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
        print(f"| {name} | {told} |")
    print(f"page over bare: {over:+.1f} % (median of pairs; medians {page:.2f} s and {one:.2f} s)")
    sys.exit(over > GOAL_PERCENT)


def taken(ways: dict[str, Callable[[], None]], pairs: int) -> dict[str, list[float]]:
    """Seconds of each way, turn by turn; who begins changes from turn to turn."""
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(pairs):
        order = list(ways) if turn % 2 == 0 else list(reversed(ways))
        for name in order:
            began = time.perf_counter()
            ways[name]()
            times[name].append(time.perf_counter() - began)
    return times


def through_page(address: str, store: Store, pictures: int, steps: int) -> None:
    """Send the form and wait until its job is done."""
    with httpx.Client(base_url=address) as browser:
        token = re.search(r'name="csrf_token" value="([^"]+)"', browser.get("/").text)
        assert token is not None
        form = {"csrf_token": token[1], "model": STARTER, "prompt": PROMPT, "seed": "1"}
        answer = browser.post(
            "/", data={**form, "pictures": str(pictures), "steps": str(steps), "guidance": str(GUIDANCE)}
        )
    found = re.search(r"job=([0-9a-f-]+)", answer.headers["Location"])
    assert found is not None, answer.status_code
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        job = jobs.one(store, found[1])
        assert job is not None
        if job.status == jobs.DONE:
            return
        assert job.status in (jobs.QUEUED, jobs.RUNNING), job.message
        time.sleep(LOOK_S)
    raise TimeoutError(f"not drawn after {PATIENCE_S} s")


def bare(model: BaseModel, pictures: int, steps: int, batch_size: int) -> None:
    """As diffusers' own examples do it."""
    config = {**model.scheduler.config, "steps_offset": 1, "clip_sample": False}
    pipeline = StableDiffusionPipeline(
        vae=model.vae, text_encoder=model.text_encoder, tokenizer=model.tokenizer, unet=model.unet,
        scheduler=UniPCMultistepScheduler.from_config(config), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    for first in range(0, pictures, batch_size):
        seeds = range(first, min(first + batch_size, pictures))
        pipeline(
            [PROMPT] * len(seeds),
            generator=[torch.Generator().manual_seed(1 + seed) for seed in seeds],
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
        )


if __name__ == "__main__":
    main()
