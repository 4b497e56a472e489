"""One process of a load: simulated participants, uploads, or reads that are timed. `load.py` starts it.

    python load_driver.py clients|uploads|reads

The task comes as one JSON line on standard input, what was seen goes as one JSON line to standard output. A line
'ready' before it says that everybody has joined; 'uploads' and 'reads' then wait for a line, and 'reads' ends at the
next one.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hashlib
import json
import os
import random
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wire import Answer, Sample, Wire

from fedflow.federation.protocol import API, PROTOCOL, PROTOCOL_HEADER, signed_text

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}
NOISE = 1e-3
READ_EVERY_S = 0.03
RANGE_BYTES = 65_536
FRESH_S = 600.0  # a token is renewed after this long
AGAIN_S = 1.0
JITTER = 0.2  # that of client/participant, which would bring torch along


class Device:
    """A participant's machine: a key of its own, a token, one connection."""

    def __init__(self, port: int, samples: list[Sample]) -> None:
        self.wire = Wire(port, samples)
        self.key = Ed25519PrivateKey.generate()
        self.id = ""
        self._token = ""
        self._since = 0.0

    async def join(self, code: str) -> None:
        """Use up a code."""
        public = base64.b64encode(self.key.public_key().public_bytes_raw()).decode()
        body = {"code": code, "device_name": "load", "public_key": public, "version": "0"}
        answer = await self._post("join", f"{API}/join", body)
        self.id = answer.json()["device_id"]

    async def ask(
        self, kind: str, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """A request with this device's token."""
        return await self.wire.ask(kind, method, API + path, {**await self.headers(), **(headers or {})}, body)

    async def headers(self) -> dict[str, str]:
        """What every request of the device carries, after a new challenge where the token is old."""
        if not self._token or time.monotonic() - self._since > FRESH_S:
            self._since = time.monotonic()
            nonce = (await self._post("challenge", f"{API}/devices/challenge", {"device_id": self.id})).json()["nonce"]
            signature = base64.b64encode(self.key.sign(signed_text(self.id, nonce))).decode()
            body = {"device_id": self.id, "nonce": nonce, "signature": signature}
            self._token = (await self._post("token", f"{API}/devices/token", body)).json()["token"]
        return {"Authorization": f"Bearer {self._token}", PROTOCOL_HEADER: str(PROTOCOL)}

    async def _post(self, kind: str, path: str, body: dict[str, str]) -> Answer:
        answer = await self.wire.ask(
            f"POST {kind}", "POST", path, {"Content-Type": "application/json"}, json.dumps(body).encode()
        )
        if answer.status >= 300:
            raise RuntimeError(f"{path}: {answer.status} {answer.body.decode()}")
        return answer


def perturbed(adapter: bytes, noise: np.random.Generator) -> bytes:
    """A safetensors file of float32 with small noise on every tensor but the alphas."""
    begin = 8 + int.from_bytes(adapter[:8], "little")
    content = bytearray(adapter)
    for name, entry in json.loads(adapter[8:begin]).items():
        if name == "__metadata__" or name.endswith(".alpha"):
            continue
        first, last = (begin + offset for offset in entry["data_offsets"])
        values = np.frombuffer(content, "<f4", (last - first) // 4, first)
        values += NOISE * noise.standard_normal(len(values), np.float32)
    return bytes(content)


class Participant:
    """Does what `fedflow join` does, but for the training: that is a pause and some noise."""

    def __init__(self, device: Device, seed: int, training_s: tuple[float, float]) -> None:
        self.device = device
        self.random = random.Random(seed)
        self.noise = np.random.default_rng(seed)
        self.training_s = training_s
        self.held: dict[str, bytes] = {}
        self.handed_in = 0

    async def take_part(self) -> None:
        """Until the run is over."""
        while True:
            answer = await self.device.ask("GET work", "GET", "/work")
            if answer.status != 200:
                await asyncio.sleep(AGAIN_S)
                continue
            work = answer.json()
            if work["action"] == "finished":
                self.device.wire.close()
                return
            if work["action"] == "consent":
                await self._consent(work["run"])
            elif work["action"] == "train":
                await self._train(work)
            else:
                await asyncio.sleep(work["poll_after_s"] * self.random.uniform(1 - JITTER, 1 + JITTER))

    async def _consent(self, run: str) -> None:
        facts = (await self.device.ask("GET run", "GET", f"/runs/{run}")).json()
        for file in facts["base_files"]:
            await self._fetch(file["sha256"])
        await self._post("consent", f"/runs/{run}/consent", {"accept": True, "num_examples": 10, "reason": ""})

    async def _train(self, work: dict[str, Any]) -> None:
        for digest in (work["adapter"], *work["residuals"]):
            await self._fetch(digest)
        seconds = self.random.uniform(*self.training_s)
        await asyncio.sleep(seconds)
        update = perturbed(self.held[work["adapter"]], self.noise)
        headers = {**TUS, "Upload-Length": str(len(update)), "Upload-Metadata": "round " + _base64(work["round"])}
        created = await self.device.ask("POST upload", "POST", "/uploads", headers)
        if created.status != 201:
            await asyncio.sleep(AGAIN_S)
            return
        place = created.headers["location"].removeprefix(API)
        sent = await self.device.ask("PATCH upload", "PATCH", place, {**PIECE, "Upload-Offset": "0"}, update)
        if sent.status != 204:
            await asyncio.sleep(AGAIN_S)
            return
        request = {
            "upload_id": place.rpartition("/")[2],
            "sha256": hashlib.sha256(update).hexdigest(),
            "num_examples": 10,
            "metrics": {"seconds": seconds},
        }
        answer = await self._post("hand-in", f"/runs/{work['run']}/rounds/{work['round']}/updates", request)
        if answer.status == 200:
            self.handed_in += 1

    async def _fetch(self, digest: str) -> None:
        """A file, once; its content is checked by its hash."""
        while digest not in self.held:
            answer = await self.device.ask("GET file", "GET", f"/files/{digest}")
            if answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == digest:
                self.held[digest] = answer.body
            else:
                await asyncio.sleep(AGAIN_S)

    async def _post(self, kind: str, path: str, body: dict[str, Any]) -> Answer:
        headers = {"Content-Type": "application/json", "Idempotency-Key": self.random.randbytes(16).hex()}
        return await self.device.ask(f"POST {kind}", "POST", path, headers, json.dumps(body).encode())


async def clients(task: dict[str, Any], samples: list[Sample]) -> dict[str, Any]:
    """Participants with the codes of `task`, until their run is over."""
    devices = [Device(task["port"], samples) for _ in task["codes"]]
    await asyncio.gather(*(device.join(code) for device, code in zip(devices, task["codes"], strict=True)))
    say("ready")
    span = tuple(task["training_s"])
    participants = [Participant(device, task["seed"] + number, span) for number, device in enumerate(devices)]
    await asyncio.gather(*(participant.take_part() for participant in participants))
    return {"handed_in": sum(participant.handed_in for participant in participants)}


async def uploads(task: dict[str, Any], samples: list[Sample]) -> dict[str, Any]:
    """As many uploads at once as `task` has codes, each from a device of its own."""
    devices = [Device(task["port"], samples) for _ in task["codes"]]
    await asyncio.gather(*(device.join(code) for device, code in zip(devices, task["codes"], strict=True)))
    size_bytes, path = task["size_bytes"], Path(task["content"])
    places, headers = [], []
    for device in devices:
        created = await device.ask("POST upload", "POST", "/uploads", {**TUS, "Upload-Length": str(size_bytes)})
        places.append(created.headers["location"])
        headers.append(await device.headers())
        device.wire.close()
    os.nice(10)  # the senders stand for other machines, whose processors are not the server's
    say("ready")
    await wait_for_line()
    failures: list[str] = []

    def send(number: int) -> None:
        began = time.monotonic()
        try:
            status = send_file(task["port"], places[number], headers[number], stamp(number), path, size_bytes)
        except OSError as error:
            status = 0
            failures.append(str(error))
        samples.append(Sample("PATCH 100 MB", began, 1000 * (time.monotonic() - began), status))

    began = time.monotonic()
    in_threads([lambda number=number: send(number) for number in range(len(devices))])  # type: ignore[misc]
    ended = time.monotonic()
    ids = [place.rpartition("/")[2] for place in places]
    return {"began": began, "ended": ended, "ids": ids, "failures": failures}


def stamp(number: int) -> bytes:
    """What makes the content of each upload another."""
    return f"upload {number:04d}\n".encode()


def send_file(port: int, place: str, headers: dict[str, str], head: bytes, path: Path, size_bytes: int) -> int:
    """One PATCH of `head` and as much of the file as fills the size; the kernel does the copying. Returns the status.

    Raises OSError where the connection breaks.
    """
    lines = {**headers, **PIECE, "Upload-Offset": "0", "Content-Length": str(size_bytes), "Connection": "close"}
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    with socket.create_connection(("127.0.0.1", port)) as connection, path.open("rb") as file:
        connection.sendall(f"PATCH {place} HTTP/1.1\r\nHost: 127.0.0.1\r\n{text}\r\n".encode() + head)
        at, left = 0, size_bytes - len(head)
        while left:
            sent = os.sendfile(connection.fileno(), file.fileno(), at, left)
            at, left = at + sent, left - sent
        return int(connection.recv(65_536).split(b" ", 2)[1])


def in_threads(calls: list[Callable[[], None]]) -> None:
    """All at once."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def reads(task: dict[str, Any], samples: list[Sample]) -> dict[str, Any]:
    """The API's reads in turn, as a coordinator and as a participant's device."""
    device = Device(task["port"], samples)
    await device.join(task["codes"][0])
    say("ready")
    run = (await wait_for_line()).strip()
    over = asyncio.create_task(wait_for_line())
    person = {"Authorization": f"Bearer {task['token']}"}
    wire = device.wire
    facts = (await wire.ask("GET run", "GET", f"{API}/runs/{run}", person)).json()
    federation = f"{API}/federations/{facts['federation_id']}"
    largest = max(facts["base_files"], key=lambda file: file["size_bytes"])["sha256"]
    part = {"Range": f"bytes=0-{RANGE_BYTES - 1}"}
    turns: list[tuple[str, str, dict[str, str]]] = [
        ("healthz", "/healthz", {}),
        ("run", f"{API}/runs/{run}", person),
        ("explain", f"{API}/runs/{run}/explain", person),
        ("events", f"{federation}/events?limit=200", person),
        ("members", f"{federation}/members?limit=200", person),
        ("file, Range", f"{API}/files/{largest}", {**person, **part}),
    ]
    while not over.done():
        for kind, path, headers in turns:
            await wire.ask(f"GET {kind}", "GET", path, headers)
            await asyncio.sleep(READ_EVERY_S)
        await device.ask("GET work", "GET", "/work")
        await asyncio.sleep(READ_EVERY_S)
    return {}


async def wait_for_line() -> str:
    """The next line of standard input."""
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def say(line: str) -> None:
    """Tell the process that started this one."""
    print(line, flush=True)


def _base64(value: object) -> str:
    return base64.b64encode(str(value).encode()).decode()


def main() -> None:
    """Do the part that the first argument names."""
    task = json.loads(sys.stdin.readline())
    samples: list[Sample] = []
    began = time.process_time()
    seen = asyncio.run({"clients": clients, "uploads": uploads, "reads": reads}[sys.argv[1]](task, samples))
    seen["cpu_s"] = time.process_time() - began
    seen["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seen["samples"] = [dataclasses.astuple(sample) for sample in samples]
    say(json.dumps(seen))


if __name__ == "__main__":
    main()
