"""`fedflow join` before anything is trained: what is asked for, what is refused, what is sent."""

from __future__ import annotations

import _thread
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from fedflow.cli.join import join
from fedflow.client.answers import Refused
from fedflow.client.home import Home
from fedflow.errors import DatasetError, MistakeError
from fedflow.federation.protocol import Challenged, Joined, JoinRequest, Token, Work

if TYPE_CHECKING:
    from conftest import Asked, Peer, Said


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (16, 16)).save(folder / "a.png")
    (folder / "a.txt").write_text("a, fruit")
    return folder


def finished(peer: Peer, asked: Asked) -> Said:
    answers = {
        "/join": Joined(device_id="d1", member="studio", federation_id="f1", federation="Museums"),
        "/devices/challenge": Challenged(nonce="n", expires_in_s=60),
        "/devices/token": Token(token="t", expires_in_s=900),  # noqa: S106
        "/work": Work(action="finished", text="run 'x' is done", poll_after_s=1, run="r1"),
    }
    return peer.message(answers[asked.path.removeprefix("/api/v1")])


def test_the_code_is_used_once_and_later_starts_need_none(
    peer: Peer, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.answer = lambda asked: finished(peer, asked)
    home = tmp_path / "home"
    join(f"{peer.address}/", pictures, code="code-code", home=home, name="gpu 1", once=True)
    request = JoinRequest.model_validate_json(peer.asked[0].body)
    assert (request.code, request.device_name) == ("code-code", "gpu 1")
    assert "Member 'studio' of 'Museums'" in capsys.readouterr().out
    join(None, pictures, home=home, once=True)
    capsys.readouterr()
    join(peer.address, pictures, code="code-code", home=home, once=True)
    assert peer.paths().count("POST /join") == 1
    told = capsys.readouterr().err.splitlines()
    assert told[-1] == "fedflow: this device has joined before; the code was not used"
    assert told[0].startswith("fedflow: nobody is at a terminal")


def test_a_machine_has_its_own_name_and_says_what_is_shown_of_the_member(
    peer: Peer, pictures: Path, tmp_path: Path
) -> None:
    peer.answer = lambda asked: finished(peer, asked)
    join(peer.address, pictures, code="code-code", home=tmp_path / "a", once=True)
    join(peer.address, pictures, code="code-code", home=tmp_path / "b", shows_counts=True, once=True)
    sent = [JoinRequest.model_validate_json(asked.body) for asked in peer.asked if asked.path.endswith("/join")]
    assert [request.shows_counts for request in sent] == [None, True]
    assert {request.device_name for request in sent} == {socket.gethostname().partition(".")[0]}


def test_a_device_that_was_shut_out_joins_anew_with_a_new_code_and_a_new_key(
    peer: Peer, pictures: Path, tmp_path: Path
) -> None:
    shut_out = False

    def answer(asked: Asked) -> Said:
        nonlocal shut_out
        if asked.path.endswith("/join"):
            shut_out = False
        if shut_out and asked.path.endswith("/challenge"):
            return peer.problem(403, "device 'device' was revoked; ask the coordinator for a new join code")
        return finished(peer, asked)

    peer.answer = answer
    home = tmp_path / "home"
    join(peer.address, pictures, code="code-code", home=home, once=True)
    shut_out = True
    with pytest.raises(Refused, match="ask the coordinator for a new join code"):
        join(None, pictures, home=home, once=True)
    join(None, pictures, code="code-anew", home=home, once=True)
    joins = [JoinRequest.model_validate_json(asked.body) for asked in peer.asked if asked.path.endswith("/join")]
    assert [request.code for request in joins] == ["code-code", "code-anew"]
    assert joins[0].public_key != joins[1].public_key
    join(None, pictures, home=home, once=True)


def test_a_code_or_name_that_can_be_none_is_named(peer: Peer, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match=r"code: .*at least 8 characters"):
        join(peer.address, pictures, code="short", home=tmp_path / "home")
    with pytest.raises(MistakeError, match="a terminal cannot show"):
        join(peer.address, pictures, code="code-code", home=tmp_path / "home", name="a\x1b")
    assert peer.asked == []


def test_what_lacks_for_joining_is_named(peer: Peer, pictures: Path, tmp_path: Path) -> None:
    for url, code in ((None, None), (peer.address, None), (None, "code-code")):
        with pytest.raises(MistakeError, match="give the server's URL, and --code"):
            join(url, pictures, code=code, home=tmp_path / "home")
    assert peer.asked == []


def test_the_command_that_goes_on_keeps_the_owners_limits(peer: Peer, pictures: Path, tmp_path: Path) -> None:
    def stopped(asked: Asked) -> Said:
        if asked.path.endswith("/work"):
            _thread.interrupt_main()
        return finished(peer, asked)

    peer.answer = stopped
    home, policy = tmp_path / "home", tmp_path / "policy.toml"
    policy.write_text("max_rounds = 5\n")
    with pytest.raises(KeyboardInterrupt) as caught:
        join(peer.address, pictures, code="code-code", home=home, accept=True, max_rounds=3, policy=policy, threads=2)
    words = f"fedflow join --data {pictures} --home {home} --policy {policy} --max-rounds 3 --threads 2 --accept"
    assert str(caught.value).endswith(f"goes on from there: {words}")


def test_a_home_among_the_pictures_is_refused(peer: Peer, pictures: Path) -> None:
    with pytest.raises(MistakeError, match="lies within the pictures' folder"):
        join(peer.address, pictures, code="code-code", home=pictures / "sub" / "home")
    assert not (pictures / "sub").exists()


def test_a_home_belongs_to_one_server(peer: Peer, pictures: Path, tmp_path: Path) -> None:
    peer.answer = lambda asked: finished(peer, asked)
    join(peer.address, pictures, code="code-code", home=tmp_path / "home", once=True)
    with pytest.raises(MistakeError, match=r"give another --home to join https://example\.org too"):
        join("https://example.org", pictures, code="code-code", home=tmp_path / "home")


def test_a_wrong_code_leaves_a_home_that_can_still_join(peer: Peer, pictures: Path, tmp_path: Path) -> None:
    peer.answer = lambda _: peer.problem(403, "the code is unknown, used or expired; ask for another")
    with pytest.raises(Refused, match="ask for another"):
        join(peer.address, pictures, code="code-code", home=tmp_path / "home")
    peer.answer = lambda asked: finished(peer, asked)
    join(peer.address, pictures, code="another-code", home=tmp_path / "home", once=True)
    assert Home(tmp_path / "home").device() is not None


def test_a_picture_that_cannot_be_used_keeps_the_code_unused(peer: Peer, pictures: Path, tmp_path: Path) -> None:
    (pictures / "b.png").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"b\.png"):
        join(peer.address, pictures, code="code-code", home=tmp_path / "home")
    assert peer.asked == []
