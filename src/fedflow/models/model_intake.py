"""A base model's files as they came: those that its family has, each looked at, and the model opened once."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedflow.errors import ModelError
from fedflow.models.base_model import PARTS, BaseModel
from fedflow.models.families import family_of
from fedflow.models.opening import open_model
from fedflow.models.saving import save_model
from fedflow.tensors import check_finite
from fedflow.tensors.header import read_header

WEIGHTS = r"(-[0-9]{5}-of-[0-9]{5})?\.safetensors(\.index\.json)?"
TAKEN = re.compile(
    rf"model_index\.json|(unet|vae)/(config\.json|diffusion_pytorch_model{WEIGHTS})"
    rf"|text_encoder/(config\.json|model{WEIGHTS})|scheduler/scheduler_config\.json"
    r"|tokenizer/(vocab\.json|merges\.txt|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json)"
)
"""All that opening a model reads. No adapter beside a text encoder, which would be opened from wherever it says."""

BESIDE = re.compile(r"[A-Za-z0-9_-]+(-[0-9]{5}-of-[0-9]{5})?\.safetensors")
MOST_TEXT_BYTES = 32_000_000


@dataclass(frozen=True)
class ModelFound:
    """A model that passed."""

    content_hash: str
    facts: dict[str, object]


def copy_model(source: Path, folder: Path, most_bytes: int, *, links: bool) -> None:
    """Copy the files that a model has out of `source`; links are followed where `links` says so, else refused.

    Raises ModelError where there are none, or more than `most_bytes`.
    """
    left = most_bytes
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if not TAKEN.fullmatch(name) or not path.is_file():
            continue
        if not links and (path.is_symlink() or path.parent.is_symlink()):
            raise ModelError(f"{path}: is a link; give the file itself")
        left -= path.stat().st_size
        if left < 0:
            raise ModelError(f"{source}: has more than {most_bytes} bytes, which is what is allowed")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    if not (folder / "model_index.json").is_file():
        raise ModelError(f"{source}: has no model_index.json, so it is no diffusers folder; check what you give")


def open_checked(folder: Path, layout: str) -> ModelFound:
    """Open the model in `folder` after its files were looked at. Raises ModelError; UpdateError for NaN and Inf."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            read_header(path, ModelError)
        elif path.is_file():
            _check_text(path)
    return _found(open_model(str(folder)), layout)


def open_checkpoint(file: Path, folder: Path, alike: Iterable[Path] = ()) -> ModelFound:
    """Open the model in one checkpoint file, and write it into `folder` in the diffusers layout. Raises as above.

    alike: folders of models whose settings it may take, as `open_model` says.
    """
    read_header(file, ModelError)
    model = open_model(str(file), alike)
    found = _found(model, "checkpoint")
    save_model(model, folder)
    return found


def _found(model: BaseModel, layout: str) -> ModelFound:
    for part in PARTS:
        check_finite(dict(model.part(part).named_parameters()), part)
    facts: dict[str, object] = {
        "format": layout,
        "family": family_of(model),
        "resolution": model.resolution,
        "prediction": model.prediction_type,
    }
    return ModelFound(model.content_hash, facts)


def _check_text(path: Path) -> None:
    """Settings are small and JSON; an index of several files of weights names files beside it, and no others."""
    if path.stat().st_size > MOST_TEXT_BYTES:
        raise ModelError(f"{path}: has {path.stat().st_size} bytes, which no settings have; fetch the model again")
    if path.suffix != ".json":
        return
    try:
        told: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ModelError(f"{path}: is not JSON; fetch the model again") from None
    if path.name.endswith(".index.json"):
        named = told.get("weight_map", {}) if isinstance(told, dict) else {}
        if not isinstance(named, dict) or not all(BESIDE.fullmatch(str(name)) for name in named.values()):
            raise ModelError(f"{path}: names files elsewhere; fetch the model again")
