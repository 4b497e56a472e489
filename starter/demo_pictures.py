"""Makes the demo pictures: 200 for five clients and 200 held out, in a style that the starter never saw.

Every client has a category of its own (label skew); the held-out pictures are other concepts of the
vocabulary, as many of each category as the clients have. Concepts that show the same animal or thing
(cat and cat-face, red-apple and green-apple) are a family, and a family stands on one side only.

`python -m starter.demo_pictures --work DIR` writes the folders anew, the same bytes each time.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image

from starter import art, pictures, vocabulary

STYLE = "fluent-emoji-flat"
CLIENTS = {
    "client-1": ("activity", 20),
    "client-2": ("travel", 40),
    "client-3": ("nature", 60),
    "client-4": ("food", 40),
    "client-5": ("object", 40),
}
HELD_OUT = "heldout"
SEED = 20260103
OUT = Path("src/fedflow/data/demo")

JOINING_WORDS = re.compile(r"-(?:with|of|behind|in|on|and|o)-")

# Names whose last word before a joining word does not say what they show, by what they share.
SHARED = {
    "ball-game": "american-football rugby-football",
    "beetle": "beetle lady-beetle bug",
    "cake": "birthday-cake shortcake cupcake",
    "car": "automobile taxi police-car racing-car police-car-light",
    "cherry": "cherries cherry-blossom",
    "chicken": "chicken rooster hatching-chick",
    "clover": "four-leaf-clover shamrock",
    "computer": "desktop-computer laptop",
    "dog": "dog dog-face poodle",
    "egg": "egg nest-with-eggs",
    "fireworks": "firecracker fireworks sparkler",
    "fish": "fish tropical-fish blowfish",
    "glass": "clinking-glasses wine-glass cocktail-glass tumbler-glass glass-of-milk",
    "hot-dog": "hot-dog",
    "knife": "kitchen-knife fork-and-knife dagger",
    "melon": "melon watermelon",
    "motorcycle": "motorcycle motor-scooter kick-scooter",
    "mouse": "mouse mouse-face rat",
    "phone": "telephone mobile-phone",
    "pig": "pig pig-face boar",
    "rice": "cooked-rice rice-ball",
    "satellite": "satellite satellite-antenna",
    "spectacles": "glasses sunglasses goggles",
    "spider": "spider spider-web",
    "sky": "sun sun-with-face sun-behind-cloud cloud cloud-with-rain",
    "train": "train bullet-train locomotive",
    "watch": "watch stopwatch",
}
FAMILY = {name: family for family, names in SHARED.items() for name in names.split()}


def family(name: str) -> str:
    """What `name` shows: `red-apple` and `green-apple` are apples, `cat-face` is a cat."""
    if name in FAMILY:
        return FAMILY[name]
    head = JOINING_WORDS.split(name)[0].removesuffix("-face")
    return head.rsplit("-", 1)[-1]


def split(concepts: dict[str, str]) -> dict[str, list[str]]:
    """Folder name to concepts, sorted: the five clients and, stratified alike, the held-out ones.

    `concepts` maps icon names to category tags. Families are dealt out whole, the large ones first.
    """
    families: dict[str, list[str]] = defaultdict(list)
    for name in concepts:
        families[family(name)].append(name)
    order = sorted(families)
    chance = random.Random(SEED)
    chance.shuffle(order)
    order.sort(key=lambda key: -len(families[key]))

    client_of = {category: client for client, (category, _) in CLIENTS.items()}
    room = {side: Counter(dict(CLIENTS.values())) for side in ("train", HELD_OUT)}
    parts: dict[str, list[str]] = {folder: [] for folder in (*CLIENTS, HELD_OUT)}
    for key in order:
        needs = Counter(concepts[name] for name in families[key])
        sides = [side for side in room if needs <= room[side]]
        if not sides:
            continue
        side = chance.choices(sides, weights=[room[side].total() for side in sides])[0]
        room[side] -= needs
        for name in families[key]:
            parts[client_of[concepts[name]] if side == "train" else HELD_OUT].append(name)
    assert not any(left.total() for left in room.values()), f"families do not fill both sides: {room}"
    return {folder: sorted(names) for folder, names in parts.items()}


def write(icons: art.IconSet, concepts: dict[str, str], out: Path) -> None:
    """Write `NAME.png` and `NAME.txt` of every concept of the split into `out`."""
    for folder, names in split(concepts).items():
        place = out / folder
        if place.is_dir():
            shutil.rmtree(place)
        place.mkdir(parents=True)
        for name in names:
            Image.fromarray(icons.render(name)).save(place / f"{name}.png", optimize=True)
            tags = vocabulary.caption_tags(name, concepts[name], STYLE)
            (place / f"{name}.txt").write_text(", ".join(tags) + "\n", encoding="utf-8")
        print(f"{place}: {len(names)} pictures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter-work"))
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    sets = art.fetch(given.work)
    write(sets[STYLE], pictures.vocabulary_of(sets), given.out)


if __name__ == "__main__":
    main()
