"""Trains the tagger 'icons-v1': one linear head for each caption tag of the starter's art, on the features of icons-v1.

The 128 features of a picture go in, scaled to length one; out come the logits of concepts, the words of their
names and their categories. Styles are left out: a head that knows two of them calls every other one by their names.
Trained on augmented views of the noto and twemoji pictures. Fluent pictures are never trained on: those that the demo
does not have choose the threshold, and the demo's are measured with, at the end.
Resumable: `python -m starter.tagger --work DIR --out DIR` goes on from the last view and the last checkpoint.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from fedflow.evaluation.icons_v1 import icons_v1
from fedflow.tagging.icons_v1 import FOLDER, NAME, IconsTagger, icons_tagger, unit_concepts
from starter import art, checkpoint, demo_pictures, pictures, vocabulary
from starter.extractor import augment

VIEWS = 16
HELD_OUT_VIEWS = 4
STEPS = 1500
BATCH = 1024
PEAK_LR = 0.2
SEED = 20260115
THRESHOLDS = [round(0.05 * number, 2) for number in range(1, 19)]
MAX_BYTES = 1_000_000


def tags_of(concepts: dict[str, str]) -> list[list[str]]:
    """Each concept's caption tags without its style."""
    return [
        vocabulary.caption_tags(name, category, pictures.TRAINING_SETS[0])[1:] for name, category in concepts.items()
    ]


# V views, P pictures, D features, T tags
def view_features(work: Path, first: int, count: int) -> Tensor:
    """Unit features (V, P, D) of augmented views of the training pictures; each view is kept in `work`."""
    net = icons_v1().net.concept
    images = np.concatenate([pictures.concept_pictures(work, style) for style in pictures.TRAINING_SETS])
    data = pictures.to_tensor(images)
    found = []
    for view in range(first, first + count):
        path = work / f"tagger-view-{view}.ckpt"
        if not path.is_file():
            generator = torch.Generator().manual_seed(SEED + view)
            with torch.inference_mode():
                seen = [net(augment(part, generator)[0]) for part in torch.split(data, 100)]
            checkpoint.save(path, {"features": torch.cat(seen).clone()})
            print(f"tagger: view {view + 1} of {first + count}", flush=True)
        state = checkpoint.load(path)
        assert state is not None
        found.append(unit_concepts(state["features"]))
    return torch.stack(found)


