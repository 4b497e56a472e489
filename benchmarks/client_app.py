"""The participant's app: how soon its page opens, and what drawing through it costs beyond the bare pipeline.

    python benchmarks/client_app.py [--pairs 5] [--pictures 8] [--steps 20]

A real `fedflow client` on an empty folder. First: from the start of the process to the first whole page, and each page
once more. Then pairs, one after the other in the same run: so many pictures asked for through the form, until the last
one is in the gallery, by the job's own times; and the same with diffusers' StableDiffusionPipeline on the same model in
a process of its own (starter, same size, steps, sampler, guidance, one picture at a time as the app draws). Goals: a
page in under 1 s, at most 5% over the bare pipeline.
"""

from __future__ import annotations

import argparse
import importlib.resources
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

PROMPT = "fluent_style, cat, animal"
PAGES = ("/", "/gallery", "/datasets", "/train", "/train/new", "/models", "/federations", "/activity")
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}

BARE = """
import sys, time, torch
from diffusers import StableDiffusionPipeline, UniPCMultistepScheduler
folder, pictures, steps, threads = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
pipe.set_progress_bar_config(disable=True)
def draw(seed):
    pipe("{prompt}", num_inference_steps=steps, guidance_scale=3.0, generator=torch.Generator().manual_seed(seed))
draw(0)
print("ready", flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    for number in range(pictures):
        draw(1 + number)
    print(time.perf_counter() - began, flush=True)
"""


def opened(client: httpx.Client, began: float) -> float:
    """Seconds from `began` until the first page is whole."""
    while True:
        try:
            assert client.get("/").status_code == 200
            return time.perf_counter() - began
        except httpx.TransportError:
            time.sleep(0.01)


def drawn(client: httpx.Client, database: Path, pictures: int, steps: int) -> float:
    """Seconds that the worker was at a job which was asked for through the form."""
    page = client.get("/").text
    guard = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert guard is not None
    form = {"csrf_token": guard[1], "prompt": PROMPT, "pictures": str(pictures), "steps": str(steps), "seed": "1"}
    answer = client.post("/", data={**form, "guidance": "3", "sampler": "unipc", "model": "starter"})
    assert answer.status_code == 303, answer.text[:500]
    job = re.search(r"job=([0-9a-f-]+)", answer.headers["Location"])
    assert job is not None
    with sqlite3.connect(database) as rows:
        while True:
            query = "SELECT status, began_at, ended_at FROM job WHERE id = ?"
            status, began, ended = rows.execute(query, (job[1],)).fetchone()
            if status not in ("queued", "running"):
                assert status == "done", status
                return float(ended - began)
            time.sleep(0.05)


def main() -> None:
    """Measure, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--port", type=int, default=8459)
    chosen = parser.parse_args()
    environment = {**os.environ, **SETTINGS}
    starter = str(importlib.resources.files("fedflow") / "data" / "starter")
    with tempfile.TemporaryDirectory(prefix="fedflow-app-") as name:
        folder = Path(name) / "app"
        words = [sys.executable, "-m", "fedflow", "client", "--folder", str(folder), "--port", str(chosen.port)]
        client = httpx.Client(base_url=f"http://127.0.0.1:{chosen.port}", timeout=30.0, trust_env=False)
        began = time.perf_counter()
        app = subprocess.Popen([*words, "--no-browser"], env=environment, stdout=subprocess.DEVNULL)
        bare_words = [sys.executable, "-c", BARE.replace("{prompt}", PROMPT), starter]
        try:
            print(f"from the start to the first page, on an empty folder: {opened(client, began):.2f} s")
            for page in PAGES:
                began = time.perf_counter()
                assert client.get(page).status_code == 200
                print(f"  {page}: {1000 * (time.perf_counter() - began):.0f} ms")
            numbers = [str(chosen.pictures), str(chosen.steps), "2"]
            bare = subprocess.Popen(
                [*bare_words, *numbers], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert bare.stdin is not None
            assert bare.stdout is not None
            bare.stdout.readline()
            drawn(client, folder / "client.db", 1, chosen.steps)  # the model is opened
            ratios = []
            for number in range(chosen.pairs):
                through = drawn(client, folder / "client.db", chosen.pictures, chosen.steps)
                bare.stdin.write("again\n")
                bare.stdin.flush()
                plain = float(bare.stdout.readline())
                ratios.append(through / plain)
                print(f"pair {number + 1}: the app {through:.2f} s, the bare pipeline {plain:.2f} s")
            bare.stdin.close()
            bare.wait(30)
            print(f"median ratio {statistics.median(ratios):.3f}, goal at most 1.05")
        finally:
            app.send_signal(signal.SIGINT)
            app.wait(30)


if __name__ == "__main__":
    main()
