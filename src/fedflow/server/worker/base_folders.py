"""Base models as folders that are opened: those of the registry are laid out from their blobs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from fedflow.plan import HUB
from fedflow.server.services import base_models
from fedflow.server.store import Store


def place_of(store: Store, run_id: str) -> str:
    """What `open_model` opens as the base model of a run."""
    plan, listed = base_models.of_run(store, run_id)
    if listed is not None:
        return str(folder_of(store, listed))
    return f"{HUB}{plan.model}" if base_models.is_of_hub(plan.model) else plan.model


def folder_of(store: Store, listed: str) -> Path:
    """The folder of the base model whose files the blob `listed` names, laid out where it is not there yet."""
    folder = base_models.place(store, listed)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
    try:
        lay_out(store, listed, partial)
        with suppress(OSError):  # another worker was first
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def lay_out(store: Store, listed: str, folder: Path, *, weights: bool = True) -> None:
    """Put the files of a base model into `folder`, or those without weights; links where the disk has them."""
    for each in json.loads(store.blobs.get(listed).read_bytes()):
        target = folder / each["path"]
        if weights or target.suffix != ".safetensors":
            target.parent.mkdir(parents=True, exist_ok=True)
            link(store.blobs.get(each["sha256"]), target)


def link(source: Path, target: Path) -> None:
    """The file at another place too, without its bytes being written again where the disk can do that."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(source, target)
