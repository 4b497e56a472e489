"""A server and its participants as real processes, and a browser, for every test that wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from browser import chromium
from hostile import hang_up
from network import Network
from playwright.sync_api import Browser


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Its processes are forked from one that has imported torch: on two cores the imports took most of the time."""
    yield from _kept(Network(tmp_path, start=warm.start))


@pytest.fixture
def cold_network(tmp_path: Path) -> Iterator[Network]:
    """As a person starts it, where a process's memory or its words count."""
    yield from _kept(Network(tmp_path))


def _kept(network: Network) -> Iterator[Network]:
    try:
        yield network
    finally:
        hang_up()
        network.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
