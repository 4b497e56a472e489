"""Two servers with a folder, a web process, a worker and an evaluator each, on one PostgreSQL and one S3 store.

The participants' connections go to both in turn and break all the time; one whole server is killed in the middle.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from cluster import NoPostgreSQL, cluster, database
from hostile import hang_up
from killed_federation import COUNTS, make_example, tensors_hash
from network import Network, wait_for
from proxy import Proxy, Weather
from s3_server import BUCKET, s3_server

from fedflow.server import keys

ROUNDS = 2
LIVES = Weather(lives_bytes=60_000)

start = warm.start_but("server")


@pytest.fixture
def database_url() -> Iterator[str]:
    try:
        with cluster() as url, database(url, "two_servers") as made:
            yield made
    except NoPostgreSQL as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def started(server: Network) -> Network:
    server.folder.mkdir()
    server.start_server()
    return server


def patched(server: Network) -> set[str]:
    """The uploads that this server took bytes of."""
    return set(re.findall(r"PATCH[^\n]*?/uploads/([0-9a-f-]{36})", server.log("server")))


def web_memory_kb(server: Network) -> list[int]:
    """What the web process and its child weigh."""
    assert server.server is not None

    def children(pid: str | int) -> list[str]:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    web = [pid for pid in children(server.server.pid) if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"web\0")]
    sizes = [Path(f"/proc/{pid}/status").read_text() for first in web for pid in (first, *children(first))]
    return [int(re.search(r"VmRSS:\s+(\d+) kB", size)[1]) for size in sizes]  # type: ignore[index]


def test_two_servers_serve_one_federation_and_one_may_die(
    tiny_model_folder: Path, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = make_example(tmp_path / "example", tiny_model_folder, rank=64, rounds=ROUNDS, start=warm.start)
    monkeypatch.setenv(keys.VARIABLE, base64.b64encode(os.urandom(32)).decode())
    options = ("--database-url", database_url, "--pictures", str(example.pictures))
    with s3_server():
        options = (*options, "--store-url", f"s3://{BUCKET}/federation")
        # The store's library has threads, which live through no fork; and what a server weighs is looked at.
        first, second = (Network(tmp_path / name, options, start=start) for name in ("first", "second"))
        addresses = [("127.0.0.1", server.port) for server in (first, second)]
        proxies = []
        try:
            for server in (first, second):
                started(server)
            for number, member in enumerate(COUNTS):
                proxies.append(Proxy(addresses[0], LIVES, seed=number, others=(addresses[1],)))
                first.join(member, example.pictures / member, via=proxies[-1].url)
            first.wait_members(*COUNTS)
            run_id = first.asked("run", "start", str(example.plan))
            wait_for(lambda: first.committed(run_id), 240, "the first round")
            wait_for(lambda: "done in" in second.log("server"), 60, "a job of the second server's")
            assert patched(first) & patched(second), "no upload went on at the other server"
            assert len(web_memory_kb(first)) == 2
            assert max(web_memory_kb(first)) < 150_000
            second.kill_server()
            first.wait_done(run_id, 240)
            assert first.committed(run_id) == example.committed
            for member, process in first.clients.items():
                assert process.wait(60) == 0, first.log(member)
            for layout, told in example.joint.items():
                exported = tmp_path / f"{layout}.safetensors"
                first.asked("run", "export", run_id, "--out", str(exported), "--format", layout)
                assert tensors_hash(exported) == told
        finally:
            hang_up()
            for proxy in proxies:
                proxy.close()
            first.stop()
            second.stop()
