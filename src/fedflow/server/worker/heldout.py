"""Where the held-out pictures of a run are on the server's machine."""

from __future__ import annotations

from pathlib import Path

from fedflow.datasets import demo_folder
from fedflow.plan import SHIPPED, Plan
from fedflow.server.settings import ServerSettings


def heldout_folder(plan: Plan, settings: ServerSettings) -> Path | None:
    """The folder that rounds of `plan` are scored against: one in the server's folder of pictures, else the demo's.

    None where there is none: the demo's are for plans that name its pictures, or none. A plan names a folder inside;
    its own root is one of the coordinator's machine.
    """
    if settings.pictures is not None:
        folder = settings.pictures / plan.data.heldout
        if folder.is_dir():
            return folder
    if plan.data.root == f"{SHIPPED}demo":
        return demo_folder() / plan.data.heldout
    return None
