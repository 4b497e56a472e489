"""A short load on a real server: many participants, large uploads at once, and reads meanwhile."""

from __future__ import annotations

from pathlib import Path

from load import Load, put_under_load
from network import Network

LOAD = Load(clients=30, uploads=5, upload_bytes=10_000_000, least_rounds=2, training_s=(0.2, 0.6), processes=1)
MOST_MB = 1000.0


def test_a_server_under_load_counts_everything_and_fails_nobody(cold_network: Network, tiny_model_folder: Path) -> None:
    seen = put_under_load(cold_network, LOAD, tiny_model_folder, f"sqlite:///{cold_network.data / 'server.db'}")
    assert seen.faults() == 0, seen.statuses()
    assert seen.handed_in == seen.receipts >= LOAD.clients * seen.rounds
    assert seen.rounds >= LOAD.least_rounds
    assert seen.wrong_hashes == 0
    assert {"GET work", "GET file", "GET healthz", "GET explain"} <= {sample.kind for sample in seen.samples}
    assert seen.peak_mb["all"] < MOST_MB
