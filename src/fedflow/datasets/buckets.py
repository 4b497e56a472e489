"""Aspect-ratio buckets: sizes of about one area, and which of them cuts least off a picture.

They are shown and not trained on: training takes the middle square of each picture (`pixels.load_pixels`), since all
latents of a training lie in one tensor of one height and width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UNIT = 64
MOST_ASPECT = 3.0


@dataclass(frozen=True, order=True)
class Bucket:
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Share:
    """A bucket's pictures: their number, and which part of the area is cut off, on average, in it and by the square."""

    bucket: Bucket
    num_pictures: int
    cut_in_bucket: float
    cut_by_square: float


def buckets_for(size: int, unit: int = UNIT, most_aspect: float = MOST_ASPECT) -> tuple[Bucket, ...]:
    """All sizes whose sides are multiples of `unit`, at most `size` * `size` pixels in area, as large as that lets them
    be, and up to `most_aspect` : 1 either way; the narrowest first.

    Raises ValueError where not even one unit fits.
    """
    if not 0 < unit <= size:
        raise ValueError(f"unit {unit}: must be 1 to {size}, the size")
    found = {Bucket(size // unit * unit, size // unit * unit)}
    for width in range(unit, size * size // unit + 1, unit):
        height = size * size // width // unit * unit
        if height and max(width / height, height / width) <= most_aspect:
            found |= {Bucket(width, height), Bucket(height, width)}
    return tuple(sorted(found, key=lambda bucket: (bucket.width / bucket.height, bucket.width)))


def bucket_of(width: int, height: int, buckets: Sequence[Bucket]) -> Bucket:
    """The bucket nearest in aspect to a picture of `width` x `height` pixels; of equals the larger."""
    aspect = math.log(width / height)
    return min(
        buckets,
        key=lambda bucket: (abs(math.log(bucket.width / bucket.height) - aspect), -bucket.width * bucket.height),
    )


def cut_off(width: int, height: int, bucket: Bucket) -> float:
    """Which part of a picture's area, 0 to 1, falls away where it is scaled to cover `bucket` and its middle taken."""
    scale = max(bucket.width / width, bucket.height / height)
    return 1.0 - bucket.width * bucket.height / (width * height * scale * scale)


def shares(sizes: Iterable[tuple[int, int]], buckets: Sequence[Bucket]) -> list[Share]:
    """What falls into each bucket, of pictures of these widths and heights; the fullest first, empty ones left out."""
    square = Bucket(1, 1)
    cuts: dict[Bucket, list[tuple[float, float]]] = {}
    for width, height in sizes:
        bucket = bucket_of(width, height, buckets)
        cuts.setdefault(bucket, []).append((cut_off(width, height, bucket), cut_off(width, height, square)))
    return [
        Share(bucket, len(cut), sum(one for one, _ in cut) / len(cut), sum(two for _, two in cut) / len(cut))
        for bucket, cut in sorted(cuts.items(), key=lambda item: (-len(item[1]), item[0]))
    ]
