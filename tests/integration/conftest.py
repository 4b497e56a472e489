"""A server and its participants as real processes, for every test that wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import hang_up
from network import Network


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    try:
        yield made
    finally:
        hang_up()
        made.stop()
