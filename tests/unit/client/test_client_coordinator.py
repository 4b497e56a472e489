"""The coordinator's commands against a server that is away for a while, lists members, or gets no good token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fedflow.cli import members, run_results
from fedflow.cli.run import Away, Coordinator, code, watch
from fedflow.errors import MistakeError

if TYPE_CHECKING:
    from conftest import Asked, Peer, Said

RUN = {"federation_id": "f1", "status": "done", "jobs_to_come": 0, "message": ""}
EVENT = {"id": 1, "run": "r1", "kind": "consent", "age_s": 0.0, "facts": {"reason": "x\x1b[2J\nforged"}}
MEMBER = {
    "id": "m1",
    "name": "studio",
    "max_examples": 30,
    "removed": False,
    "devices": [{"id": "d1", "name": "gpu", "version": "1", "seen_s_ago": 1.0, "revoked": True}],
}


class Answers:
    """A server's answers by method and path; the first `faults` answers at paths that end in `cut` are a 503."""

    def __init__(self, peer: Peer, told: dict[str, Any]) -> None:
        self.peer, self.told, self.faults, self.cut = peer, told, 0, ""
        peer.answer = self.answer

    def answer(self, asked: Asked) -> Said:
        path = asked.path.removeprefix("/api/v1").partition("?")[0]
        if self.faults and path.endswith(self.cut):
            self.faults -= 1
            return self.peer.problem(503, "the database is away")
        body = json.dumps(self.told[f"{asked.method} {path}"]).encode()
        return type(self.peer.problem(200, ""))(200, body, {})


@pytest.fixture
def coordinator(peer: Peer) -> Iterator[Coordinator]:
    made = Coordinator(peer.address, "secret", Path("nowhere"))
    yield made
    made.close()


def page(*items: object) -> dict[str, object]:
    return {"items": items, "next": None}


def test_watching_bears_a_server_that_is_away_for_a_while(
    peer: Peer, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = Answers(peer, {"GET /runs/r1": RUN, "GET /federations/f1/events": page(EVENT)})
    answers.faults, answers.cut = 2, "/events"
    assert watch(coordinator, "r1")
    printed = capsys.readouterr()
    assert printed.err == "fedflow: the database is away; trying on\n"
    assert printed.out.count("\n") == 1
    assert printed.out.strip().isprintable()


def test_watching_ends_where_the_server_stays_away(peer: Peer, coordinator: Coordinator) -> None:
    answers = Answers(peer, {"GET /runs/r1": RUN, "GET /federations/f1/events": page()})
    answers.faults, answers.cut = 1000, "/events"
    with pytest.raises(Away, match="the database is away"):
        watch(coordinator, "r1", patience_s=0.0)


def test_what_is_made_is_sent_again_under_one_key(peer: Peer, coordinator: Coordinator) -> None:
    told = {"GET /federations": page({"name": "a", "id": "f1"}), "POST /federations/f1/codes": {"code": "c"}}
    answers = Answers(peer, told)
    answers.faults, answers.cut = 1, "/codes"
    assert code(coordinator, "studio", None, None) == "c"
    keys = [asked.headers["idempotency-key"] for asked in peer.asked if asked.method == "POST"]
    assert (len(keys), len(set(keys))) == (2, 1)


def test_members_are_listed_and_one_is_removed(
    peer: Peer, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = {**MEMBER, "id": "m2", "name": "x\x1b[2J", "removed": True, "devices": []}
    told = {
        "GET /federations": page({"name": "a", "id": "f1"}),
        "GET /federations/f1/members": page(MEMBER, gone),
        "DELETE /members/m1": None,
    }
    Answers(peer, told)
    members.print_members(coordinator, None)
    printed = capsys.readouterr().out
    assert "studio                at most 30 pictures, on: gpu (revoked)" in printed
    assert "\x1b" not in printed
    members.remove(coordinator, "studio", None)
    assert "DELETE /members/m1" in peer.paths()
    with pytest.raises(MistakeError, match="there is no member 'stduio'; the federation has studio"):
        members.remove(coordinator, "stduio", None)
    capsys.readouterr()
    members.remove(coordinator, "x\x1b[2J", None)
    assert capsys.readouterr().out.startswith("was removed already: 'x")
    assert "DELETE /members/m2" not in peer.paths()


def test_refused_updates_are_listed(peer: Peer, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]) -> None:
    refusal = {"round": 2, "member": "studio", "reason": "not finite\x1b", "sha256": "ab" * 32}
    Answers(peer, {"GET /runs/r1/refusals": page(refusal)})
    run_results.print_refusals(coordinator, "r1")
    assert capsys.readouterr().out == (
        "round   2  studio                'not finite\\x1b'  (kept aside: abababababab)\n"
    )


def test_why_nothing_is_measured_is_told(
    peer: Peer, coordinator: Coordinator, capsys: pytest.CaptureFixture[str]
) -> None:
    Answers(peer, {"GET /runs/r1/scores": {"items": [], "to_come": 0, "not_measured": ["x", "y", "x"]}})
    run_results.print_scores(coordinator, "r1")
    assert capsys.readouterr().out == "FID and KID are not measured: x.\nFID and KID are not measured: y.\n"


def test_several_federations_must_be_told_apart(peer: Peer, coordinator: Coordinator) -> None:
    Answers(peer, {"GET /federations": page({"name": "a", "id": "f1"}, {"name": "b", "id": "f2"})})
    with pytest.raises(MistakeError, match=r"^say which federation with --federation NAME; the server has a, b$"):
        coordinator.federation(None)
    with pytest.raises(MistakeError, match=r"^--federation c: the server has a, b$"):
        coordinator.federation("c")


@pytest.mark.parametrize("content", [b"\xff\xfe", "s\u00e4cret".encode(), b"two words", b""])
def test_what_is_no_token_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(MistakeError, match="token: holds no coordinator's token"):
        Coordinator("http://127.0.0.1:1", None, path)
    with pytest.raises(MistakeError, match="FEDFLOW_TOKEN: holds no coordinator's token"):
        Coordinator("http://127.0.0.1:1", "s\u00e4cret", path)
