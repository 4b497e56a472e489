"""Bad weather between real participants and a real server: nothing cut, late or sent twice costs a round."""

from __future__ import annotations

from pathlib import Path

from cut_transfers import cut_download, cut_upload, random_file
from network import Network, wait_for
from stormy_federation import Storm, all_events, carry, pictures_of, rows, write_plan

from fedflow.tensors.header import read_header

MB = 1_000_000


def test_transfers_that_are_cut_send_hardly_anything_twice(network: Network, tmp_path: Path) -> None:
    network.start_server()
    file = random_file(tmp_path / "update", 20 * MB, seed=1)
    for transfer in (cut_upload(network, file, cuts=5, seed=1), cut_download(network, file, cuts=5, seed=2)):
        assert transfer.right
        assert transfer.cuts == 5
        assert 0 < transfer.resent <= 0.02


def test_rounds_close_by_their_deadline_whoever_is_away_late_or_heard_twice(
    network: Network, tiny_model_folder: Path
) -> None:
    """A quarter drops out of each round, one stands still in round 2, and half of all requests are sent twice."""
    storm = Storm(
        members=4, rounds=2, wanted=3, quorum=2, deadline_s=30.0, drop_out=0.3, repeat=0.5,
        straggle={2: "stands still"}, killed_in=0, seed=3,
    )  # fmt: skip
    seen = carry(storm, network, tiny_model_folder)
    assert [seen_round.faults for seen_round in seen.rounds] == [()] * storm.rounds
    assert seen.faults == []
    assert seen.server_errors == 0
    assert seen.copies > 10
    assert len(seen.rounds[1].answered) == 2


def test_updates_in_half_precision_go_over_the_network(network: Network, tiny_model_folder: Path) -> None:
    """One run in float16 and one in bfloat16, by the same participants."""
    storm = Storm(
        members=2, rounds=1, wanted=2, quorum=2, deadline_s=120.0, drop_out=0.0, repeat=0.0,
        straggle={}, killed_in=0, seed=1,
    )  # fmt: skip
    pictures = network.folder / "pictures"
    pictures_of(storm.names, pictures)
    plan = write_plan(network.folder / "plan.toml", storm, tiny_model_folder, pictures)
    network.start_server()
    for name in storm.names:
        network.join(name, pictures / name)
    network.wait_members(*storm.names)
    runs = {}
    for wire, dtype in (("float16", "F16"), ("bfloat16", "BF16")):
        other = plan.with_name(f"{wire}.toml")
        other.write_text(f'{plan.read_text()}wire = "{wire}"\n')
        runs[network.asked("run", "start", str(other))] = dtype
    for run_id, dtype in runs.items():

        def over(run_id: str = run_id) -> bool:
            for name, process in list(network.clients.items()):
                if process.poll() == 0:  # left when the run before was finished, before this one was there
                    network.join(name, pictures / name)
            return network.status(run_id) == "done"

        wait_for(over, 240, f"the end of the run {run_id}")
        events = [event["facts"] for event in all_events(network, run_id) if event["run"] == run_id]
        assert not [facts for facts in events if "reason" in facts and "round" in facts]  # nothing was refused
        updates = rows(network, "SELECT sha256 FROM receipt WHERE run_id = ?", run_id)
        assert len(updates) == storm.members
        for (digest,) in updates:
            entries = read_header(network.data / "blobs" / digest[:2] / digest).entries
            assert {entry.dtype for name, entry in entries.items() if not name.endswith(".alpha")} == {dtype}
