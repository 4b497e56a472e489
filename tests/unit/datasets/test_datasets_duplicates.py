"""The same picture twice, and nearly the same."""

from __future__ import annotations

import hashlib
import io
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from fedflow.datasets import read_folder
from fedflow.datasets.duplicates import Look, NearGroup, look_of, near_pictures, same_pictures
from fedflow.datasets.pixels import decode
from fedflow.shipped import demo_folder

GREY = bytes([128] * 48)


def look(bits: int, colours: bytes = GREY) -> Look:
    """One whose phash is `bits`; slopes are far from everybody's, as the hash of other bits."""
    return Look(f"{bits:016x}", hashlib.sha256(f"{bits}".encode()).hexdigest()[:16], colours)


def test_same_in_the_order_given() -> None:
    digests = {"a": "1", "b": "2", "c": "1", "d": "3", "e": "2", "f": "1"}
    assert same_pictures(digests) == [("a", "c", "f"), ("b", "e")]


def test_near_is_to_the_first_and_does_not_chain() -> None:
    looks = {"a": look(0), "far": look(2**64 - 1), "b": look(0b111111), "c": look(0b111111111111), "d": look(1 << 63)}
    assert near_pictures(looks) == [NearGroup("a", (("d", 1), ("b", 6)))]
    assert near_pictures(looks, 12) == [NearGroup("a", (("d", 1), ("b", 6), ("c", 12)))]
    assert near_pictures({"b": looks["b"]} | looks)[0] == NearGroup("b", (("a", 6), ("c", 6)))
    assert near_pictures({}) == near_pictures({"a": look(0)}) == []


def test_either_hash_is_enough() -> None:
    one, two = Look("0" * 16, "f" * 16, GREY), Look("f" * 16, "f" * 15 + "e", GREY)
    assert near_pictures({"a": one, "b": two}) == [NearGroup("a", (("b", 1),))]


def test_other_colours_are_another_picture() -> None:
    assert near_pictures({"a": look(0), "b": look(0, bytes([170] * 48))}) == []
    assert len(near_pictures({"a": look(0), "b": look(0, bytes([148] * 48))})) == 1


@pytest.fixture(scope="module")
def icons() -> dict[str, Image.Image]:
    pictures = read_folder(demo_folder() / "client-3", 64).pictures
    return {picture.path.stem: decode(picture.path) for picture in pictures}


def test_what_happens_to_pictures_leaves_them_near(icons: dict[str, Image.Image]) -> None:
    """Scaled, packed as JPEG, brighter by a tenth, cut at the rim: each of 60 icons finds its own."""
    looks: dict[tuple[str, str], Look] = {(name, "icon"): look_of(icon) for name, icon in icons.items()}
    for name, icon in icons.items():
        jpeg = io.BytesIO()
        icon.save(jpeg, "JPEG", quality=70)
        looks[name, "JPEG"] = look_of(Image.open(jpeg).convert("RGB"))
        looks[name, "large"] = look_of(icon.resize((300, 300), Image.Resampling.BICUBIC))
        looks[name, "bright"] = look_of(ImageEnhance.Brightness(icon).enhance(1.1))
        looks[name, "cut"] = look_of(icon.crop((1, 1, 63, 63)))
    firsts = {key: group.first[0] for group in near_pictures(looks) for key, _ in group.others}
    assert all((name, form) in firsts for name in icons for form in ("JPEG", "large", "bright", "cut"))
    strangers = {(name, first) for (name, _), first in firsts.items() if name != first}
    assert strangers <= {("polar-bear", "panda")}, "two that look alike when cut"


def test_ten_thousand_in_seconds() -> None:
    values = np.random.default_rng(0).integers(0, 2**64, 10_000, dtype=np.uint64).tolist()
    looks = {number: look(value) for number, value in enumerate(values)} | {-1: look(values[17] ^ 5)}
    began = time.process_time()
    assert near_pictures(looks) == [NearGroup(17, ((-1, 2),))]
    assert time.process_time() - began < 5
    alike = {number: look(number) for number in range(10_000)}
    assert sum(1 + len(group.others) for group in near_pictures(alike, 16)) == 10_000
