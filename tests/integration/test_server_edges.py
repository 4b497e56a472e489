"""What a server does when its disk is full, its database is away, or another server works beside it. docs/edges.md."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import warm
from cluster import Cluster, NoPostgreSQL
from hostile import Device, hang_up, seen
from network import FEDFLOW, Network, wait_for
from siege import HONEST, answer_honestly, begin, close

from fedflow.errors import MistakeError
from fedflow.server.processes import MOST_QUICK_DEATHS
from fedflow.server.services import files
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    try:
        made = Cluster(durable=True)
    except NoPostgreSQL as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    try:
        yield made
    finally:
        made.remove()


def test_a_database_that_is_gone_and_back_costs_a_run_nothing_but_time(
    network: Network, cluster: Cluster, tiny_model_folder: Path
) -> None:
    network.options = ("--database-url", cluster.url.format(name="postgres"))
    scene, quiet = begin(network, str(tiny_model_folder), 0)
    assert network.server is not None
    children = Path(f"/proc/{network.server.pid}/task/{network.server.pid}/children")
    before = children.read_text()
    assert answer_honestly(scene, scene.run, HONEST[0]).status == 200
    cluster.stop()
    for _ in range(5):
        asked = (scene.mallory.get("/work"), scene.person.get("/runs"), scene.mallory.create(5))
        for answer in map(seen, asked):
            assert (answer.status, answer.fault) == (503, "")
            assert answer.sentence == "the server's database does not answer; try again in a moment"
    assert httpx.get(f"{network.url}/healthz").status_code == 200
    assert "database does not answer" in httpx.get(f"{network.url}/readyz").json()["error"]["message"]
    cluster.start()
    wait_for(network.ready, 30, "the database's return")
    assert answer_honestly(scene, scene.run, HONEST[1]).status == 200
    for name in HONEST:
        assert answer_honestly(scene, quiet, name).status == 200
    assert close(scene, scene.run) == close(scene, quiet)
    assert children.read_text() == before, "web process and worker are the same ones"


def test_processes_that_die_while_the_database_is_away_wait_for_it(network: Network, cluster: Cluster) -> None:
    network.options = ("--database-url", cluster.url.format(name="postgres"))
    network.start_server()
    assert network.server is not None
    cluster.stop()
    for pid in _children(network):
        os.killpg(pid, signal.SIGKILL)
    for kind in ("web", "worker", "evaluator"):
        waits = f"the start of the {kind} process: the database does not answer"
        wait_for(lambda waits=waits: waits in network.log("server"), 120, f"the wait of the {kind} process")  # type: ignore[misc]
    assert not network.ready()
    cluster.start()
    wait_for(network.ready, 60, "the server's return")
    assert network.server.poll() is None
    log = network.log("server")
    assert "Traceback" not in log
    assert log.count("the start of the web process: works again") == 1
    assert log.count("the database does not answer") <= 8, "one line for each process that met it, not one a try"


def test_a_worker_that_dies_and_dies_does_not_end_the_server(cold_network: Network) -> None:
    network = cold_network
    network.start_server()
    assert network.server is not None
    killed: set[int] = set()

    def killed_again() -> bool:
        found = [pid for pid in _children(network) if b"\0worker\0" in _words(pid)]
        for pid in set(found) - killed:
            killed.add(pid)
            os.killpg(pid, signal.SIGKILL)
        return len(killed) > MOST_QUICK_DEATHS

    wait_for(killed_again, 120, "the worker's deaths")
    pause = f"starting it again in {2**MOST_QUICK_DEATHS // 2} s"
    wait_for(lambda: pause in network.log("server"), 30, "a pause that has grown")
    assert network.ready()
    assert network.server.poll() is None


def _children(network: Network) -> list[int]:
    assert network.server is not None
    return [
        int(pid) for pid in Path(f"/proc/{network.server.pid}/task/{network.server.pid}/children").read_text().split()
    ]


def _words(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--database-url", "postgresql+psycopg://fedflow@127.0.0.1:1/none"), "the database does not answer"),
        (("migrate",), "server: holds no database; give the server's --folder or its --database-url"),
    ],
)
def test_a_start_without_its_database_is_one_line(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    command = [*FEDFLOW, "server", "--folder", str(tmp_path / "server"), *words]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode != 0
    assert sentence in refused.stderr
    assert "Traceback" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


OTHER_CLOCK = """
import sys, time
from pathlib import Path

real = time.time
time.time = lambda: real() + float(sys.argv[4])

from fedflow.client.connection import Connection
from fedflow.client.home import Home

