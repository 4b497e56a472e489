"""A large upload and a large download by the participant's own code, through a proxy that cuts them again and again."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from network import Network
from proxy import Proxy, Weather

from fedflow.client.connection import Connection
from fedflow.client.home import Home
from fedflow.client.transfer import download
from fedflow.server.services import files
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store
from fedflow.storage import sha256_file

PIECE_BYTES = 1_000_000


@dataclass(frozen=True)
class Transfer:
    """What a transfer took. `passed_bytes` went through the proxy in its direction, headers and what was lost too."""

    what: str
    file_bytes: int
    passed_bytes: int
    cuts: int
    connections: int
    seconds: float
    right: bool

    @property
    def resent(self) -> float:
        """Bytes beyond the file's, as a share of the file."""
        return self.passed_bytes / self.file_bytes - 1.0


def random_file(path: Path, size_bytes: int, seed: int) -> Path:
    """A file that no compression makes smaller."""
    draw = random.Random(seed)
    with path.open("wb") as file:
        while left := size_bytes - file.tell():
            file.write(draw.randbytes(min(left, PIECE_BYTES)))
    return path


def cut_points(size_bytes: int, cuts: int, seed: int) -> tuple[int, ...]:
    """Where to cut: drawn, each point as likely as any other."""
    return tuple(sorted(random.Random(f"{seed} cuts").sample(range(1, size_bytes), cuts)))


def cut_upload(network: Network, file: Path, cuts: int, seed: int) -> Transfer:
    """Join as a device of its own, and upload `file` while the connection breaks `cuts` times."""
    size_bytes = file.stat().st_size
    proxy = Proxy(("127.0.0.1", network.port), Weather(cut_up_at=cut_points(size_bytes, cuts, seed)), seed=seed)
    home = Home(network.folder / "studio")
    try:
        with home.alone(), Connection(home) as connection:
            connection.join(proxy.url, network.asked("server", "code", "studio"), "device")
            before, began = proxy.up_bytes, time.monotonic()
            upload_id = connection.upload(file, {"run": "x", "round": "1"})
            seconds = time.monotonic() - began
    finally:
        proxy.close()
    right = sha256_file(network.data / "uploads" / upload_id) == sha256_file(file)
    return Transfer("upload", size_bytes, proxy.up_bytes - before, proxy.cuts, proxy.connections, seconds, right)


def cut_download(network: Network, file: Path, cuts: int, seed: int) -> Transfer:
    """Put `file` into the server's store, and fetch it while the connection breaks `cuts` times."""
    size_bytes = file.stat().st_size
    store = open_store(ServerSettings(folder=network.data))
    digest = files.put(store, file, "report")
    store.engine.dispose()
    proxy = Proxy(("127.0.0.1", network.port), Weather(cut_down_at=cut_points(size_bytes, cuts, seed)), seed=seed)
    target = network.folder / "fetched"
    try:
        with httpx.Client(headers={"Authorization": f"Bearer {network.token()}"}, timeout=60.0) as client:
            began = time.monotonic()
            download(client, f"{proxy.url}/api/v1/files/{digest}", digest, target)
            seconds = time.monotonic() - began
    finally:
        proxy.close()
    right = sha256_file(target) == digest
    return Transfer("download", size_bytes, proxy.down_bytes, proxy.cuts, proxy.connections, seconds, right)
