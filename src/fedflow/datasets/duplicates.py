"""Pictures that are there twice: the same pixels, or nearly the same to the eye."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import imagehash
import numpy as np
from PIL import Image

# N pictures; 64 bits of a perceptual hash in one uint64

Key = TypeVar("Key", bound=Hashable)
"""What names a picture: a path, a row's number."""

NEAR_BITS = 6
"""Of 64. Resizing and JPEG move a picture by up to 4 bits; different demo icons are 4 apart at the nearest."""
NEAR_COLOURS = 32.0
"""Of 255. The hash sees brightness alone, and a red apple is no green one: colours may differ by this on average."""
COLOUR_GRID = 4
ENOUGH = 128
"""Pixels of the shorter side that a look is taken from: it sees 32x32 of them, and large pictures take long."""


@dataclass(frozen=True)
class Look:
    """What is compared: `phash`, 16 hexadecimal digits; `colours`, a grid of 4x4 RGB bytes."""

    phash: str
    colours: bytes


@dataclass(frozen=True)
class NearGroup(Generic[Key]):
    """Pictures that look like `first`: `others` with the bits, of 64, by which they differ from it, nearest first."""

    first: Key
    others: tuple[tuple[Key, int], ...]


def look_of(image: Image.Image) -> Look:
    """What an RGB picture looks like: DCT hash (ImageHash's `phash`) and colours."""
    small = image.reduce(max(1, min(image.size) // ENOUGH))
    grid = small.resize((COLOUR_GRID, COLOUR_GRID), Image.Resampling.BOX)
    return Look(str(imagehash.phash(small)), grid.tobytes())


def same_pictures(digests: Mapping[Key, str]) -> list[tuple[Key, ...]]:
    """Groups of two and more keys of the same digest, groups and keys in the order of `digests`."""
    groups: dict[str, list[Key]] = {}
    for key, digest in digests.items():
        groups.setdefault(digest, []).append(key)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_pictures(looks: Mapping[Key, Look], near_bits: int = NEAR_BITS) -> list[NearGroup[Key]]:
    """Groups of pictures at most `near_bits` apart from the group's first; each picture is in one group at most.

    The order of `looks` says who comes first: give the best pictures first. Nothing chains: two pictures that look
    like a third, and not like each other, are both listed with the third. 10,000 pictures take under a second.
    """
    keys: Sequence[Key] = list(looks)
    hash_N = np.array([int(look.phash, 16) for look in looks.values()], dtype=np.uint64)
    colours = np.frombuffer(b"".join(look.colours for look in looks.values()), dtype=np.uint8)
    colour_N = colours.reshape(len(keys), -1).astype(np.int16)
    left_M = np.arange(len(keys))  # in no group yet
    groups: list[NearGroup[Key]] = []
    while len(left_M) > 1:
        first, left_M = int(left_M[0]), left_M[1:]
        bits_M = np.bitwise_count(hash_N[left_M] ^ hash_N[first])
        near_M = bits_M <= near_bits
        if not near_M.any():
            continue
        near_M[near_M] = np.abs(colour_N[left_M[near_M]] - colour_N[first]).mean(axis=1) <= NEAR_COLOURS
        others = sorted(zip(bits_M[near_M].tolist(), left_M[near_M].tolist(), strict=True))
        if others:
            groups.append(NearGroup(keys[first], tuple((keys[other], bits) for bits, other in others)))
        left_M = left_M[~near_M]
    return groups
