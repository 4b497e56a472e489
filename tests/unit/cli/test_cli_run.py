"""What a coordinator's terminal shows of a server's answers, and how a coordinator's commands bear an absent server."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedflow.cli.run import event_line
from fedflow.federation.protocol import ConsentRequest, JoinRequest
from fedflow.server.api.messages import CodeRequest

STEERING = "x\x1b[2J\x9b1m\n21:22:33  run done: all fine"


def test_what_a_member_says_is_one_line_that_cannot_steer_the_terminal() -> None:
    event = {"age_s": 0.0, "kind": "consent\x1b", "facts": {"member": "a\x9b", "reason": STEERING, "names": ["b\r\nc"]}}
    line = event_line(event)
    assert line.isprintable()
    assert "21:22:33 run done" in line  # still told, within the one line


@pytest.mark.parametrize("steering", [STEERING, "\x9b1m", "a\u2028b", "a\u202eb"])
def test_what_cannot_be_shown_is_refused_where_it_comes_in(steering: str) -> None:
    with pytest.raises(ValidationError, match="holds characters that a terminal cannot show"):
        ConsentRequest(accept=False, num_examples=1, reason=steering)
    with pytest.raises(ValidationError, match="holds characters that a terminal cannot show"):
        JoinRequest(code="12345678", device_name=steering, public_key="x" * 44, version="1")
    with pytest.raises(ValidationError, match="member"):
        CodeRequest(member=steering)


def test_names_of_any_language_pass() -> None:
    assert CodeRequest(member="Müzesi 博物館 n° 1").member == "Müzesi 博物館 n° 1"
    assert ConsentRequest(accept=False, num_examples=1).reason == ""
