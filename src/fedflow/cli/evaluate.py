"""`fedflow evaluate`: one folder of generated pictures against one of real pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from fedflow.datasets import Picture, load_pixels
from fedflow.datasets.folder import PICTURE_SUFFIXES, SKIPPED_FOLDER
from fedflow.errors import DatasetError
from fedflow.evaluation.choice import choose_extractor
from fedflow.evaluation.extractor import Extractor
from fedflow.evaluation.scores import Score, halves_floor, real_floor, score
from fedflow.storage import write_json


def evaluate(
    generated: Path,
    real: Path,
    *,
    floor: Path | None = None,
    extractor: str = "auto",
    inception: Path | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> None:
    """Print FID and KID of the pictures under `generated` against those under `real`, with the floor.

    Captions are not needed. `floor` is a folder of other real pictures; without it the floor is that of two
    random halves of `real`. `extractor` is "icons-v1", "inception" or "auto"; `inception` a weight file.
    `seed` draws the intervals and halves. `out` is a JSON file that takes the same figures.

    Raises DatasetError for a folder without pictures or a picture that cannot be read, MistakeError for an
    extractor that is not there, StorageError where `out` cannot be written.
    """
    chosen = choose_extractor(extractor, inception)
    generator = torch.Generator().manual_seed(seed)
    real_features = _features(real, chosen)
    result = score(real_features, _features(generated, chosen), chosen.name, generator)
    if floor is None:
        lowest = halves_floor(real_features, chosen.name, generator)
    else:
        lowest = real_floor(real_features, _features(floor, chosen), chosen.name, generator)
    print(f"extractor {chosen.name} ({chosen.resize}); KID unscaled, with its 95% bootstrap interval")
    print(_line("generated against real", result))
    print(_line("real against real", lowest))
    if lowest.num_real < result.num_real:
        print(f"The floor is that of {lowest.num_real} pictures: compare its KID; its FID would be lower with more.")
    if result.num_real != result.num_generated:
        print("Numbers differ: compare this FID only with scores of the same two numbers of pictures.")
    if out is not None:
        write_json(out, {"resize": chosen.resize, "seed": seed, "score": asdict(result), "floor": asdict(lowest)})
        print(f"Written: {out}")


def _features(folder: Path, extractor: Extractor) -> np.ndarray:
    """Features of every picture under `folder`, in the order of their paths."""
    if not folder.is_dir():
        raise DatasetError(f"{folder}: is not a folder; name a folder of pictures")
    paths = sorted(path for path in folder.rglob("*") if _is_picture(path.relative_to(folder)) and path.is_file())
    if len(paths) < 2:
        raise DatasetError(f"{folder}: holds {len(paths)} pictures; put at least 2 there, better 100 or more")
    images = [load_pixels(Picture(path, "", 0, 0), extractor.picture_size) for path in paths]
    return extractor.features(np.stack(images))


def _is_picture(path: Path) -> bool:
    hidden = any(part.startswith(".") or part == SKIPPED_FOLDER for part in path.parts)
    return not hidden and path.suffix.lower() in PICTURE_SUFFIXES


def _line(what: str, found: Score) -> str:
    interval = f"{found.kid_low:.4f} to {found.kid_high:.4f}"
    numbers = f"{found.num_generated} against {found.num_real} pictures"
    return f"{what:<24}FID {found.fid:8.3f}   KID {found.kid:8.4f} ({interval})   {numbers}"
