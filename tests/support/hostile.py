"""Participants that speak plain HTTP to a real server, honest and hostile ones, and how their answers are judged."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedflow.federation.protocol import Problem, signed_text

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}
NO_FILE = "0" * 64
LONGEST_SENTENCE = 700


@dataclass(frozen=True)
class Seen:
    """One answer: its status, and its sentence where it is an error; `fault` says what is wrong with it."""

    status: int
    sentence: str = ""
    fault: str = ""


def seen(response: httpx.Response) -> Seen:
    """What an answer says; an error must have the one shape, one sentence, and no path or traceback."""
    if response.status_code < 400 or response.request.method == "HEAD":
        return Seen(response.status_code)
    return judged(response.status_code, response.content)


def judged(status: int, body: bytes) -> Seen:
    """An error's body, checked."""
    try:
        sentence = Problem.model_validate_json(body).error.message
    except ValueError:
        return Seen(status, body[:80].decode(errors="replace"), "not in the one error shape")
    for bad in ("Traceback", "\n", "/server.db", "/blobs/", "/uploads/0", ".py", "sqlite3"):
        if bad in sentence:
            return Seen(status, sentence, f"shows {bad!r}")
    return Seen(status, sentence, "too long" if len(sentence) > LONGEST_SENTENCE else "")


OPENED: list[httpx.Client] = []


def hang_up() -> None:
    """Close the connections of every device."""
    while OPENED:
        OPENED.pop().close()


class Device:
    """A participant's device, with a key of its own."""

    def __init__(self, url: str, member: str) -> None:
        self.url = f"{url}/api/v1"
        self.member = member
        self.key = Ed25519PrivateKey.generate()
        self.http = httpx.Client(timeout=60)
        OPENED.append(self.http)
        self.id = ""
        self.token = ""

    @property
    def public_key(self) -> str:
        return base64.b64encode(self.key.public_key().public_bytes_raw()).decode()

    def post(self, path: str, content: object, token: str | None = None, **headers: str) -> httpx.Response:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        headers.setdefault("Content-Type", "application/json")
        return self.http.post(self.url + path, content=data, headers=headers | self.auth(token))

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx.Response:
        return self.http.get(self.url + path, headers=headers | self.auth(token))

    def auth(self, token: str | None = None) -> dict[str, str]:
        text = self.token if token is None else token
        return {"Authorization": f"Bearer {text}"} if text else {}

    def join(self, code: str) -> httpx.Response:
        request = {"code": code, "device_name": "pc", "public_key": self.public_key, "version": "0.1.0"}
        answer = self.post("/join", request, token="")
        if answer.status_code == 201:
            self.id = answer.json()["device_id"]
        return answer

    def signed(self) -> dict[str, str]:
        """A challenge of this device's, signed."""
        nonce = self.post("/devices/challenge", {"device_id": self.id}, token="").raise_for_status().json()["nonce"]
        signature = base64.b64encode(self.key.sign(signed_text(self.id, nonce))).decode()
        return {"device_id": self.id, "nonce": nonce, "signature": signature}

    def sign_in(self) -> str:
        self.token = self.post("/devices/token", self.signed(), token="").raise_for_status().json()["token"]
        return self.token

    def create(self, length: int | str, metadata: str = "") -> httpx.Response:
        headers = {**TUS, "Upload-Length": str(length), **({"Upload-Metadata": metadata} if metadata else {})}
        return self.http.post(f"{self.url}/uploads", headers=headers | self.auth())

    def patch(self, upload: str, content: bytes, offset: int = 0, **headers: str) -> httpx.Response:
        own = {**PIECE, "Upload-Offset": str(offset), **headers}
        return self.http.patch(f"{self.url}/uploads/{upload}", content=content, headers=own | self.auth())

    def upload(self, content: bytes) -> str:
        created = self.create(len(content))
        assert created.status_code == 201, created.text
        upload = created.headers["Location"].rpartition("/")[2]
        if content:
            sent = self.patch(upload, content)
            assert sent.status_code == 204, sent.text
        return upload

    def delete(self, upload: str) -> httpx.Response:
        return self.http.delete(f"{self.url}/uploads/{upload}", headers=TUS | self.auth())

    def hand_in(self, run: str, number: int, upload: str, sha256: str, examples: Any = 5) -> httpx.Response:
        text = f'{{"upload_id": {json.dumps(upload)}, "sha256": "{sha256}", "num_examples": '
        text += f"{examples if isinstance(examples, Raw) else json.dumps(examples)}}}"
        return self.post(f"/runs/{run}/rounds/{number}/updates", text.encode())

    def send(self, run: str, number: int, content: bytes, examples: Any = 5) -> httpx.Response:
        """Upload and hand in; a refused upload leaves nothing open."""
        upload = self.upload(content)
        answer = self.hand_in(run, number, upload, hashlib.sha256(content).hexdigest(), examples)
        if answer.status_code >= 400:
            self.delete(upload)
        return answer


class Raw(str):
    """Text that goes into JSON as it is."""


@dataclass
class Scene:
    """A server with a run under way: two honest members, a hostile one that the run asks too, and strangers."""

    url: str
    person: Device
    federation: str
    run: str
    start: bytes
    honest: dict[str, Device]
    mallory: Device
    outsider: Device
    forgers: list[Device]
    database: Path
    used_code: str
    fuzzed: str = ""
    """A run of the forgers', in which a forged file that is none may count."""

    def new_code(self, member: str) -> str:
        made = self.person.post(f"/federations/{self.federation}/codes", {"member": member, "max_examples": 100})
        return str(made.raise_for_status().json()["code"])

    def new_device(self, member: str) -> Device:
        device = Device(self.url, member)
        device.join(self.new_code(member)).raise_for_status()
        device.sign_in()
        return device

    def sql(self, statement: str, *values: object) -> None:
        """Change what the database says, as time would."""
        with sqlite3.connect(self.database, timeout=30) as connection:
            connection.execute(statement, values)
        connection.close()

    def raw(self, data: bytes, timeout_s: float = 20) -> Seen:
        """Send bytes as they are, and judge the first answer."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused before all was sent
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
            except OSError:
                pass
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 "):
            return Seen(0, "the connection was closed")
        status = int(head.split()[1])
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0
        )
        return judged(status, body[:length]) if status >= 400 else Seen(status)


def tensors_of(file: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    length = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def changed(start: bytes, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """An update like its round's start, the float32 tensors but the alphas changed."""
    header, data = tensors_of(start)
    made = bytearray(data)
    for name, claim in header.items():
        if name != "__metadata__" and not name.endswith(".alpha") and claim["dtype"] == "F32":
            begin, end = claim["data_offsets"]
            made[begin:end] = change(np.frombuffer(data[begin:end], "<f4").copy()).astype("<f4").tobytes()
    return start[: len(start) - len(data)] + bytes(made)


def honest_update(start: bytes, who: int) -> bytes:
    """A small step away from the start, another one for each member."""
    return changed(start, lambda values: values + 0.001 * (np.arange(len(values)) * (who + 3) % 7 - 3))
