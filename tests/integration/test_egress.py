"""What leaves a participant's machine: every byte of a whole federation recorded, listed and searched for canaries."""

from __future__ import annotations

import base64
import gzip
import json
import re
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import torch
import warm
from canaries import CanaryMachine, make_machine, path_with, windows
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from http_bytes import Request, requests_in
from leaks import Searcher
from network import Network, wait_for
from proxy import Proxy
from safetensors.torch import load

from fedflow import __version__
from fedflow.client.machine_name import machine_name
from fedflow.datasets import read_folder
from fedflow.federation.protocol import Doing
from fedflow.models import open_model
from fedflow.training import cache_latents

SOCKETS = Path(__file__).parents[1] / "support" / "sockets"
MEMBERS = {"studio": 4, "capped": 3, "shy": 3}
ROUNDS = 2

EVERY = {"host", "accept", "accept-encoding", "connection", "user-agent", "fedflow-protocol"}
KNOWN = {*EVERY, "authorization"}
SENDS = {"content-type", "content-length"}
SIGNS = {"host", "user-agent", "fedflow-protocol", *SENDS}

ALLOWED: dict[tuple[str, str], tuple[set[str], set[str]]] = {
    ("POST", "join"): (
        {*EVERY, *SENDS, "idempotency-key"},
        {"code", "device_name", "public_key", "version", "shows_counts"},
    ),
    ("POST", "devices/challenge"): (SIGNS, {"device_id"}),
    ("POST", "devices/token"): (SIGNS, {"device_id", "nonce", "signature"}),
    ("GET", "work"): (KNOWN, {"?doing"}),
    ("GET", "runs/ID"): (KNOWN, set()),
    ("GET", "files/SHA256"): (KNOWN, set()),
    ("POST", "runs/ID/consent"): ({*KNOWN, *SENDS, "idempotency-key"}, {"accept", "num_examples", "reason"}),
    ("POST", "uploads"): ({*KNOWN, "content-length", "tus-resumable", "upload-length", "upload-metadata"}, set()),
    ("HEAD", "uploads/ID"): ({*KNOWN, "tus-resumable"}, set()),
    ("PATCH", "uploads/ID"): ({*KNOWN, *SENDS, "tus-resumable", "upload-offset"}, {"<update>"}),
    ("DELETE", "uploads/ID"): ({*KNOWN, "tus-resumable"}, set()),
    ("POST", "runs/ID/rounds/N/updates"): (
        {*KNOWN, *SENDS, "idempotency-key"},
        {
            "upload_id",
            "sha256",
            "num_examples",
            "metrics",
            "metrics.first_loss",
            "metrics.last_loss",
            "metrics.seconds",
            "metrics.steps",
        },
    ),
}
"""All that participants send: method and path, names of headers, names of the body's JSON fields and, after `?`, of the
question's. Nothing else may."""


