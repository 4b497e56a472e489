"""A real server with a run under way, besieged: scene, forged files, slow clients, and what the round ends with."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from forged import forged
from hostile import TUS, Device, Scene, Seen, honest_update, seen
from network import Network, wait_for

HONEST = ("alice", "bob")
REFUSED_A_ROUND = 20
"""Refusals of a member in a round after which the server looks at no more."""


def plan(name: str, model: str, clients: tuple[str, ...]) -> dict[str, Any]:
    """A run of one round that its coordinator closes."""
    return {
        "name": name,
        "model": model,
        "rounds": 1,
        "seeds": [7],
        "data": {"clients": list(clients)},
        "lora": {"rank": 2, "alpha": 4},
        "network": {"quorum": 2},
    }


def start_run(person: Device, federation: str, devices: list[Device], planned: dict[str, Any]) -> str:
    """A run whose round collects, with everyone's consent."""
    made = person.post("/runs", {"federation_id": federation, "plan": planned}).raise_for_status().json()
    run = str(made["id"])

    def collects() -> bool:
        status = person.get(f"/runs/{run}").raise_for_status().json()["status"]
        assert status in ("preparing", "running"), status
        return bool(status == "running")

    wait_for(collects, 180, "the run's preparation")
    for device in devices:
        device.post(f"/runs/{run}/consent", {"accept": True, "num_examples": 5}).raise_for_status()
    return run


def begin(network: Network, model: str, forgers: int) -> tuple[Scene, str]:
    """The scene, and another run of the honest members alone that is what the attacked one must end like."""
    network.start_server()
    person = Device(network.url, "coordinator")
    person.token = network.token()
    federation = person.get("/federations").raise_for_status().json()["items"][0]["id"]
    strange = person.post("/federations", {"name": "elsewhere"}).raise_for_status().json()["id"]
    mallory, outsider = Device(network.url, "mallory"), Device(network.url, "outsider")
    outside = person.post(f"/federations/{strange}/codes", {"member": "outsider"}).raise_for_status().json()["code"]
    outsider.join(outside).raise_for_status()
    outsider.sign_in()
    scene = Scene(
        network.url, person, federation, "", b"", {}, mallory, outsider, [], network.data / "server.db", used_code=""
    )
    scene.used_code = scene.new_code("mallory")
    mallory.join(scene.used_code).raise_for_status()
    mallory.sign_in()
    scene.honest = {name: scene.new_device(name) for name in HONEST}
    scene.forgers = [scene.new_device(f"forger-{number}") for number in range(forgers)]
    quiet = start_run(person, federation, list(scene.honest.values()), plan("quiet", model, HONEST))
    forgers = tuple(device.member for device in scene.forgers)
    if forgers:
        scene.fuzzed = start_run(person, federation, scene.forgers, plan("fuzzed", model, forgers))
    everyone = [*scene.honest.values(), mallory]
    scene.run = start_run(person, federation, everyone, plan("attacked", model, (*HONEST, "mallory")))
    work = next(iter(scene.honest.values())).get("/work").raise_for_status().json()
    scene.start = mallory.get(f"/files/{work['adapter']}").raise_for_status().content
    return scene, quiet


def answer_honestly(scene: Scene, run: str, name: str) -> Seen:
    """One honest member's update of round 1."""
    content = honest_update(scene.start, HONEST.index(name))
    return seen(scene.honest[name].send(run, 1, content, 5 + HONEST.index(name)))


def close(scene: Scene, run: str) -> tuple[str, str | None]:
    """Close the round; adapter and residual that were committed, once the run is done."""
    scene.person.post(f"/runs/{run}/close-round", {})  # a run that has all it wants is closed already

    def done() -> bool:
        return bool(scene.person.get(f"/runs/{run}").raise_for_status().json()["status"] == "done")

    wait_for(done, 180, "the end of the run")
    after, committed = 0, None
    while committed is None:
        events = scene.person.get(f"/federations/{scene.federation}/events?limit=200&after={after}").json()["items"]
        assert events, "no round was committed"
        after = events[-1]["id"]
        committed = next((e["facts"] for e in events if (e["kind"], e["run"]) == ("round committed", run)), None)
    return committed["adapter"], committed.get("residual")


