"""The participant's app: how soon its page opens.

    python benchmarks/client_app.py [--port 8459]

A real `fedflow client` on an empty folder: from the start of the process to the first whole page, and each page once
more. Goal: under 1 s each.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

PAGES = ("/", "/gallery", "/datasets", "/train", "/train/new", "/models", "/federations", "/activity")
SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}


def opened(client: httpx.Client, began: float) -> float:
    """Seconds from `began` until the first page is whole."""
    while True:
        try:
            assert client.get("/").status_code == 200
            return time.perf_counter() - began
        except httpx.TransportError:
            time.sleep(0.01)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8459)
    chosen = parser.parse_args()
    environment = {**os.environ, **SETTINGS}
    with tempfile.TemporaryDirectory(prefix="fedflow-app-") as name:
        folder = Path(name) / "app"
        words = [sys.executable, "-m", "fedflow", "client", "--folder", str(folder), "--port", str(chosen.port)]
        client = httpx.Client(base_url=f"http://127.0.0.1:{chosen.port}", timeout=30.0, trust_env=False)
        began = time.perf_counter()
        app = subprocess.Popen([*words, "--no-browser"], env=environment, stdout=subprocess.DEVNULL)
        try:
            print(f"from the start to the first page, on an empty folder: {opened(client, began):.2f} s")
            for page in PAGES:
                began = time.perf_counter()
                assert client.get(page).status_code == 200
                print(f"  {page}: {1000 * (time.perf_counter() - began):.0f} ms")
        finally:
            app.send_signal(signal.SIGINT)
            app.wait(30)


if __name__ == "__main__":
    main()
