"""`fedflow run scores` and `export`: what a run on a FedFlowServer has come to."""

from __future__ import annotations

import time
from pathlib import Path

from fedflow.cli.run import Coordinator
from fedflow.client.answers import printable
from fedflow.errors import MistakeError, RunError

LOOK_S = 0.5
EXPORT_S = 600.0


def print_scores(coordinator: Coordinator, run_id: str) -> None:
    """Print FID and KID of the base model and of every round's models, a line each."""
    answer = coordinator.get(f"/runs/{run_id}/scores")
    for score in answer["items"]:
        kid = f"KID {score['kid']:.3f} ({score['kid_low']:.3f} to {score['kid_high']:.3f})"
        fid = f"FID {score['fid']:7.2f}"
        if score["fid_low"] is not None:
            fid = f"{fid} ({score['fid_low']:.1f} to {score['fid_high']:.1f})"
        print(f"round {score['round']:>3}  {printable(score['who']):<20}  {fid}  {kid}")
    if answer["items"]:
        score = answer["items"][0]
        print(f"Measured with {printable(score['extractor'])} against {score['num_heldout']} held-out pictures.")
        if score["kid_floor"] is not None:
            floor = f"{score['kid_floor']:.3f} ({score['kid_floor_low']:.3f} to {score['kid_floor_high']:.3f})"
            print(f"Real pictures reach a KID of {floor}: one half of these against the other.")
    if answer["to_come"]:
        print(f"{answer['to_come']} more to come.")
    for reason in dict.fromkeys(answer["not_measured"]):
        print(f"FID and KID are not measured: {printable(reason)}.")


def print_refusals(coordinator: Coordinator, run_id: str) -> None:
    """Print the updates that were refused in the run, a line each, with the reason."""
    found = list(coordinator.pages(f"/runs/{run_id}/refusals"))
    for refusal in found:
        kept = f"  (kept aside: {refusal['sha256'][:12]})" if refusal["sha256"] else ""
        print(f"round {refusal['round']:>3}  {printable(refusal['member']):<20}  {printable(refusal['reason'])}{kept}")
    if not found:
        print("No update of the run was refused.")


def export(coordinator: Coordinator, run_id: str, out: Path, layout: str, number: int | None) -> None:
    """Have the joint model after round `number`, or the last, written as other tools open it, and fetch it to `out`.

    Raises MistakeError where no such round is committed or the run has no such layout.
    """
    if out.suffix != ".safetensors":
        raise MistakeError(f"{out}: give a file name that ends in .safetensors")
    committed = [line for line in coordinator.pages(f"/runs/{run_id}/rounds") if line["version"] is not None]
    wanted = [line for line in committed if number in (None, line["number"])]
    if not wanted:
        numbers = ", ".join(str(line["number"]) for line in committed) or "none yet"
        if number is None:
            raise MistakeError("the run has no committed round yet; 'fedflow run watch' says how far it is")
        raise MistakeError(f"--round {number}: not committed; the run's committed rounds are: {numbers}")
    files = _exported(coordinator, wanted[-1]["version"])
    if layout not in files:
        layout_of_models = next(iter(files))
        if len(files) > 1 or layout_of_models != "unet":
            raise MistakeError(f"--format {layout}: there are {', '.join(sorted(files))}")
        layout = layout_of_models  # a whole model has one layout
    coordinator.fetch(files[layout], out)
    print(f"Written: {out} ({layout} layout, round {wanted[-1]['number']})")


def _exported(coordinator: Coordinator, version: str) -> dict[str, str]:
    """Exports of a version by layout, made by a worker of the server where they are not there yet."""
    end = time.monotonic() + EXPORT_S
    while time.monotonic() < end:
        files: dict[str, str] = coordinator.post(f"/versions/{version}/export")["files"]
        if files:
            return files
        time.sleep(LOOK_S)
    raise RunError("the export was not made in time; is a worker of the server running? 'fedflow run watch' says more")