home, sent = Path(sys.argv[3]), Path(sys.argv[3]) / "sent"
with Connection(Home(home)) as connection:
    connection.join(sys.argv[1], sys.argv[2], "pc")
    connection.work()
    sent.write_bytes(bytes(1_000_000))
    connection.upload(sent, {})
    connection.abandon(sent)
    print("all went well")
"""


@pytest.mark.parametrize("days", [-365, 365])
def test_a_participants_clock_that_is_wrong_changes_nothing(network: Network, tmp_path: Path, days: int) -> None:
    network.start_server()
    code = network.asked("server", "code", "studio").split()[-1]
    words = [sys.executable, "-c", OTHER_CLOCK, network.url, code, str(tmp_path / "studio"), str(days * 86_400)]
    (tmp_path / "studio").mkdir()
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "all went well\n", done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_sentence_and_nothing_acknowledged_is_lost(small_disk: Path, tmp_path: Path) -> None:
    network = Network(tmp_path, start=warm.start)
    (small_disk / "server").mkdir()
    (tmp_path / "server").symlink_to(small_disk / "server")
    try:
        network.start_server()
        device = _member(network)
        upload = device.create(9_000_000).headers["Location"].rpartition("/")[2]
        first = os.urandom(1_000_000)
        assert device.patch(upload, first).status_code == 204
        ballast = small_disk / "ballast"
        _fill(ballast)
        full = "the server's disk is full; its coordinator must free space, then try again"
        for answer in (device.patch(upload, b"x" * 8_000_000, 1_000_000), device.create(10)):
            assert (answer.status_code, seen(answer).sentence) == (507, full)
        told = {seen(device.post("/devices/challenge", {"device_id": device.id}, token="")) for _ in range(40)}
        assert {answer.status for answer in told} <= {200, 507}
        assert {answer.sentence for answer in told if answer.status == 507} <= {full}
        ballast.unlink()
        head = device.http.head(f"{device.url}/uploads/{upload}", headers={"Tus-Resumable": "1.0.0"} | device.auth())
        at = int(head.headers["Upload-Offset"])
        assert at >= len(first)
        aside = network.data / "uploads" / upload
        assert aside.read_bytes()[: len(first)] == first
        assert device.delete(upload).status_code == 204
        assert device.post("/devices/challenge", {"device_id": device.id}, token="").status_code == 200
    finally:
        hang_up()
        network.stop()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def _member(network: Network) -> Device:
    person = Device(network.url, "coordinator")
    person.token = network.token()
    federation = person.get("/federations").json()["items"][0]["id"]
    code = person.post(f"/federations/{federation}/codes", {"member": "studio"}).raise_for_status().json()["code"]
    device = Device(network.url, "studio")
    device.join(code).raise_for_status()
    device.sign_in()
    return device


def test_two_servers_on_one_folder_work_together(network: Network, tmp_path: Path) -> None:
    network.start_server()
    second = Network(tmp_path / "second", start=warm.start)
    second.folder.mkdir()
    (second.folder / "server").symlink_to(network.data)
    try:
        second.start_server()
        device = _member(network)
        upload = device.create(10).headers["Location"].rpartition("/")[2]
        device.url = f"{second.url}/api/v1"
        assert device.get("/me").json()["member"] == "studio"
        assert device.patch(upload, b"0123456789").status_code == 204
    finally:
        second.stop()
    words = ["server", "--folder", str(network.data), "--port", str(network.port)]
    refused = subprocess.run([*FEDFLOW, *words], capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode != 0
    assert "cannot listen there (Address already in use); choose another --host or --port" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_database_does_not_serve_another_folder(cluster: Cluster, tmp_path: Path) -> None:
    database_url = cluster.url.format(name="postgres")
    first = open_store(ServerSettings(folder=tmp_path / "first", database_url=database_url))
    files.put(first, b"a file of the first folder", "base")
    first.engine.dispose()
    open_store(ServerSettings(folder=tmp_path / "first", database_url=database_url)).engine.dispose()
    with pytest.raises(MistakeError, match="holds none of the files that the database speaks of; give the --folder"):
        open_store(ServerSettings(folder=tmp_path / "second", database_url=database_url))


def test_a_damaged_file_is_never_taken_for_the_right_one(network: Network) -> None:
    store = open_store(ServerSettings(folder=network.data))
    digest = files.put(store, b"content" * 1000, "base")
    blob = store.blobs.place(digest)
    store.engine.dispose()
    network.start_server()
    person = Device(network.url, "coordinator")
    person.token = network.token()
    assert person.get(f"/files/{digest}").content == b"content" * 1000
    blob.unlink()
    answer = seen(person.get(f"/files/{digest}"))
    assert (answer.status, answer.sentence) == (
        500,
        "the server cannot use its store; its log names the file and the reason",
    )
    assert str(blob) in network.log("server")
