"""Where the held-out pictures of a run are on the server's machine."""

from __future__ import annotations

import os
from pathlib import Path

from fedflow.errors import DatasetError
from fedflow.plan import DEMO, Plan
from fedflow.server.errors import Unprocessable
from fedflow.server.store import Store
from fedflow.shipped import demo_folder

NOT_SCORED = "the server has no held-out pictures '{name}'; start it with --pictures FOLDER that holds that folder"

HELDOUT = "the held-out pictures"
"""How each sentence begins that says what is wrong with them, and names no place on the server's machine."""


def heldout_folder(plan: Plan, pictures: Path | None) -> Path | None:
    """The folder that rounds of `plan` are scored against: one in `pictures`, the server's folder, else the demo's.

    None where there is none: the demo's are for plans that name them. A plan names a folder inside; any other root is
    one of the coordinator's machine.
    """
    roots = [pictures] if pictures is not None else []
    if plan.data.root == DEMO:
        roots.append(demo_folder())
    folders = [root / plan.data.heldout for root in roots]
    return next((folder for folder in folders if os.path.isdir(folder)), None)  # False for what cannot be a path


def told_to_members(name: str, folder: Path, error: DatasetError) -> str:
    """Why the pictures of `folder`, which plans call `name`, cannot be used, without where the server has them."""
    reason = str(error)
    for place in (str(folder), ascii(str(folder))[1:-1]):  # as it is, and as a name that cannot be printed has it
        reason = reason.removeprefix(f"{place}: ").replace(f"{place}{os.sep}", "").replace(place, name)
    return f"{HELDOUT} '{name}': {reason}"


def is_scored(store: Store, plan: Plan, pictures: Path | None) -> bool:
    """Whether rounds of `plan` are scored, as far as it is known here.

    Workers that share an S3-compatible store are on machines of their own, which nobody can look into from here.
    """
    return store.objects is not None or heldout_folder(plan, pictures) is not None


def check(store: Store, plan: Plan, pictures: Path | None) -> None:
    """Raise Unprocessable where the plan names a folder that should be there and is not.

    A server without pictures scores nothing, and takes any name.
    """
    if (pictures is not None or plan.data.root == DEMO) and not is_scored(store, plan, pictures):
        raise Unprocessable(f"data.heldout: {NOT_SCORED.format(name=plan.data.heldout)}")
