"""Bad weather between real participants and a real server: nothing cut, late or sent twice costs a round."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cut_transfers import cut_download, cut_upload, random_file
from network import Network

MB = 1_000_000


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def test_transfers_that_are_cut_send_hardly_anything_twice(network: Network, tmp_path: Path) -> None:
    network.start_server()
    file = random_file(tmp_path / "update", 20 * MB, seed=1)
    for transfer in (cut_upload(network, file, cuts=5, seed=1), cut_download(network, file, cuts=5, seed=2)):
        assert transfer.right
        assert transfer.cuts == 5
        assert 0 < transfer.resent <= 0.02
