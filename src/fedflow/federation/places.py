"""Where a run keeps its files, and where its pictures are. No torch."""

from __future__ import annotations

import shutil
from pathlib import Path

from fedflow.errors import PlanError
from fedflow.plan import DEMO, SHIPPED, Plan
from fedflow.shipped import demo_folder
from fedflow.storage import Blobs, BlobStore


class RunFolder:
    """The layout of a run's folder: `blobs/` by content where no other store is given, and one folder per seed."""

    def __init__(self, out: Path, blobs: BlobStore | None = None) -> None:
        self.out = out
        self.blobs: BlobStore = blobs or Blobs(out / "blobs")

    def outcome(self, job: str) -> Path:
        """The file that says a job is done, and with what outcome."""
        return self.out / f"{job}.json"

    def checkpoints(self, job: str) -> Path:
        """The folder of a training job's checkpoints while it is under way."""
        return self.out / f"{job}.checkpoints"

    def drop_checkpoints(self, job: str) -> None:
        """Remove a finished training's checkpoints."""
        shutil.rmtree(self.checkpoints(job), ignore_errors=True)

    def aggregate(self, seed: int, round_number: int) -> Path:
        """The file that says what a round committed."""
        return self.outcome(f"seed-{seed}/aggregate/round-{round_number}")

    def gallery(self, seed: int, round_number: int, who: str) -> Path:
        """Folder of the gallery's pictures of one model."""
        return self.out / f"seed-{seed}" / "gallery" / f"round-{round_number}" / who

    def features(self, seed: int, round_number: int, who: str) -> Path:
        """Features of the held-out captions' pictures of one model, (n, d) as .npy."""
        return self.out / f"seed-{seed}" / "features" / f"round-{round_number}-{who}.npy"

    def real_features(self, name: str) -> Path:
        """Features of real pictures, `heldout` or `clients`, (n, d) as .npy."""
        return self.out / "real" / f"{name}.npy"

    @property
    def base(self) -> Path:
        """Which base model the run was begun with: its content hash and resolution."""
        return self.out / "real" / "base.json"

    def adapter(self, seed: int, round_number: int, who: str, layout: str) -> Path:
        """An adapter as other tools open it; `layout` is 'diffusers' or 'kohya'."""
        return self.out / f"seed-{seed}" / "adapters" / f"round-{round_number}" / f"{who}.{layout}.safetensors"

    def joint(self, seed: int, layout: str) -> Path:
        """The joint model after the last round as one adapter, exact, to be loaded on the plan's base model."""
        return self.out / f"seed-{seed}" / "adapters" / f"joint.{layout}.safetensors"


def data_folder(plan: Plan) -> Path:
    """The folder that holds the clients' folders and the held-out one: the demo's where the plan names none.

    Raises:
        PlanError: shipped pictures of an unknown name, or no such folder.
    """
    root = plan.data.root
    if root is None or root == DEMO:
        return demo_folder()
    if root.startswith(SHIPPED):
        raise PlanError(f"data.root '{root}': the pictures that come with FedFlow are '{DEMO}'")
    folder = Path(root)
    if not folder.is_dir():
        raise PlanError(f"data.root: {folder} is no folder; name the one that holds the clients' folders")
    return folder
