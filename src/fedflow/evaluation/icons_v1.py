"""icons-v1: the small convolutional feature extractor that ships with FedFlow.

Trained by `starter/extractor.py` on the starter's icon art (noto and twemoji, never the demo's fluent
pictures) to tell concept, category and style apart under augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fedflow.errors import StorageError
from fedflow.tensors.making import MAKING

NAME = "icons-v1"
PICTURE_SIZE = 64
CONCEPT_FEATURES = 128
STYLE_FEATURES = 64
FEATURES = CONCEPT_FEATURES + STYLE_FEATURES
WIDTHS = (32, 64, 128, 192)
BATCH = 100
FOLDER = Path(__file__).parents[1] / "data" / "icons-v1"


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut; halves the picture's side where `stride` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, hidden_BCHW: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        inner = functional.relu(self.first_norm(self.first(hidden_BCHW)))
        inner = self.second_norm(self.second(inner))
        outer = functional.avg_pool2d(hidden_BCHW, self.stride) if self.stride > 1 else hidden_BCHW
        return functional.relu(inner + self.shortcut(outer))


# B batch, C channels, H W size of a map, D features
class ConceptNet(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] to features (B, 128) of what they show.

    Three residual stages after a strided stem; the last two stages' maps are pooled together.
    """

    def __init__(self) -> None:
        super().__init__()
        stem, second, third, fourth = WIDTHS
        self.stem = nn.Conv2d(3, stem, 5, 2, 2, bias=False)
        self.stem_norm = nn.BatchNorm2d(stem)
        self.stage_2 = Residual(stem, second, 2)
        self.stage_3 = nn.Sequential(Residual(second, third, 2), Residual(third, third, 1))
        self.stage_4 = nn.Sequential(Residual(third, fourth, 2), Residual(fourth, fourth, 1))
        self.head = nn.Linear(third + fourth, CONCEPT_FEATURES, bias=False)
        self.head_norm = nn.BatchNorm1d(CONCEPT_FEATURES, affine=False)

    def strokes(self, pixels_BCHW: Tensor) -> Tensor:
        """The stem's maps (B, 32, 32, 32): edges, colours, shading."""
        return functional.relu(self.stem_norm(self.stem(pixels_BCHW)))

    def concepts(self, strokes_BCHW: Tensor) -> Tensor:
        """Features (B, 128) of the stem's maps, each of about zero mean and unit variance."""
        fine = self.stage_3(self.stage_2(strokes_BCHW))
        pooled = torch.cat([fine.mean(dim=(2, 3)), self.stage_4(fine).mean(dim=(2, 3))], dim=1)
        features_BD: Tensor = self.head_norm(self.head(pooled))
        return features_BD

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, 128) of pictures."""
        return self.concepts(self.strokes(pixels_BCHW))


class Style(nn.Module):
    """How a picture is drawn: mean and deviation of each stem channel (B, 64), whitened over the training art.

    Channel statistics carry style (Huang and Belongie, arXiv 1703.06868, Sec. 5). Without them the distances
    hardly see a blur, to which the concept features were trained to be blind.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(STYLE_FEATURES))
        self.register_buffer("whitening", torch.eye(STYLE_FEATURES))

    @staticmethod
    def statistics(strokes_BCHW: Tensor) -> Tensor:
        """(B, 64)."""
        deviation, mean = torch.std_mean(strokes_BCHW, dim=(2, 3))
        return torch.cat([mean, deviation], dim=1)

    def fit(self, strokes_BCHW: Tensor) -> None:
        """Whiten by the covariance of these pictures' statistics."""
        statistics_BD = self.statistics(strokes_BCHW).double()
        values_D, vectors_DD = torch.linalg.eigh(torch.cov(statistics_BD.T))
        self.mean.copy_(statistics_BD.mean(dim=0))
        self.whitening.copy_(vectors_DD / values_D.clamp(min=1e-8 * values_D[-1]).sqrt())

    def forward(self, strokes_BCHW: Tensor) -> Tensor:
        """Features (B, 64)."""
        return (self.statistics(strokes_BCHW) - self.mean) @ self.whitening


class IconsNet(nn.Module):
    """Pictures (B, 3, 64, 64) in [-1, 1] to features (B, 192): 128 of what is drawn, 64 of how."""

    def __init__(self) -> None:
        super().__init__()
        self.concept = ConceptNet()
        self.style = Style()

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Features (B, D)."""
        strokes_BCHW = self.concept.strokes(pixels_BCHW)
        return torch.cat([self.concept.concepts(strokes_BCHW), self.style(strokes_BCHW)], dim=1)


def pixels_to_input(images: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, 64, 64) in [-1, 1]; other sizes by antialiased bilinear resize."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
    if pixels.shape[-2:] != (PICTURE_SIZE, PICTURE_SIZE):
        pixels = functional.interpolate(pixels, size=(PICTURE_SIZE, PICTURE_SIZE), mode="bilinear", antialias=True)
    return pixels.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class IconsV1:
    """The shipped extractor. Cheap enough for a CPU: 200 pictures take about half a second."""

    net: IconsNet
    name: str = NAME
    resize: str = "64x64, antialiased bilinear"
    picture_size: int = PICTURE_SIZE

    @torch.inference_mode()
    def features(self, images_nhwc: np.ndarray) -> np.ndarray:
        """uint8 pictures (n, h, w, 3) to float64 features (n, 192)."""
        batches = torch.split(pixels_to_input(images_nhwc), BATCH)
        found: np.ndarray = torch.cat([self.net(batch) for batch in batches]).double().numpy()
        return found


def icons_v1() -> IconsV1:
    """The extractor with the weights that ship in the package; StorageError where they are missing or damaged."""
    path = FOLDER / "model.safetensors"
    with MAKING:
        net = IconsNet()
    try:
        net.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        why = type(error).__name__
        raise StorageError(f"{path}: not the weights of {NAME} ({why}); install fedflow anew") from error
    return IconsV1(net.eval().requires_grad_(False))
