"""The standard FID's extractor: Inception-v3's 2048 pooled features, by the torch-fidelity library."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fedflow.errors import MistakeError

WEIGHT_FILE = "weights-inception-2015-12-05-6726825d.pth"
LIBRARY = "torch_fidelity"
PICTURE_SIZE = 299
FEATURES = "2048"
BATCH = 25


@dataclass(frozen=True)
class Inception:
    """Inception-v3 as torch-fidelity has it: TensorFlow's weights of 2015-12-05 and TF1's bilinear resize."""

    net: nn.Module
    name: str = "inception-v3"
    resize: str = "299x299, TF1 bilinear"
    picture_size: int = PICTURE_SIZE

    @torch.inference_mode()
    def features(self, images_nhwc: np.ndarray) -> np.ndarray:
        """uint8 pictures (n, h, w, 3) to float64 features (n, 2048)."""
        pixels = torch.from_numpy(images_nhwc).permute(0, 3, 1, 2)
        (features_nd,) = zip(*(self.net(batch) for batch in torch.split(pixels, BATCH)), strict=True)
        found: np.ndarray = torch.cat(features_nd).double().numpy()
        return found


def cached_weights() -> Path:
    """Where torch-fidelity keeps the weight file that it has downloaded once."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHT_FILE


def inception_is_here() -> bool:
    """Whether torch-fidelity is installed and has the weight file in its cache."""
    return importlib.util.find_spec(LIBRARY) is not None and cached_weights().is_file()


def inception(path: Path | None = None) -> Inception:
    """Inception-v3 with the weight file at `path`, or the one in torch-fidelity's cache.

    Raises MistakeError where torch-fidelity is not installed, there is no such file, or it is not that file.
    """
    if importlib.util.find_spec(LIBRARY) is None:
        raise MistakeError(
            "Inception features need torch-fidelity; run in FedFlow's checkout: pip install '.[inception]'"
        )
    weights = path or cached_weights()
    if not weights.is_file():
        raise MistakeError(
            f"{weights}: no Inception weight file; download {WEIGHT_FILE} from torch-fidelity's releases (v0.2.0) "
            "and name it with --inception PATH"
        )
    # torch-fidelity unpickles the file freely. A file that the restricted reader accepts holds tensors alone,
    # so reading it again runs nothing.
    try:
        torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise MistakeError(_wrong_file(weights, error)) from error
    try:
        library = importlib.import_module(f"{LIBRARY}.feature_extractor_inceptionv3")
    except (ImportError, RuntimeError, OSError) as error:  # torchvision built for another torch fails in its own ways
        raise MistakeError(
            f"torch-fidelity cannot be imported ({type(error).__name__}): install the torchvision that was built "
            f"for torch {torch.__version__}, from the same package index"
        ) from error
    try:
        build = library.FeatureExtractorInceptionV3
        net = build("inception-v3", [FEATURES], feature_extractor_weights_path=str(weights))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise MistakeError(_wrong_file(weights, error)) from error
    return Inception(net)


def _wrong_file(weights: Path, error: Exception) -> str:
    return f"{weights}: not torch-fidelity's Inception weights ({type(error).__name__}); download {WEIGHT_FILE} anew"
