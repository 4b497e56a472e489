"""Trains icons-v1, the feature extractor of FedFlow's Frechet and kernel distances, on the starter's icon art.

Three heads on one feature vector: the concept (the vocabulary, and the other icons of its categories as
further classes), the category, and the style (noto or twemoji), under augmentation. The heads are thrown
away; the net ships, with whitened statistics of its first layer beside its features (`icons_v1.Style`).
The demo's fluent pictures are never trained on: they are measured with, at the end.
Resumable: `python -m starter.extractor --work DIR --out DIR` goes on from the last checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from fedflow.evaluation.distances import frechet_distance, kernel_distance
from fedflow.evaluation.icons_v1 import CONCEPT_FEATURES, FEATURES, NAME, PICTURE_SIZE, ConceptNet, IconsNet, IconsV1
from fedflow.evaluation.recognition import nearest_concepts
from starter import art, checkpoint, pictures, vocabulary

STEPS = 2600
BATCH = 64
PEAK_LR = 3e-3
WARM_UP = 100
WEIGHT_DECAY = 0.05
COSINE_SCALE = 16.0
SMOOTHING = 0.1
CATEGORY_WEIGHT, STYLE_WEIGHT = 0.3, 0.3
HELD_OUT_VIEWS = 2
SEED = 20260103


class Heads(nn.Module):
    """The three classifiers over the features; cosine similarity for concepts, so that angles carry the concept."""

    def __init__(self, concepts: int, categories: int, styles: int) -> None:
        super().__init__()
        self.concept = nn.Parameter(torch.randn(concepts, CONCEPT_FEATURES))
        self.category = nn.Linear(CONCEPT_FEATURES, categories)
        self.style = nn.Linear(CONCEPT_FEATURES, styles)

    def concept_logits(self, features_BD: Tensor) -> Tensor:
        """(B, concepts)."""
        return COSINE_SCALE * functional.normalize(features_BD, dim=1) @ functional.normalize(self.concept, dim=1).T


# B batch, C channels, H W picture size
def _some(share: float, count: int, generator: torch.Generator) -> Tensor:
    """A mask (B, 1, 1, 1) that is true for about `share` of the pictures."""
    return torch.rand(count, 1, 1, 1, generator=generator) < share


def _uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _move(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, scale, stretch, rotate, shear and shift over white."""
    count = len(pixels_BCHW)
    mirror = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    zoom = _uniform(0.8, 1.4, (count,), generator)
    stretch = _uniform(0.85, 1.18, (count,), generator)
    angle = _uniform(-0.4, 0.4, (count,), generator)
    shear = _uniform(-0.2, 0.2, (count,), generator)
    shift = _uniform(-0.2, 0.2, (count, 2), generator)
    cosine, sine = angle.cos(), angle.sin()
    first = torch.stack([mirror * zoom * stretch * cosine, zoom * (shear - sine), shift[:, 0]], 1)
    second = torch.stack([mirror * zoom * sine, zoom / stretch * cosine, shift[:, 1]], 1)
    grid = functional.affine_grid(torch.stack([first, second], 1), list(pixels_BCHW.shape), align_corners=False)
    return functional.grid_sample(pixels_BCHW - 1.0, grid, mode="bilinear", align_corners=False) + 1.0


