"""What a server says of itself when it starts, and of a setting that is wrong."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fedflow.cli.server import address, settings_of
from fedflow.errors import PlanError


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("0.0.0.0", socket.gethostname()),  # noqa: S104 - nothing listens
        ("::", socket.gethostname()),
    ],
)
def test_the_address_is_one_that_others_can_write(host: str, shown: str) -> None:
    assert address(settings_of(folder=Path("x"), host=host, port=8913)) == f"http://{shown}:8913"


def test_a_wrong_setting_is_told_by_its_option() -> None:
    with pytest.raises(PlanError, match=r"^--database-url: begins with none of sqlite:, postgresql\+psycopg:$"):
        settings_of(folder=Path("x"), database_url="mysql://x/y")
    with pytest.raises(PlanError, match=r"^--port: "):
        settings_of(folder=Path("x"), port=70000)
