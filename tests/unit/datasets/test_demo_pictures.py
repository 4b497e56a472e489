"""The demo pictures that are shipped: counts, label skew, and nothing on both sides."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest

from fedflow.datasets import Dataset, caption_tags, load_pixels, read_folder
from fedflow.shipped import demo_folder

CLIENTS = {
    "client-1": ("activity", 20),
    "client-2": ("travel", 40),
    "client-3": ("nature", 60),
    "client-4": ("food", 40),
    "client-5": ("object", 40),
}
# Words that two different things may share: a rice ball is no crystal ball.
UNTELLING_WORDS = {"and", "ball", "face", "glasses", "hot", "ice", "leaf", "light", "ring", "roller", "t", "with"}


@pytest.fixture(scope="module")
def parts() -> dict[str, Dataset]:
    return {name: read_folder(demo_folder() / name, 64) for name in (*CLIENTS, "heldout")}


def concepts(dataset: Dataset) -> set[str]:
    return {picture.path.stem for picture in dataset.pictures}


def words(names: set[str]) -> set[str]:
    return {word for name in names for word in name.split("-")}


def test_the_folders_are_these_and_no_others() -> None:
    entries = sorted(entry.name for entry in demo_folder().iterdir())
    assert entries == ["LICENSE.txt", *CLIENTS, "heldout"]
    assert "Copyright (c) Microsoft Corporation." in (demo_folder() / "LICENSE.txt").read_text()


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_has_its_own_category(parts: dict[str, Dataset], client: str) -> None:
    category, count = CLIENTS[client]
    assert Counter(caption_tags(picture.caption)[-1] for picture in parts[client].pictures) == {category: count}


def test_held_out_has_as_many_of_each_category_as_the_clients(parts: dict[str, Dataset]) -> None:
    assert Counter(caption_tags(picture.caption)[-1] for picture in parts["heldout"].pictures) == dict(CLIENTS.values())


def test_no_concept_stands_twice(parts: dict[str, Dataset]) -> None:
    for one, other in itertools.combinations(parts.values(), 2):
        assert concepts(one).isdisjoint(concepts(other))


def test_what_shows_the_same_thing_stands_on_one_side(parts: dict[str, Dataset]) -> None:
    training = set().union(*(concepts(parts[client]) for client in CLIENTS))
    held_out = concepts(parts["heldout"])
    assert words(training) & words(held_out) == UNTELLING_WORDS
    for family in (
        {"dog", "dog-face", "poodle"},
        {"mouse", "mouse-face", "rat"},
        {"chicken", "rooster", "hatching-chick"},
        {"glasses", "sunglasses", "goggles"},
        {"melon", "watermelon"},
        {"watch", "stopwatch"},
    ):
        assert family <= training or family <= held_out


def test_pictures_and_captions(parts: dict[str, Dataset]) -> None:
    for dataset in parts.values():
        assert dataset.problems == ()
        for picture in dataset.pictures:
            concept = picture.path.stem.replace("-", "_")
            assert caption_tags(picture.caption)[:2] == ["fluent_style", concept]
            assert (picture.path.suffix, picture.width, picture.height) == (".png", 64, 64)
    apple = next(picture for picture in parts["heldout"].pictures if picture.path.stem == "red-apple")
    assert apple.caption == "fluent_style, red_apple, red, apple, food"
    pixels = load_pixels(apple, 64)
    assert pixels[0, 0].tolist() == [255, 255, 255]
    red, green, _ = pixels[32, 32].tolist()
    assert red > 200
    assert green < 100


def test_no_two_pictures_are_the_same(parts: dict[str, Dataset]) -> None:
    paths: list[Path] = [picture.path for dataset in parts.values() for picture in dataset.pictures]
    assert len(paths) == 400
    assert len({path.read_bytes() for path in paths}) == 400
