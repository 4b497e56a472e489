"""Which extractor a figure is made with."""

from __future__ import annotations

from pathlib import Path

from fedflow.errors import MistakeError
from fedflow.evaluation.extractor import Extractor
from fedflow.evaluation.icons_v1 import NAME as ICONS_V1
from fedflow.evaluation.icons_v1 import icons_v1
from fedflow.evaluation.inception import inception, inception_is_here

INCEPTION = "inception"
AUTO = "auto"


def choose_extractor(name: str = AUTO, inception_weights: Path | None = None) -> Extractor:
    """The extractor of that name: "icons-v1", "inception" or "auto".

    "auto" takes Inception where a weight file is named or torch-fidelity has one in its cache, and icons-v1
    elsewhere. Raises MistakeError for another name, for a weight file with "icons-v1", and as `inception` does.
    """
    if name == AUTO:
        return inception(inception_weights) if inception_weights or inception_is_here() else icons_v1()
    if name == INCEPTION:
        return inception(inception_weights)
    if name != ICONS_V1:
        raise MistakeError(f"extractor '{name}': there are '{ICONS_V1}', '{INCEPTION}' and '{AUTO}'")
    if inception_weights is not None:
        raise MistakeError(f"{inception_weights}: '{ICONS_V1}' takes no Inception weights; leave out one of the two")
    return icons_v1()
