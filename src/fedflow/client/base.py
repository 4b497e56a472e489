"""The base model of a run on this machine: the starter that ships with FedFlow, or files fetched once and checked."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fedflow.client.answers import printable
from fedflow.client.consent import size_text
from fedflow.client.home import Home
from fedflow.errors import ModelError, RunError
from fedflow.federation.protocol import BaseFile, RunFacts
from fedflow.models import open_model
from fedflow.plan import STARTER, Plan
from fedflow.storage import sha256_file

PLAIN_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
SUFFIXES = frozenset({".safetensors", ".json", ".txt"})

Fetch = Callable[[str, Path], None]
"""Downloads content by its SHA-256 into a file, checked."""


def prepare_base(home: Home, facts: RunFacts, plan: Plan, fetch: Fetch, say: Callable[[str], None]) -> str:
    """What `open_model` opens as the run's base model; files that lack are fetched first, after a line to `say`.

    A folder under `base/` is renamed into place only after its content hash was found right.

    Raises:
        ModelError: the files are not the model that the run names.
        RunError: the run names no base model yet, or files that may not be written here.
    """
    name = printable(facts.name)
    if facts.base_hash is None:
        raise RunError(f"run '{name}': the server names no base model yet; try again later")
    if plan.model == STARTER and open_model(STARTER).content_hash == facts.base_hash:
        return STARTER
    folder = home.base(facts.base_hash)
    if folder.is_dir():
        return str(folder)
    if not facts.base_files:
        raise ModelError(
            f"run '{name}': its base model '{printable(plan.model)}' differs from the one in this FedFlow, and the "
            "server offers no files of it; install the coordinator's version"
        )
    size = size_text(sum(file.size_bytes for file in facts.base_files))
    say(f"base model '{printable(plan.model)}', {size}: fetching it once")
    partial = folder.with_name(f"{folder.name}.part")
    for file in facts.base_files:
        place = partial / _place(file)
        if not place.is_file() or sha256_file(place) != file.sha256:
            place.parent.mkdir(parents=True, exist_ok=True)
            fetch(file.sha256, place)
    found = open_model(str(partial)).content_hash
    if found != facts.base_hash:
        shutil.rmtree(partial)
        raise ModelError(
            f"run '{name}': the files that the server gives are the model {found[:12]} and not {facts.base_hash[:12]}, "
            "which the run names; they were removed, tell the coordinator"
        )
    partial.rename(folder)
    return str(folder)


def _place(file: BaseFile) -> PurePosixPath:
    """The file's place in the model's folder. Raises RunError for one outside it, or of a kind no model needs."""
    path = PurePosixPath(file.path)
    if file.path != str(path) or not all(PLAIN_PART.fullmatch(part) for part in path.parts):
        raise RunError(f"the server names a file of the base model {file.path[:80]!r}; refused")
    if path.suffix not in SUFFIXES:
        raise RunError(f"the base model holds {file.path[:80]!r}; only {', '.join(sorted(SUFFIXES))} are taken")
    return path