@dataclass(frozen=True)
class Federation:
    """A federation that has ended: what every participant sent, what may not have been in it, and where it is kept."""

    network: Network
    run_id: str
    machines: dict[str, CanaryMachine]
    proxies: dict[str, Proxy]

    def recordings(self) -> list[bytes]:
        return [recording for proxy in self.proxies.values() for recording in proxy.recordings()]

    def requests(self, member: str) -> list[Request]:
        return [request for recording in self.proxies[member].recordings() for request in requests_in(recording)]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(f"file:{self.network.data / 'server.db'}?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Iterator[Federation]:
    """One that takes part, one whose updates are refused, one that declines; all that they send is recorded."""
    folder = tmp_path_factory.mktemp("egress")
    # What notes a participant's sockets is loaded at its start.
    network = Network(folder, start=warm.start_but("join"))
    machines = {
        name: make_machine(folder / "machines", name, count, jsonl=name == "capped") for name, count in MEMBERS.items()
    }
    proxies: dict[str, Proxy] = {}
    plan = folder / "plan.toml"
    plan.write_text(
        f"""name = "egress"
model = "{tiny_model_folder}"
rounds = {ROUNDS}
seeds = [1]
[data]
root = "{folder}"
clients = {list(MEMBERS)}
[lora]
rank = 4
alpha = 8
[training]
batch_size = 2
epochs = 2
checkpoint_every = 1
[network]
quorum = 1
deadline_s = 15
""",
        encoding="utf-8",
    )
    try:
        network.start_server()
        for name, machine in machines.items():
            proxies[name] = Proxy(("127.0.0.1", network.port), record=folder / "sent" / name)
            network.join(
                name,
                machine.pictures,
                *(("--max-rounds", "1") if name == "shy" else ()),
                via=proxies[name].url,
                home=machine.home,
                settings={
                    **machine.settings,
                    "PYTHONPATH": path_with(SOCKETS),
                    "SOCKETS": str(folder / f"{name}.sockets"),
                },
            )
        network.wait_members(*MEMBERS)
        lower_the_cap(network)
        run_id = network.asked("run", "start", str(plan))
        wait_for(lambda: "declined" in network.log("shy"), 120, "the answer of who declines")
        network.wait_done(run_id, 180)
        for name in ("studio", "capped"):
            assert network.clients[name].wait(60) == 0, network.log(name)
        yield Federation(network, run_id, machines, proxies)
    finally:
        network.stop()
        for proxy in proxies.values():
            proxy.close()


def lower_the_cap(network: Network) -> None:
    """Let the cap of 'capped' fall as it consents: before, it would be told then; later, it may have sent."""
    database = sqlite3.connect(network.data / "server.db")
    with database:
        database.execute(
            "CREATE TRIGGER lowered AFTER UPDATE OF consent ON run_member WHEN NEW.consent = 'accepted' BEGIN "
            "UPDATE member SET max_examples = 2 WHERE id = NEW.member_id AND name = 'capped'; END"
        )
    database.close()


def test_the_federation_had_all_that_sends(federation: Federation) -> None:
    """An update that counts in each round, one that is refused, an owner's yes and an owner's no."""
    assert federation.rows("SELECT count(*) FROM receipt") == [(ROUNDS,)]
    assert federation.rows("SELECT count(*) > 0 FROM refusal") == [(1,)]
    assert sorted(federation.rows("SELECT consent FROM run_member")) == [("accepted",), ("accepted",), ("declined",)]


def test_the_recording_holds_what_was_sent(federation: Federation) -> None:
    """The updates' own bytes, and the device's public key, which the search must find in base64."""
    sent = b"".join(request.body for member in MEMBERS for request in federation.requests(member))
    for (digest,) in federation.rows("SELECT sha256 FROM receipt"):
        assert (federation.network.data / "blobs" / digest[:2] / digest).read_bytes() in sent
    for (digest,) in federation.rows("SELECT sha256 FROM refusal"):
        [aside] = (federation.network.data / "quarantine").glob(f"*-{digest}")
        assert aside.read_bytes() in sent
    keys = {key: base64.b64decode(key) for (key,) in federation.rows("SELECT public_key FROM device")}
    assert len(keys) == len(MEMBERS)
    joined = b"".join(federation.recordings())
    assert {leak.canary for leak in Searcher(keys).find(joined, depth=0)} == set(keys)


def test_no_canary_leaves(federation: Federation, tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    canaries: dict[str, bytes] = {}
    for member, machine in federation.machines.items():
        latents = cache_latents(model, read_folder(machine.pictures, model.resolution), flip=True)
        key = load_pem_private_key((machine.home / "device.key").read_bytes(), password=None)
        secret = {
            **machine.canaries,
            "private key": key.private_bytes_raw(),  # type: ignore[union-attr]
            "private key's file": (machine.home / "device.key").read_bytes().splitlines()[1],
            **windows("latents", latents.mean_NVCHW.numpy().tobytes(), 96),
            **windows("latents as float16", latents.mean_NVCHW.to(torch.float16).numpy().tobytes(), 48),
        }
        canaries |= {f"{member}: {what}": secret[what] for what in secret}
    if len(socket.gethostname()) >= 6:  # shorter ones are found by chance
        canaries["host name"] = socket.gethostname().encode()
    assert len(canaries) > 200
    searcher = Searcher(canaries)
    for member in MEMBERS:
        requests = federation.requests(member)
        bodies = b"".join(request.body for request in requests)
        for sent in (*federation.proxies[member].recordings(), bodies):
            assert searcher.find(sent) == []
        planted = requests[0].head.raw + gzip.compress(b"x" + canaries[f"{member}: caption 0"]) + bodies
        assert {leak.canary for leak in searcher.find(planted, depth=1)} == {f"{member}: caption 0"}


def test_nothing_is_sent_but_what_is_listed(federation: Federation) -> None:
    seen: dict[tuple[str, str], tuple[set[str], set[str]]] = {}
    for member in MEMBERS:
        for request in federation.requests(member):
            assert request.whole
            headers, fields = seen.setdefault((request.head.method, pattern(request.head.target)), (set(), set()))
            headers.update(name for name, _ in request.head.headers)
            fields.update(names_in(request))
    assert seen == ALLOWED


def test_the_values_that_are_sent_are_the_agreed_ones(federation: Federation) -> None:
    facts = federation.network.get(f"/runs/{federation.run_id}")
    for member, count in MEMBERS.items():
        for request in federation.requests(member):
            head = request.head
            assert head.header("user-agent") == f"fedflow/{__version__}"
            for name, value in parse_qsl(urlsplit(head.target).query, strict_parsing=True):
                assert re.fullmatch(f"({'|'.join(get_args(Doing))}):{federation.run_id}:[1-{ROUNDS}]", value), name
            if (metadata := head.header("upload-metadata")) != "":
                pairs = dict(pair.split(" ") for pair in metadata.split(","))
                told = {key: base64.b64decode(value).decode() for key, value in pairs.items()}
                assert told.keys() == {"run", "round"}
                assert told["run"] == federation.run_id
            if head.method == "PATCH":
                tensors = load(request.body)
                assert {name: list(tensor.shape) for name, tensor in tensors.items()} == facts["tensors"]
                assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
            elif request.body:
                said = json.loads(request.body)
                assert said.get("device_name", machine_name()) == machine_name()
                assert said.get("num_examples", count) == (count if said.get("accept", True) else 1)
                assert said.get("reason", "") in ("", "the owner's policy does not allow it")


def test_participants_talk_to_nobody_else(federation: Federation) -> None:
    for member, proxy in federation.proxies.items():
        host, port = proxy.url.removeprefix("http://").split(":")
        noted = set((federation.network.folder / f"{member}.sockets").read_text().splitlines())
        assert noted == {f"socket.connect ('{host}', {port})", f"socket.getaddrinfo '{host}'"}


def pattern(target: str) -> str:
    """A request's path with what differs from run to run by its kind."""
    path = re.sub(r"\b[0-9a-f]{64}\b", "SHA256", urlsplit(target).path.removeprefix("/api/v1/"))
    path = re.sub(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b", "ID", path)
    return re.sub(r"rounds/\d+", "rounds/N", path)


def names_in(request: Request) -> set[str]:
    """The names of all fields of a JSON body, nested ones by their path; other bodies by a word for their kind."""
    asked = {f"?{name}" for name in parse_qs(urlsplit(request.head.target).query)}
    if not request.body:
        return asked
    if request.head.header("content-type") == "application/offset+octet-stream":
        return {"<update>"}
    found = asked
    waiting = [("", json.loads(request.body))]
    while waiting:
        before, value = waiting.pop()
        for name, inner in value.items():
            found.add(before + name)
            if isinstance(inner, dict):
                waiting.append((f"{before}{name}.", inner))
    return found
