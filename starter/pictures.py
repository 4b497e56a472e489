"""The starter's training pictures as one array per icon set, rendered once and kept in the work folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from starter import art, vocabulary

TRAINING_SETS = ("noto", "twemoji")
SKIN_TONE = "skin-tone"


def vocabulary_of(sets: dict[str, art.IconSet]) -> dict[str, str]:
    """The vocabulary over all three icon sets: icon name to category tag."""
    return vocabulary.concepts(
        [
            icons.categories | {alias: icons.categories.get(alias, "") for alias in icons.aliases}
            for icons in sets.values()
        ]
    )


def concept_pictures(work: Path, style: str) -> np.ndarray:
    """uint8 (concepts, 64, 64, 3) in the order of the vocabulary."""
    path = work / f"concepts-{style}.npy"
    if not path.is_file():
        sets = art.fetch(work)
        np.save(path, np.stack([sets[style].render(name) for name in vocabulary_of(sets)]))
    return np.asarray(np.load(path))


def all_pictures(work: Path) -> np.ndarray:
    """Every icon of the training sets without skin-tone variants: uint8 (n, 64, 64, 3)."""
    path = work / "all.npy"
    if not path.is_file():
        sets = art.fetch(work)
        np.save(
            path,
            np.stack(
                [
                    sets[style].render(name)
                    for style in TRAINING_SETS
                    for name in sorted(sets[style].icons)
                    if SKIN_TONE not in name and sets[style].categories.get(name)
                ]
            ),
        )
    return np.asarray(np.load(path))


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