def train(work: Path, truth_PT: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (T, D) and biases (T,) after `STEPS`, or on from `work/tagger.ckpt`."""
    features_ND = view_features(work, 0, VIEWS).flatten(0, 1)
    weight = torch.zeros(truth_PT.shape[1], features_ND.shape[1], requires_grad=True)
    bias = torch.full((truth_PT.shape[1],), -5.0, requires_grad=True)
    optimizer = torch.optim.AdamW([weight, bias], lr=PEAK_LR, weight_decay=1e-3)
    generator = torch.Generator().manual_seed(SEED)
    step = 0
    state = checkpoint.load(work / "tagger.ckpt")
    if state is not None:
        with torch.no_grad():
            weight.copy_(state["weight"])
            bias.copy_(state["bias"])
        optimizer.load_state_dict(state["optimizer"])
        generator.set_state(state["generator"])
        step = state["step"]
    began = time.monotonic()
    while step < STEPS:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * (1 - step / STEPS)
        chosen = torch.randint(len(features_ND), (BATCH,), generator=generator)
        logits = features_ND[chosen] @ weight.T + bias
        loss = functional.binary_cross_entropy_with_logits(logits, truth_PT[chosen % len(truth_PT)], reduction="sum")
        (loss / BATCH).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 250 == 0:
            print(f"tagger {step}: loss {loss.item() / BATCH:.3f}, {time.monotonic() - began:.0f} s", flush=True)
            held = {"weight": weight.detach(), "bias": bias.detach(), "optimizer": optimizer.state_dict()}
            checkpoint.save(work / "tagger.ckpt", {**held, "generator": generator.get_state(), "step": step})
    return weight.detach(), bias.detach()


def precision_recall(found: list[set[str]], truth: list[set[str]]) -> tuple[float, float]:
    """Over all tags of all pictures together (micro average)."""
    right = sum(len(one & other) for one, other in zip(found, truth, strict=True))
    return right / max(1, sum(map(len, found))), right / max(1, sum(map(len, truth)))


def figures_of(scores_PT: Tensor, truth_PT: Tensor, kinds: dict[str, Tensor], threshold: float) -> dict[str, float]:
    """Precision and recall of all tags and of each kind."""
    figures: dict[str, float] = {}
    said = scores_PT >= threshold
    for kind, columns in {"all": torch.ones_like(next(iter(kinds.values()))), **kinds}.items():
        right = (said & (truth_PT > 0))[:, columns].sum().item()
        figures[f"{kind}_precision"] = round(right / max(1, said[:, columns].sum().item()), 4)
        figures[f"{kind}_recall"] = round(right / truth_PT[:, columns].sum().item(), 4)
    return figures


def best_threshold(scores_PT: Tensor, truth_PT: Tensor) -> float:
    """The threshold of the best F1 over all tags."""

    def f1(threshold: float) -> float:
        said = scores_PT >= threshold
        return 2 * (said & (truth_PT > 0)).sum().item() / (said.sum().item() + truth_PT.sum().item())

    return max(THRESHOLDS, key=f1)


def demo_figures(tagger: IconsTagger, images: np.ndarray, truth: list[set[str]]) -> dict[str, float]:
    """Precision and recall of the tagger as it ships, through its public face."""
    found = [{tag for tag, _ in tags} for tags in tagger.tags(images)]
    precision, recall = precision_recall(found, truth)
    return {"precision": round(precision, 4), "recall": round(recall, 4)}


def ship(work: Path, out: Path) -> None:
    """Train, choose the threshold, measure, and write heads, description and card."""
    concepts = pictures.vocabulary_of(art.fetch(work))
    truths = tags_of(concepts)
    names = sorted({tag for tags in truths for tag in tags})
    truth_PT = torch.tensor([[float(name in tags) for name in names] for tags in truths])
    both_PT = truth_PT.repeat(len(pictures.TRAINING_SETS), 1)
    weight, bias = (tensor.half() for tensor in train(work, both_PT))

    fluent = pictures.concept_pictures(work, demo_pictures.STYLE)
    in_demo = {name for part in demo_pictures.split(concepts).values() for name in part}
    demo = torch.tensor([name in in_demo for name in concepts])
    with torch.inference_mode():
        features_PD = unit_concepts(icons_v1().net.concept(pictures.to_tensor(fluent)))
    scores_PT = (features_PD @ weight.float().T + bias.float()).sigmoid()
    threshold = best_threshold(scores_PT[~demo], truth_PT[~demo])
    categories = set(concepts.values())
    concept_tags = {vocabulary.concept_tag(name) for name in concepts}
    kinds = {
        "category": torch.tensor([name in categories for name in names]),
        "concept": torch.tensor([name in concept_tags - categories for name in names]),
        "word": torch.tensor([name not in concept_tags | categories for name in names]),
    }
    held_out = view_features(work, VIEWS, HELD_OUT_VIEWS).flatten(0, 1)
    held_scores = (held_out @ weight.float().T + bias.float()).sigmoid()
    content = save({"weight": weight.contiguous(), "bias": bias.contiguous()})
    assert len(content) <= MAX_BYTES, f"{len(content)} bytes, at most {MAX_BYTES} ship"
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.safetensors").write_bytes(content)
    description = {
        "name": NAME,
        "features": "icons-v1, the first 128, scaled to length 1",
        "threshold": threshold,
        "trained_on": [art.PACKAGES[style] for style in pictures.TRAINING_SETS],
        "threshold_chosen_on": f"{int((~demo).sum())} pictures of {art.PACKAGES[demo_pictures.STYLE]} not in the demo",
        "extractor_sha256": hashlib.sha256(
            b"".join(tensor.numpy().tobytes() for tensor in icons_v1().net.state_dict().values())
        ).hexdigest(),
        "views": VIEWS,
        "steps": STEPS,
        "batch": BATCH,
        "seed": SEED,
        "figures": {
            "held_out_views": figures_of(held_scores, both_PT.repeat(HELD_OUT_VIEWS, 1), kinds, threshold),
            "demo": figures_of(scores_PT[demo], truth_PT[demo], kinds, threshold),
        },
        "tags": names,
    }
    (out / "config.json").write_text(json.dumps(description, indent=1) + "\n")
    shipped = demo_figures(
        icons_tagger(out), fluent[demo.numpy()], [set(tags) for tags, is_in in zip(truths, demo, strict=True) if is_in]
    )
    print(json.dumps({"threshold": threshold, **description["figures"], "demo_as_shipped": shipped}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter-work"))
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ship(arguments.work, arguments.out)
