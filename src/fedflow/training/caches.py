"""What frozen parts would compute anew at every step, computed once: latents' statistics and caption embeddings."""

# N examples, U different captions, V views (plain, flipped), L tokens, D width of the text encoder, B batch
# C latent channels, H W latent size

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedflow.datasets import Dataset, load_pixels
from fedflow.errors import DatasetError
from fedflow.models import BaseModel

PICTURES_AT_ONCE = 16
CAPTIONS_AT_ONCE = 64


@dataclass(frozen=True)
class LatentCache:
    """The latents' posterior of every picture and view: `mean_NVCHW` and `std_NVCHW`, float32, in the UNet's scale."""

    mean_NVCHW: Tensor
    std_NVCHW: Tensor

    def __len__(self) -> int:
        return len(self.mean_NVCHW)

    def sample(self, index_B: Tensor, generator: torch.Generator) -> Tensor:
        """Fresh latents (B, C, H, W) of the examples `index_B`, each of a view drawn at random."""
        views = self.mean_NVCHW.shape[1]
        view_B = torch.randint(views, (len(index_B),), generator=generator)
        mean_BCHW = self.mean_NVCHW[index_B, view_B]
        return mean_BCHW + self.std_NVCHW[index_B, view_B] * torch.randn(mean_BCHW.shape, generator=generator)


@dataclass(frozen=True)
class CaptionCache:
    """Captions and their embeddings.

    `texts`: the U different captions, the empty one last. `index_N`: each example's caption among them.
    `embeddings_ULD`: float32; the frozen text encoder's.
    """

    texts: tuple[str, ...]
    index_N: Tensor
    embeddings_ULD: Tensor

    def __len__(self) -> int:
        return len(self.index_N)

    def draw(self, index_B: Tensor, dropout: float, generator: torch.Generator) -> Tensor:
        """Caption numbers (B,) of the examples `index_B`, the empty caption for a share `dropout` of them."""
        dropped_B = torch.rand(len(index_B), generator=generator) < dropout
        return torch.where(dropped_B, len(self.texts) - 1, self.index_N[index_B])


@torch.no_grad()
def cache_latents(
    model: BaseModel,
    dataset: Dataset,
    flip: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> LatentCache:
    """Encode every picture of `dataset` at the dataset's size, and its mirror image with `flip`.

    `progress` is told pictures done and in all. Raises DatasetError where a picture cannot be read any more,
    ModelError where the size does not fit the model.
    """
    model.latent_size(dataset.size)
    means: list[Tensor] = []
    stds: list[Tensor] = []
    for start in range(0, len(dataset.pictures), PICTURES_AT_ONCE):
        chunk = dataset.pictures[start : start + PICTURES_AT_ONCE]
        pixels = np.stack([load_pixels(picture, dataset.size) for picture in chunk])
        plain = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div_(127.5).sub_(1.0)
        views = [plain, plain.flip(-1)] if flip else [plain]
        posteriors = [model.encode_pictures(view) for view in views]
        means.append(torch.stack([mean.cpu() for mean, _ in posteriors], dim=1))
        stds.append(torch.stack([std.cpu() for _, std in posteriors], dim=1))
        if progress is not None:
            progress(start + len(chunk), len(dataset.pictures))
    if not means:
        raise DatasetError(f"{dataset.folder}: has no pictures; give a folder with pictures and captions")
    return LatentCache(torch.cat(means), torch.cat(stds))


@torch.no_grad()
def cache_captions(model: BaseModel, dataset: Dataset) -> CaptionCache:
    """Encode the captions of `dataset`, each different one once, and the empty caption."""
    captions = [picture.caption for picture in dataset.pictures]
    texts = (*dict.fromkeys(caption for caption in captions if caption), "")
    number = {text: position for position, text in enumerate(texts)}
    chunks = [list(texts[start : start + CAPTIONS_AT_ONCE]) for start in range(0, len(texts), CAPTIONS_AT_ONCE)]
    embeddings = torch.cat([model.encode_captions(chunk).float().cpu() for chunk in chunks])
    return CaptionCache(texts, torch.tensor([number[caption] for caption in captions]), embeddings)
