"""Talking to a server: tokens by signature, patience, and the server's own sentence in every error."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedflow.client.addresses import is_private, server_address
from fedflow.client.answers import Refused, Unavailable
from fedflow.client.connection import Connection
from fedflow.client.home import Device, Home
from fedflow.errors import MistakeError, RunError
from fedflow.federation.protocol import (
    PROTOCOL,
    Challenged,
    Joined,
    JoinRequest,
    Token,
    TokenRequest,
    Work,
    signed_text,
)

if TYPE_CHECKING:
    from conftest import Asked, Peer, Said

WAIT = Work(action="wait", text="nothing yet", poll_after_s=1)


class Doorkeeper:
    """Gives tokens to whoever signs with the key of `home`; `answer` gets what comes with the newest token."""

    def __init__(self, peer: Peer, home: Home, answer: Callable[[Asked], Said]) -> None:
        self._peer = peer
        self._answer = answer
        self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(home.identity().public_key))
        self.tokens = 0
        peer.answer = self.open

    def open(self, asked: Asked) -> Said:
        if asked.path == "/api/v1/devices/challenge":
            return self._peer.message(Challenged(nonce=f"n{self.tokens}", expires_in_s=60))
        if asked.path == "/api/v1/devices/token":
            request = TokenRequest.model_validate_json(asked.body)
            assert request.nonce == f"n{self.tokens}"
            self._key.verify(base64.b64decode(request.signature), signed_text("d1", request.nonce))
            self.tokens += 1
            return self._peer.message(Token(token=f"t{self.tokens}", expires_in_s=900))
        assert asked.headers["fedflow-protocol"] == str(PROTOCOL)
        if asked.headers.get("authorization") != f"Bearer t{self.tokens}":
            return self._peer.problem(401, "the token is unknown, expired or revoked")
        return self._answer(asked)


@pytest.fixture
def home(peer: Peer, tmp_path: Path) -> Home:
    home = Home(tmp_path)
    home.keep(Device(server=peer.address, device_id="d1", member="studio", federation_id="f1", federation="Museums"))
    return home


def test_a_token_is_got_once_by_signing_a_challenge(peer: Peer, home: Home) -> None:
    Doorkeeper(peer, home, lambda _: peer.message(WAIT))
    with Connection(home) as connection:
        assert [connection.work(), connection.work()] == [WAIT, WAIT]
    assert peer.paths() == ["POST /devices/challenge", "POST /devices/token", "GET /work", "GET /work"]


def test_a_connection_beside_another_reads_no_certificates_again(
    peer: Peer, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    Doorkeeper(peer, home, lambda _: peer.message(WAIT))
    with Connection(home) as connection:
        monkeypatch.delattr(ssl, "create_default_context")  # what reads them; some 80 ms at each training
        with connection.beside() as other:
            assert other.work() == WAIT


def test_a_token_that_is_refused_is_renewed_once(peer: Peer, home: Home) -> None:
    door = Doorkeeper(peer, home, lambda _: peer.message(WAIT))
    with Connection(home) as connection:
        connection.work()
        door.tokens += 1  # the server has forgotten the first
        connection.consent("r1", True, 24)
        assert peer.paths()[3:] == [
            "POST /runs/r1/consent", "POST /devices/challenge", "POST /devices/token", "POST /runs/r1/consent",
        ]  # fmt: skip
        assert peer.asked[-1].body == peer.asked[3].body
        assert peer.asked[-1].headers["idempotency-key"] == peer.asked[3].headers["idempotency-key"]


@pytest.mark.parametrize(("used_up", "got"), [(1, True), (4, True), (5, False)])
def test_a_challenge_that_the_network_has_used_up_is_asked_for_again(
    used_up: int, got: bool, peer: Peer, home: Home
) -> None:
    door = Doorkeeper(peer, home, lambda _: peer.message(WAIT))
    left = used_up

    def answer(asked: Asked) -> Said:
        nonlocal left
        if asked.path == "/api/v1/devices/token" and left > 0:
            left -= 1
            return peer.problem(401, "the challenge is unknown, used or expired; ask for a new one")
        return door.open(asked)

    peer.answer = answer
    with Connection(home) as connection:
        if got:
            assert connection.work() == WAIT
        else:
            with pytest.raises(Refused, match="the challenge is unknown, used or expired"):
                connection.work()
    assert peer.paths().count("POST /devices/challenge") == (used_up + 1 if got else 5)


def test_a_revoked_device_is_told_so_and_does_not_ask_for_ever(peer: Peer, home: Home) -> None:
    peer.answer = lambda _: peer.problem(401, "this device was revoked")
    with Connection(home) as connection, pytest.raises(Refused, match=r"^this device was revoked$") as error:
        connection.work()
    assert (error.value.status, peer.paths()) == (401, ["POST /devices/challenge"])


def test_a_fault_that_passes_is_waited_for_as_long_as_the_server_says(peer: Peer, home: Home) -> None:
    faults = [
        peer.problem(503, "the database is away", Retry_After="7"),
        peer.problem(409, "the request with this Idempotency-Key is still under way", Retry_After="1"),
        peer.problem(429, "too many"),
        peer.problem(502, "x"),
    ]
    Doorkeeper(peer, home, lambda _: faults.pop(0) if faults else peer.message(WAIT))
    slept: list[float] = []
    with Connection(home, sleep=slept.append) as connection:
        assert connection.work() == WAIT
    assert (slept[0], slept[1] >= 1) == (7, True)
    assert all(0 <= pause <= 4 for pause in slept[1:])
    assert len(slept) == 4


def test_a_fault_that_stays_ends_with_the_servers_sentence(peer: Peer, home: Home) -> None:
    Doorkeeper(peer, home, lambda _: peer.problem(503, "the database is away", Retry_After="20"))
    slept: list[float] = []
    connection = Connection(home, patience_s=10, sleep=slept.append)
    with connection, pytest.raises(Unavailable, match=r"^the database is away$"):
        connection.work()
    assert slept == []


@pytest.mark.parametrize("status", [400, 403, 404, 409, 410, 422, 426])
def test_a_refusal_is_final_and_has_the_servers_sentence(status: int, peer: Peer, home: Home) -> None:
    Doorkeeper(peer, home, lambda _: peer.problem(status, "no\x1b[2J,\nreally"))
    with Connection(home) as connection, pytest.raises(Refused) as error:
        connection.run("r1")
    assert error.value.status == status
    assert str(error.value) == "'no\\x1b[2J, really'"
    assert peer.paths()[2:] == ["GET /runs/r1"]


def test_an_answer_of_something_else_is_named(peer: Peer, home: Home) -> None:
    Doorkeeper(peer, home, lambda _: peer.message(Joined(device_id="1", member="a", federation_id="f", federation="b")))
    with Connection(home) as connection, pytest.raises(RunError, match="the answer is no Work of protocol 3"):
        connection.work()


def test_no_server_at_all_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with Connection(home, patience_s=0) as connection, pytest.raises(Unavailable, match="does not answer"):
        connection.join("http://127.0.0.1:1", "code-code", "device")
    assert home.device() is None


def test_joining_again_after_a_crash_is_the_same_request(peer: Peer, tmp_path: Path) -> None:
    joined = Joined(device_id="d1", member="studio", federation_id="f1", federation="Museums")
    peer.answer = lambda _: peer.message(joined)
    home = Home(tmp_path)
    with Connection(home) as connection:
        device = connection.join(peer.address, "code-code", "device")
    assert home.device() == device == Device(server=peer.address, **joined.model_dump())
    request = JoinRequest.model_validate_json(peer.asked[0].body)
    assert request.public_key == home.identity().public_key
    assert (tmp_path / "device.key").read_bytes() not in peer.asked[0].body
    (tmp_path / "device.json").unlink()
    with Connection(home) as connection:
        connection.join(peer.address, "code-code", "device")
    assert peer.asked[0].body == peer.asked[1].body
    assert peer.asked[0].headers["idempotency-key"] == peer.asked[1].headers["idempotency-key"]
    assert "code-code" not in peer.asked[0].headers["idempotency-key"]


def test_a_member_whose_name_leads_out_of_the_home_is_refused(peer: Peer, tmp_path: Path) -> None:
    peer.answer = lambda _: peer.message(Joined(device_id="d", member="../x", federation_id="f", federation="b"))
    with Connection(Home(tmp_path)) as connection, pytest.raises(MistakeError, match="cannot name a file"):
        connection.join(peer.address, "code-code", "device")


def test_content_comes_with_the_devices_token_and_refusals_keep_their_status(
    peer: Peer, home: Home, tmp_path: Path
) -> None:
    content = b"weights" * 100
    digest = hashlib.sha256(content).hexdigest()
    path = f"/api/v1/files/{digest}"
    Doorkeeper(
        peer,
        home,
        lambda asked: type(peer.message(WAIT))(200, content) if asked.path == path else peer.problem(404, "no"),
    )
    with Connection(home) as connection:
        connection.fetch(digest, tmp_path / "weights")
        assert (tmp_path / "weights").read_bytes() == content
        with pytest.raises(Refused, match="no") as error:
            connection.fetch("0" * 64, tmp_path / "none")
    assert error.value.status == 404


def test_without_having_joined_the_way_out_is_told(tmp_path: Path) -> None:
    with (
        Connection(Home(tmp_path)) as connection,
        pytest.raises(MistakeError, match="give the server's URL and --code"),
    ):
        connection.work()


@pytest.mark.parametrize(
    ("url", "address", "private"),
    [
        ("https://fed.example.org/", "https://fed.example.org", True),
        (" http://127.0.0.1:8440 ", "http://127.0.0.1:8440", True),
        ("http://10.0.0.2:8440", "http://10.0.0.2:8440", False),
        ("https://example.org/fed/", "https://example.org/fed", True),
        ("fed.example.org:8440/", "https://fed.example.org:8440", True),
        ("127.0.0.1:8440", "http://127.0.0.1:8440", True),
        ("[::1]:8440", "http://[::1]:8440", True),
        ("localhost", "http://localhost", True),
    ],
)
def test_addresses(url: str, address: str, private: bool) -> None:
    assert server_address(url) == address
    assert is_private(address) is private


@pytest.mark.parametrize("url", ["ftp://x", "https://", "http://x:port", "https://u:p@x", "", "https://x?a"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(MistakeError, match="is no address of a server"):
        server_address(url)