def send_forged(scene: Scene, count: int, seed: int) -> tuple[Counter[int], list[Seen]]:
    """Forged files as updates over HTTP, by members that the run asks: the statuses, and every answer."""
    statuses: Counter[int] = Counter()
    answers: list[Seen] = []
    devices = [device for device in scene.forgers for _ in range(REFUSED_A_ROUND)]
    assert len(devices) >= count, "more members are needed, as each is refused so often only"
    for device, content in zip(devices, forged(scene.start, seed, count), strict=False):
        if device.get("/work").json()["action"] != "train":
            continue  # a forged file that was an honest one counts
        answer = seen(device.send(scene.fuzzed, 1, content))
        statuses[answer.status] += 1
        answers.append(answer)
    return statuses, answers


@dataclass
class SlowClients:
    """Connections that send or read a byte now and then, and never come to an end."""

    scene: Scene
    connections: dict[str, list[socket.socket]] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def open(self, each: int) -> None:
        """Half heads and half bodies of anybody's, half uploads and unread downloads of a device's."""
        scene, host = self.scene, b"Host: x\r\n"
        token = f"Authorization: Bearer {scene.mallory.token}\r\n".encode()
        json_head = b"Content-Type: application/json\r\nContent-Length: 500\r\n"
        page = re.findall(r'(?:src|href)="([^"]+bundle[^"]*\.js)"', httpx.get(f"{scene.url}/openapi/swagger").text)[0]
        bundle = httpx.URL(f"{scene.url}/openapi/").join(page).path.encode()
        self._open("silent", each, b"")
        self._open("half a head", each, b"GET /api/v1/me HTTP/1.1\r\n" + host)
        self._open("half a body", each, b"POST /api/v1/join HTTP/1.1\r\n" + host + json_head + b"\r\n{")
        self._open(
            "half a body with a token",
            each,
            b"POST /api/v1/runs/x/consent HTTP/1.1\r\n" + host + token + json_head + b"\r\n{",
        )
        self._open("an unread page", each, b"GET " + bundle + b" HTTP/1.1\r\n" + host + b"\r\n", unread=True)
        for _ in range(8):
            created = scene.mallory.create(1_000_000)
            upload = created.headers["Location"].rpartition("/")[2]
            lines = {**TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
            patch = f"PATCH /api/v1/uploads/{upload} HTTP/1.1\r\n".encode() + host + token + head
            self._open("half an upload", 1, patch + b"Content-Length: 1000000\r\n\r\nx")
        threading.Thread(target=self._drip, daemon=True).start()

    def close(self) -> None:
        """End all of it."""
        self._ended.set()
        for found in self.connections.values():
            for connection in found:
                connection.close()

    def answers(self, kind: str) -> Counter[str]:
        """What has come back by now on the connections of a kind: a status, 'closed', or 'open'."""
        told: Counter[str] = Counter()
        for connection in self.connections[kind]:
            connection.setblocking(False)
            try:
                data = connection.recv(4000, socket.MSG_PEEK)
                told[data.split()[1].decode() if data else "closed"] += 1
            except BlockingIOError:
                told["open"] += 1
            except OSError:
                told["closed"] += 1
            connection.setblocking(True)
        return told

    def _open(self, kind: str, count: int, data: bytes, *, unread: bool = False) -> None:
        host, port = self.scene.url.removeprefix("http://").split(":")
        for _ in range(count):
            connection = socket.socket()
            if unread:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(30)
            connection.connect((host, int(port)))
            connection.sendall(data)
            self.connections.setdefault(kind, []).append(connection)

    def _drip(self) -> None:
        dripping = [c for kind, found in self.connections.items() if kind.startswith("half") for c in found]
        while not self._ended.wait(0.5):
            for connection in dripping:
                with suppress(OSError):
                    connection.send(b"x")


def latencies_s(device: Device, seconds: float) -> list[float]:
    """How long reads of an honest participant take, one after the other, each on a connection of its own."""
    ends, taken = time.monotonic() + seconds, []
    while time.monotonic() < ends:
        began = time.monotonic()
        httpx.get(f"{device.url}/me", headers=device.auth(), timeout=60).raise_for_status()
        taken.append(time.monotonic() - began)
        time.sleep(0.02)
    return sorted(taken)


def quarantined(folder: Path) -> dict[str, bool]:
    """The files kept aside, by name (MEMBER-SHA256), and whether each holds what its name says."""
    return {
        path.name: path.name.endswith(f"-{hashlib.sha256(path.read_bytes()).hexdigest()}")
        for path in (folder / "quarantine").iterdir()
    }
