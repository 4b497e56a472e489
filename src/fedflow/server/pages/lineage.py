"""Where a version comes from and what was made from it, as a drawing: boxes from the base model down.

The drawing is SVG with classes alone, since the pages' policy lets no style attribute count. It has one width, which a
narrow screen shows whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MOST_BEFORE, KEPT = 6, 5
"""So many are drawn; of more than that the first and the last ones."""

WIDTH, LEFT, BOX_WIDTH, BOX_HEIGHT, GAP, INDENT = 340, 1, 300, 48, 22, 36
LONGEST = 34


@dataclass(frozen=True)
class Step:
    """A version in the line: what it is called, how it came about, and where its page is; none of what is hidden."""

    title: str
    how: str
    href: str | None
    role: Literal["before", "here", "after", "folded"]


@dataclass(frozen=True)
class Box:
    """A step with its place in the drawing, in units of its width; `path` is the line that leads to it, if any."""

    step: Step
    x: int
    y: int
    width: int
    title: str
    path: str


@dataclass(frozen=True)
class Drawing:
    """All boxes, and the size that they take."""

    boxes: tuple[Box, ...]
    height: int
    width: int = WIDTH
    box_height: int = BOX_HEIGHT


def folded(before: Sequence[Step], words: str) -> list[Step]:
    """The steps before, oldest first; of a long line the first, the last ones, and one step in the place of others."""
    if len(before) <= MOST_BEFORE:
        return list(before)
    return [before[0], Step(words, "", None, "folded"), *before[1 - KEPT :]]


def drawing(steps: Sequence[Step]) -> Drawing:
    """Boxes one below the other; what was made from the version stands indented under it."""
    boxes: list[Box] = []
    above, y = 0, LEFT
    for step in steps:
        x = LEFT + (INDENT if step.role == "after" else 0)
        middle = y + BOX_HEIGHT // 2
        if not boxes:
            path = ""
        elif step.role == "after":
            path = f"M{LEFT + 16} {above}V{middle}H{x}"
        else:
            path = f"M{LEFT + 16} {above}V{y}"
        width = BOX_WIDTH - (INDENT if step.role == "after" else 0)
        boxes.append(Box(step, x, y, width, shortened(step.title), path))
        if step.role != "after":
            above = y + BOX_HEIGHT
        y += BOX_HEIGHT + GAP
    return Drawing(tuple(boxes), y - GAP + LEFT)


def shortened(title: str) -> str:
    """As much of a title as a box holds."""
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1]}…"
