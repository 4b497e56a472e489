"""A stage for a person with the app: a server with two members on their machines, and a third who uses the app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import warm
from app_process import app
from browser import Watched, chromium
from network import Network, Started

from fedflow.shipped import demo_folder

COUNTS = {"client-1": 4, "client-2": 3, "client-3": 3, "heldout": 4}
"""Members with their numbers of pictures, of which the first uses the app; and what the server measures against."""

PLAN = """name = "{name}"
method = "{method}"
rounds = {rounds}
[data]
clients = ["client-1", "client-2", "client-3"]
[lora]
rank = 4
alpha = 8
[training]
batch_size = 2
epochs = {epochs}
checkpoint_every = 1
[evaluation]
clients = false
sampler_steps = 2
[gallery]
count = 1
"""


@dataclass
class Stage:
    """What the scenarios share: the server, the app's address and process, and the person's browser."""

    network: Network
    address: str
    process: Started
    watched: Watched
    pictures: Path

    def start_run(self, name: str, method: str, rounds: int = 2, epochs: int = 1) -> str:
        """Have the coordinator start a run of all three; gives its identifier."""
        plan = self.network.folder / f"{name}.toml"
        plan.write_text(PLAN.format(name=name, method=method, rounds=rounds, epochs=epochs), encoding="utf-8")
        return self.network.asked("run", "start", str(plan)).split()[0]


@contextmanager
def staged(folder: Path) -> Iterator[Stage]:
    """Everything is real: the processes, the starter, the pictures, Chromium."""
    for name, count in COUNTS.items():
        (folder / "pictures" / name).mkdir(parents=True)
        for picture in sorted((demo_folder() / name).glob("*.png"))[:count]:
            for path in (picture, picture.with_suffix(".txt")):
                (folder / "pictures" / name / path.name).write_bytes(path.read_bytes())
    network = Network(folder, ("--pictures", str(folder / "pictures")), start=warm.start)
    try:
        with (
            app(folder / "app", warm.start) as (address, process),
            chromium() as browser,
            browser.new_context() as context,
        ):
            watched = Watched(context)
            watched.page.set_default_timeout(60_000)
            yield Stage(network, address, process, watched, folder / "pictures")
    finally:
        network.stop()
