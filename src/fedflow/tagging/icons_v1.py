"""The tagger 'icons-v1' that ships with the starter: linear heads on the extractor's features, for icon art alone.

Trained by `starter/tagger.py`, never on the demo's pictures. It knows 450 concepts, the words of their names and five
categories, and no styles; what else a picture shows it cannot say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from fedflow.errors import StorageError
from fedflow.evaluation.icons_v1 import BATCH, CONCEPT_FEATURES, PICTURE_SIZE, ConceptNet, icons_v1, pixels_to_input
from fedflow.tagging.tagger import above, white_squares

NAME = "icons-v1"
FOLDER = Path(__file__).parents[1] / "data" / "icons-v1-tagger"


# B batch, D features, T tags
def unit_concepts(features_BD: Tensor) -> Tensor:
    """Concept features scaled to length 1: their angles carry the concept."""
    return functional.normalize(features_BD, dim=1)


@dataclass(frozen=True)
class IconsTagger:
    """A net of features and one row of weights for each tag."""

    net: ConceptNet
    names: list[str]
    weight_TD: Tensor
    bias_T: Tensor
    threshold: float
    name: str = NAME
    picture_size: int = PICTURE_SIZE

    @torch.inference_mode()
    def tags(self, pictures: np.ndarray, threshold: float | None = None) -> list[list[tuple[str, float]]]:
        """As `tagger.Tagger.tags`."""
        least_t = np.full(len(self.names), self.threshold if threshold is None else threshold)
        found: list[list[tuple[str, float]]] = []
        for batch in torch.split(pixels_to_input(white_squares(pictures, PICTURE_SIZE)), BATCH):
            scores_BT = (unit_concepts(self.net(batch)) @ self.weight_TD.T + self.bias_T).sigmoid().numpy()
            found += [above(self.names, scores_t, least_t) for scores_t in scores_BT]
        return found if len(pictures) else []


def icons_tagger(folder: Path = FOLDER) -> IconsTagger:
    """The tagger with the heads in `folder`; StorageError where they are missing or damaged."""
    try:
        heads = load_file(folder / "model.safetensors")
        description = json.loads((folder / "config.json").read_bytes())
        names, threshold = [str(name) for name in description["tags"]], float(description["threshold"])
        weight_TD, bias_T = heads["weight"].float(), heads["bias"].float()
        if weight_TD.shape != (len(names), CONCEPT_FEATURES) or bias_T.shape != (len(names),):
            raise ValueError
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        why = type(error).__name__
        raise StorageError(f"{folder}: not the heads of the tagger {NAME} ({why}); install fedflow anew") from error
    return IconsTagger(icons_v1().net.concept, names, weight_TD, bias_T, threshold)
