"""Where the held-out pictures of a run are on the server's machine."""

from __future__ import annotations

from pathlib import Path

from fedflow.datasets import demo_folder
from fedflow.plan import SHIPPED, Plan
from fedflow.server.settings import ServerSettings


def heldout_folder(plan: Plan, settings: ServerSettings) -> Path | None:
    """The folder that rounds of `plan` are scored against: the demo's, or one in the server's folder of pictures.

    None where there is none. A plan names a folder inside; its own root is one of the coordinator's machine.
    """
    if plan.data.root == f"{SHIPPED}demo":
        return demo_folder() / plan.data.heldout
    if settings.pictures is None:
        return None
    folder = settings.pictures / plan.data.heldout
    return folder if folder.is_dir() else None
