"""Does the starter draw what it is asked for? The right concept among the 5 nearest, in how many of 100 pictures.

How to read it: 200 prompts over concepts in the training art, one picture each at a fixed seed, drawn by plain
diffusers. icons-v1 turns every picture into features; the 450 concepts are ranked by the distance to the
concept's noto or twemoji picture, whichever is nearer. A model that ignores its prompt reaches about 1 of 100
(5 of 450). The goal is 60. A second line counts the style: prompts alternate between noto and twemoji.

    python benchmarks/starter_quality.py --grid starter/quality.png --json starter/quality.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from fedflow.openmp import wait_briefly

wait_briefly()
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from starter import art, pictures, vocabulary

from fedflow.evaluation.icons_v1 import icons_v1
from fedflow.evaluation.recognition import nearest_concepts

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = 200
NEAREST = 5
GOAL = 60
COLUMNS = 20
GAP = 4
SEED = 20260104


def prompts(concepts: dict[str, str]) -> list[tuple[int, int, str]]:
    """Concept index, style index and caption of each prompt: concepts drawn without replacement, styles in turn."""
    names = list(concepts)
    chosen = np.random.default_rng(SEED).permutation(len(names))[:PROMPTS]
    asked = []
    for place, concept in enumerate(chosen.tolist()):
        style = place % len(pictures.TRAINING_SETS)
        tags = vocabulary.caption_tags(names[concept], concepts[names[concept]], pictures.TRAINING_SETS[style])
        asked.append((concept, style, ", ".join(tags)))
    return asked


def draw(pipeline: StableDiffusionPipeline, captions: list[str], steps: int, guidance: float, batch: int) -> np.ndarray:
    """One picture a caption, uint8 (n, h, w, 3); each from a generator of its own."""
    drawn = []
    for start in range(0, len(captions), batch):
        part = captions[start : start + batch]
        generators = [torch.Generator().manual_seed(SEED + start + offset) for offset in range(len(part))]
        result = pipeline(
            part, num_inference_steps=steps, guidance_scale=guidance, generator=generators, output_type="np"
        )
        drawn.append((result.images * 255.0).round().astype(np.uint8))
        print(f"{start + len(part)} of {len(captions)} pictures", file=sys.stderr, flush=True)
    return np.concatenate(drawn)


def grid(images_nhwc: np.ndarray) -> Image.Image:
    """The pictures in rows of `COLUMNS`, a small gap between them."""
    _, height, width, _ = images_nhwc.shape
    rows = -(-len(images_nhwc) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) + GAP, rows * (height + GAP) + GAP), (224, 224, 224))
    for place, image in enumerate(images_nhwc):
        row, column = divmod(place, COLUMNS)
        sheet.paste(Image.fromarray(image), (GAP + column * (width + GAP), GAP + row * (height + GAP)))
    return sheet


def measure(images_nhwc: np.ndarray, asked: list[tuple[int, int, str]], work: Path) -> dict[str, float]:
    """Of 100 pictures: how many have their concept among the nearest, how many as the very nearest, and the style."""
    extractor = icons_v1()
    prototypes_scd = np.stack(
        [extractor.features(pictures.concept_pictures(work, style)) for style in pictures.TRAINING_SETS]
    )
    features_nd = extractor.features(images_nhwc)
    concept = np.array([entry[0] for entry in asked])
    hits = nearest_concepts(features_nd, prototypes_scd)[:, :NEAREST] == concept[:, None]
    # The style test asks which of the concept's own two pictures is nearer.
    own_snd = prototypes_scd[:, concept]
    nearer = np.linalg.norm(own_snd - features_nd, axis=2).argmin(axis=0)
    return {
        "among_5_of_100": 100.0 * float(hits.any(axis=1).mean()),
        "nearest_of_100": 100.0 * float(hits[:, 0].mean()),
        "right_style_of_100": 100.0 * float((nearer == np.array([entry[1] for entry in asked])).mean()),
        "chance_among_5_of_100": 100.0 * NEAREST / prototypes_scd.shape[1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "src/fedflow/data/starter")
    parser.add_argument("--work", type=Path, default=ROOT / ".starter-work")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--grid", type=Path, help="PNG that takes all pictures, 20 a row")
    parser.add_argument("--json", type=Path, help="file that takes the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    asked = prompts(pictures.vocabulary_of(art.fetch(arguments.work)))
    pipeline = StableDiffusionPipeline.from_pretrained(arguments.model, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    began = time.monotonic()
    images = draw(pipeline, [entry[2] for entry in asked], arguments.steps, arguments.guidance, arguments.batch)
    seconds = time.monotonic() - began
    figures = measure(images, asked, arguments.work)
    settings = {"prompts": len(asked), "steps": arguments.steps, "guidance": arguments.guidance, "seed": SEED}
    print(
        f"right concept among the {NEAREST} nearest: {figures['among_5_of_100']:.1f} of 100 "
        f"(goal {GOAL}, chance {figures['chance_among_5_of_100']:.1f}); nearest of all: "
        f"{figures['nearest_of_100']:.1f}; right style: {figures['right_style_of_100']:.1f} (chance 50)"
    )
    print(f"{len(asked)} pictures, {arguments.steps} steps, guidance {arguments.guidance}, icons-v1, {seconds:.0f} s")
    if arguments.grid:
        grid(images).save(arguments.grid)
    if arguments.json:
        arguments.json.write_text(json.dumps({**figures, **settings, "extractor": "icons-v1"}, indent=1) + "\n")


if __name__ == "__main__":
    main()
