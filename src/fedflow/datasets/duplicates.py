"""Pictures that are there twice: the same pixels, or nearly the same to the eye."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import imagehash
import numpy as np
from PIL import Image

# N pictures, M of them in no group yet; 64 bits of a perceptual hash in one uint64

Key = TypeVar("Key", bound=Hashable)
"""What names a picture: a path, a row's number."""

NEAR_BITS = 6
"""Of 64. With it, scaling, JPEG, cropping a pixel's rim and a tenth more light leave 99% of the demo icons near to
themselves by one of the two hashes (by the first alone 93%), and two of their 79,800 pairs near to each other."""
NEAR_COLOURS = 24.0
"""Of 255. Hashes see brightness alone, and a red apple is no green one: colours may differ by this on average."""
COLOUR_GRID = 4
ENOUGH = 128
"""Pixels of the shorter side that a look is taken from: it sees 32x32 of them, and large pictures take long."""


@dataclass(frozen=True)
class Look:
    """What is compared: `phash` (frequencies) and `dhash` (slopes), 16 hexadecimal digits each; `colours`, a grid of
    4x4 RGB bytes. A symmetrical icon lacks half of the frequencies, and a plain picture slopes."""

    phash: str
    dhash: str
    colours: bytes


@dataclass(frozen=True)
class NearGroup(Generic[Key]):
    """Pictures that look like `first`: `others`, nearest first, with the bits of 64 in which a hash is another."""

    first: Key
    others: tuple[tuple[Key, int], ...]


def look_of(image: Image.Image) -> Look:
    """What an RGB picture looks like; the hashes are ImageHash's."""
    small = image.reduce(max(1, min(image.size) // ENOUGH))
    grid = small.resize((COLOUR_GRID, COLOUR_GRID), Image.Resampling.BOX)
    return Look(str(imagehash.phash(small)), str(imagehash.dhash(small)), grid.tobytes())


def same_pictures(digests: Mapping[Key, str]) -> list[tuple[Key, ...]]:
    """Groups of two and more keys of the same digest, groups and keys in the order of `digests`."""
    groups: dict[str, list[Key]] = {}
    for key, digest in digests.items():
        groups.setdefault(digest, []).append(key)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def near_pictures(looks: Mapping[Key, Look], near_bits: int = NEAR_BITS) -> list[NearGroup[Key]]:
    """Groups of pictures of which a hash is at most `near_bits` from the first's; each is in one group at most.

    The order of `looks` says who comes first: give the best pictures first. Nothing chains: two pictures that look
    like a third, and not like each other, are both listed with the third. 10,000 pictures take under a second.
    """
    keys = list(looks)
    phash_M = np.array([int(look.phash, 16) for look in looks.values()], dtype=np.uint64)
    dhash_M = np.array([int(look.dhash, 16) for look in looks.values()], dtype=np.uint64)
    colour_N = np.array([list(look.colours) for look in looks.values()], dtype=np.int16)
    left_M = np.arange(len(keys))
    groups: list[NearGroup[Key]] = []
    while len(left_M) > 1:
        phash, dhash, first = phash_M[0], dhash_M[0], int(left_M[0])
        phash_M, dhash_M, left_M = phash_M[1:], dhash_M[1:], left_M[1:]
        bits_M = np.minimum(np.bitwise_count(phash_M ^ phash), np.bitwise_count(dhash_M ^ dhash))
        near_M = bits_M <= near_bits
        if near_M.any():
            near_M[near_M] = np.abs(colour_N[left_M[near_M]] - colour_N[first]).mean(axis=1) <= NEAR_COLOURS
            others = sorted(zip(bits_M[near_M].tolist(), left_M[near_M].tolist(), strict=True))
            if others:
                groups.append(NearGroup(keys[first], tuple((keys[other], bits) for bits, other in others)))
            phash_M, dhash_M, left_M = phash_M[~near_M], dhash_M[~near_M], left_M[~near_M]
    return groups
