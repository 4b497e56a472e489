"""Weights in files that can run code when they are opened: known by their names, and opened nowhere."""

from __future__ import annotations

from pathlib import PurePath

from fedflow.errors import ModelError

PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"})


def is_pickle(name: str | PurePath) -> bool:
    """Whether a file of this name is one."""
    return PurePath(name).suffix.lower() in PICKLES


def refuse_pickle(name: str | PurePath) -> None:
    """Raises ModelError for the name of such a file."""
    if is_pickle(name):
        suffix = PurePath(name).suffix
        raise ModelError(f"{name}: {suffix} is a pickle, which can run code when it is opened; use a .safetensors file")