def _recolour(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation of most pictures a little; channels of a few exchanged, a few grey."""
    count = len(pixels_BCHW)
    grey = pixels_BCHW.mean(dim=1, keepdim=True)
    saturated = grey + (pixels_BCHW - grey) * _uniform(0.5, 1.5, (count, 1, 1, 1), generator)
    contrasted = (saturated - 1.0) * _uniform(0.7, 1.3, (count, 1, 1, 1), generator) + 1.0
    tinted = (contrasted + 1.0) * _uniform(0.8, 1.1, (count, 3, 1, 1), generator) - 1.0
    jittered = torch.where(_some(0.7, count, generator), tinted, pixels_BCHW)
    orders = torch.stack([torch.randperm(3, generator=generator) for _ in range(count)])
    exchanged = jittered.gather(1, orders[:, :, None, None].expand_as(jittered))
    coloured = torch.where(_some(0.2, count, generator), exchanged, jittered)
    return torch.where(_some(0.08, count, generator), grey.expand_as(coloured), coloured)


def _background(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """White turned into a light colour in some pictures."""
    count = len(pixels_BCHW)
    white = (pixels_BCHW.amin(dim=1, keepdim=True) > 0.97) & _some(0.12, count, generator)
    return torch.where(white, _uniform(0.0, 1.0, (count, 3, 1, 1), generator).expand_as(pixels_BCHW), pixels_BCHW)


def _flatten(pixels_BCHW: Tensor, levels: Tensor) -> Tensor:
    """Colours cut to a few `levels` (B, 1, 1, 1) a channel, after smoothing: gradients become flat areas."""
    smooth = functional.avg_pool2d(pixels_BCHW, 3, 1, 1, count_include_pad=False)
    return ((smooth + 1.0) * 0.5 * levels).round() / levels * 2.0 - 1.0


def _lines(pixels_BCHW: Tensor) -> Tensor:
    """Dark lines on white where the picture has edges."""
    across = functional.pad(pixels_BCHW, (1, 1, 0, 0), mode="replicate")
    down = functional.pad(pixels_BCHW, (0, 0, 1, 1), mode="replicate")
    edges = (across[..., 2:] - across[..., :-2]).abs() + (down[:, :, 2:] - down[:, :, :-2]).abs()
    return (1.0 - 1.5 * edges.amax(dim=1, keepdim=True)).clamp(-1, 1).expand_as(pixels_BCHW)


def _degrade(pixels_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Some pictures made coarse, noisy, or with a square cut out."""
    count = len(pixels_BCHW)
    side = int(torch.randint(24, 52, (1,), generator=generator))
    small = functional.interpolate(pixels_BCHW, size=(side, side), mode="bilinear", antialias=True)
    coarse = functional.interpolate(small, size=pixels_BCHW.shape[-2:], mode="bilinear")
    blurred = torch.where(_some(0.25, count, generator), coarse, pixels_BCHW)
    strength = _uniform(0.0, 0.25, (count, 1, 1, 1), generator) * _some(0.25, count, generator)
    noisy = blurred + strength * torch.randn(blurred.shape, generator=generator)
    size = _uniform(0.1, 0.45, (count, 1, 1, 1), generator) * _some(0.3, count, generator)
    place = torch.linspace(0, 1, PICTURE_SIZE)
    left, top = (_uniform(0.0, 0.8, (count, 1, 1, 1), generator) for _ in range(2))
    columns, rows = place[None, None, None, :], place[None, None, :, None]
    hole = (columns >= left) & (columns < left + size) & (rows >= top) & (rows < top + size)
    return torch.where(hole, _uniform(-1.0, 1.0, (count, 3, 1, 1), generator).expand_as(noisy), noisy)


def augment(pixels_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Augmented pictures, and a mask (B,) of those that still show their style (no flat or line filter)."""
    count = len(pixels_BCHW)
    moved = _recolour(_move(pixels_BCHW, generator), generator)
    flat, lined = _some(0.12, count, generator), _some(0.06, count, generator)
    levels = torch.randint(2, 6, (count, 1, 1, 1), generator=generator).float()
    filtered = torch.where(lined, _lines(moved), torch.where(flat, _flatten(moved, levels), moved))
    done = _degrade(_background(filtered, generator), generator).clamp(-1, 1)
    return done, ~(flat | lined).flatten()


def learning_rate(step: int) -> float:
    """Linear warm-up, then cosine to nothing."""
    if step < WARM_UP:
        return PEAK_LR * (step + 1) / WARM_UP
    return PEAK_LR * 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))


def training_art(work: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Pictures (styles * names, 64, 64, 3) style by style, names (the vocabulary first) and each name's category."""
    path = work / "extractor-art.npy"
    sets = art.fetch(work)
    concepts = pictures.vocabulary_of(sets)
    first, *others = [sets[style] for style in pictures.TRAINING_SETS]
    further = [
        name
        for name in sorted(first.icons)
        if first.categories.get(name) in vocabulary.CATEGORY_TAGS
        and name not in concepts
        and pictures.SKIN_TONE not in name
        and all(name in other.icons for other in others)
    ]
    names = [*concepts, *further]
    if not path.is_file():
        np.save(path, np.stack([sets[style].render(name) for style in pictures.TRAINING_SETS for name in names]))
    categories = [concepts.get(name) or vocabulary.CATEGORY_TAGS[first.categories[name]] for name in names]
    return np.asarray(np.load(path)), names, categories


def train(work: Path) -> tuple[ConceptNet, Heads]:
    """Train to `STEPS`, or go on from `work/extractor.ckpt`; return the net and the heads."""
    torch.manual_seed(SEED)
    images, names, categories = training_art(work)
    known = sorted(set(categories))
    category = torch.tensor([known.index(entry) for entry in categories])
    net = ConceptNet().to(memory_format=torch.channels_last)
    heads = Heads(len(names), len(known), len(pictures.TRAINING_SETS))
    parameters = [*net.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK_LR, weight_decay=WEIGHT_DECAY, fused=True)
    generator = torch.Generator().manual_seed(SEED)
    step = 0
    state = checkpoint.load(work / "extractor.ckpt")
    if state is not None:
        net.load_state_dict(state["net"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        step = state["step"]
    data = pictures.to_tensor(images)
    print(f"extractor: {len(data)} pictures, {len(names)} concepts, step {step} of {STEPS}", flush=True)
    began, running, right = time.monotonic(), 0.0, 0
    while step < STEPS:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        chosen = torch.randint(len(data), (BATCH,), generator=generator)
        concept, style = chosen % len(names), chosen // len(names)
        pixels, shows_style = augment(data[chosen], generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = net(pixels.contiguous(memory_format=torch.channels_last))
        features = features.float()
        logits = heads.concept_logits(features)
        loss = functional.cross_entropy(logits, concept, label_smoothing=SMOOTHING)
        loss = loss + CATEGORY_WEIGHT * functional.cross_entropy(heads.category(features), category[concept])
        loss = loss + STYLE_WEIGHT * functional.cross_entropy(heads.style(features)[shows_style], style[shows_style])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        running += loss.item()
        right += int((logits.argmax(dim=1) == concept).sum())
        if step % 50 == 0:
            pace = (time.monotonic() - began) / 50
            print(
                f"extractor {step}: loss {running / 50:.3f}, top-1 {right / 50 / BATCH:.3f}, {pace:.2f} s a step",
                flush=True,
            )
            began, running, right = time.monotonic(), 0.0, 0
        if step % 100 == 0 or step == STEPS:
            checkpoint.save(
                work / "extractor.ckpt",
                {
                    "net": net.state_dict(),
                    "heads": heads.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "generator": generator.get_state(),
                    "step": step,
                },
            )
    return net.eval(), heads.eval()


@torch.no_grad()
def held_out_figures(net: ConceptNet, heads: Heads, images: np.ndarray, names: list[str]) -> dict[str, float]:
    """How often the concept is right (first, among five) on augmentations that no training step drew."""
    data = pictures.to_tensor(images)
    concept = torch.arange(len(data)) % len(names)
    generator = torch.Generator().manual_seed(SEED + 1)
    found = []
    for _ in range(HELD_OUT_VIEWS):
        views = [augment(batch, generator)[0] for batch in data.split(BATCH)]
        logits = torch.cat([heads.concept_logits(net(view)) for view in views])
        found.append(logits.topk(5, dim=1).indices == concept[:, None])
    hits = torch.cat(found).float()
    return {"held_out_top1": round(float(hits[:, 0].mean()), 4), "held_out_top5": round(float(hits.amax(1).mean()), 4)}


def across_styles(extractor: IconsV1, work: Path) -> dict[str, float]:
    """Measured on the fluent pictures, which no step trained on: concepts found again, and styles told apart.

    The concept of each fluent picture is looked for among the noto and twemoji pictures of the vocabulary.
    `fid_*` and `kid_*` are distances between two halves of the concepts, so that no concept stands on both sides.
    """
    known = [extractor.features(pictures.concept_pictures(work, style)) for style in pictures.TRAINING_SETS]
    unseen = extractor.features(pictures.concept_pictures(work, "fluent-emoji-flat"))
    hits = nearest_concepts(unseen, np.stack(known))[:, :5] == np.arange(len(unseen))[:, None]
    figures = {"fluent_top1": float(hits[:, 0].mean()), "fluent_top5": float(hits.any(axis=1).mean())}
    order = np.random.default_rng(SEED).permutation(len(unseen))
    first, second = order[: len(order) // 2], order[len(order) // 2 :]
    for style, features in zip(("fluent", *pictures.TRAINING_SETS), (unseen, *known), strict=True):
        figures[f"fid_fluent_{style}"] = frechet_distance(unseen[first], features[second])
        figures[f"kid_fluent_{style}"] = kernel_distance(unseen[first], features[second])
    figures["fid_noto_noto"] = frechet_distance(known[0][first], known[0][second])
    figures["fid_noto_twemoji"] = frechet_distance(known[0][first], known[1][second])
    return {name: round(figure, 4) for name, figure in figures.items()}


def ship(work: Path, out: Path) -> None:
    """Train, measure, and write the net and its description."""
    images, names, categories = training_art(work)
    net = IconsNet().eval()
    net.concept, heads = train(work)
    with torch.no_grad():
        net.style.fit(net.concept.strokes(pictures.to_tensor(images)))
    out.mkdir(parents=True, exist_ok=True)
    # Convolutions in half precision; what is measured below is the net as it ships.
    shipped = {name: tensor.half() if tensor.dim() == 4 else tensor for name, tensor in net.state_dict().items()}
    content = save({name: tensor.contiguous() for name, tensor in shipped.items()})
    (out / "model.safetensors").write_bytes(content)
    net.load_state_dict(shipped)
    figures = held_out_figures(net.concept, heads, images, names) | across_styles(IconsV1(net), work)
    description = {
        "name": NAME,
        "features": FEATURES,
        "picture_size": PICTURE_SIZE,
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "trained_on": [art.PACKAGES[style] for style in pictures.TRAINING_SETS],
        "training_art_sha256": hashlib.sha256(images.tobytes()).hexdigest(),
        "steps": STEPS,
        "batch": BATCH,
        "seed": SEED,
        "figures": figures,
        "categories": sorted(set(categories)),
        "concepts": names,
    }
    (out / "config.json").write_text(json.dumps(description, indent=1) + "\n")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter-work"))
    parser.add_argument("--out", type=Path, default=Path("src/fedflow/data/icons-v1"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ship(arguments.work, arguments.out)
