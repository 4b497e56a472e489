"""Widths and heights that a model can draw."""

from __future__ import annotations

from fedflow.client.services import library_shapes
from fedflow.client.store import Store
from fedflow.federation.estimates import USUAL_PIXELS


def multiple(store: Store, model: str) -> int:
    """The pixels that widths and heights of a model's pictures are multiples of.

    Of a model that is not on this machine it is the usual number; the worker looks at what it really is.
    """
    shapes = library_shapes.shapes_here(store, model)
    return USUAL_PIXELS if shapes is None else shapes.pixels_per_latent


def nearest(side_pixels: int, multiple: int) -> int:
    """The width or height nearest to `side_pixels` that is a multiple; of two the larger one."""
    return max(1, (side_pixels + multiple // 2) // multiple) * multiple
