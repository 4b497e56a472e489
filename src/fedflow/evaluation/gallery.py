"""The gallery of a run: prompts down, rounds across, as columns of picture files and as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont, UnidentifiedImageError

from fedflow.datasets import caption_tags
from fedflow.evaluation.summary import RunSummary
from fedflow.plan import AGGREGATED, BASE, CENTRAL
from fedflow.storage import write_atomic

MOST_ROUNDS = 6
MOST_PROMPTS = 12

SCALE = 1.5
"""Pixels per unit: the picture is larger than it is shown, so that its text is sharp. Every size in units is even."""
TILE = 96
GAP = 8
PAD = 24
LABEL_WIDTH = 128
HEAD = 32
TITLE_SIZE = 12
NOTE_SIZE = 10
INK = "#1b1d21"
MUTED = "#5a616c"
ACCENT = "#3454d1"
EMPTY = "#eceef1"
BACKGROUND = "#ffffff"


@dataclass(frozen=True)
class Column:
    """One model's (or the real) pictures, one per prompt; None where a picture is missing."""

    title: str
    pictures: tuple[Path | None, ...]
    is_round: bool = False


def gallery_columns(summary: RunSummary, participant: str = AGGREGATED) -> list[Column]:
    """Real, base, `participant` round by round, central: those that there are, of the first seed with pictures.

    At most MOST_ROUNDS rounds are taken, evenly spread, the first and the last among them.
    """
    seed = min((strip.seed for strip in summary.gallery), default=0)
    strips = {
        (strip.participant, strip.round): tuple(picture if picture.is_file() else None for picture in strip.pictures)
        for strip in summary.gallery
        if strip.seed == seed
    }
    columns = []
    if any(summary.real):
        columns.append(Column("real", summary.real))
    columns += [Column("base", pictures) for (name, _), pictures in strips.items() if name == BASE]
    for number in shown_rounds(summary):
        columns.append(Column(f"round {number}", strips.get((participant, number), ()), is_round=True))
    central = [number for name, number in strips if name == CENTRAL]
    if central:
        columns.append(Column("central", strips[CENTRAL, max(central)]))
    return [_filled(column, len(summary.prompts)) for column in columns]


def shown_rounds(summary: RunSummary) -> list[int]:
    """The rounds that the gallery shows."""
    rounds = sorted({strip.round for strip in summary.gallery if strip.participant not in (BASE, CENTRAL)})
    if len(rounds) <= MOST_ROUNDS:
        return rounds
    return [rounds[round(step * (len(rounds) - 1) / (MOST_ROUNDS - 1))] for step in range(MOST_ROUNDS)]


def prompt_label(prompt: str, prompts: Sequence[str]) -> tuple[str, str]:
    """What tells a prompt from the others, for people: its first tag, and the tags that say more than it.

    A first tag that all prompts share (the trigger) is left out.
    """
    tags = caption_tags(prompt)
    if len(prompts) > 1 and len({tuple(caption_tags(other)[:1]) for other in prompts}) == 1 and len(tags) > 1:
        tags = tags[1:]
    first, *others = [tag.replace("_", " ") for tag in tags] or [prompt]
    return first, ", ".join(tag for tag in others if tag not in first)


def gallery_png(path: Path, summary: RunSummary) -> None:
    """Write the aggregated model's gallery as a PNG, its first MOST_PROMPTS prompts, SCALE pixels a unit.

    Raises StorageError where it cannot be written.
    """
    columns = gallery_columns(summary)
    prompts = summary.prompts[:MOST_PROMPTS]
    width = 2 * PAD + LABEL_WIDTH + len(columns) * (TILE + GAP) - (GAP if columns else 0)
    height = 2 * PAD + HEAD + len(prompts) * (TILE + GAP) - (GAP if prompts else 0)
    sheet = Image.new("RGB", (_pixels(width), _pixels(height)), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    last = max((index for index, column in enumerate(columns) if column.is_round), default=None)
    for index, column in enumerate(columns):
        left = PAD + LABEL_WIDTH + index * (TILE + GAP)
        name, colour = ("DejaVuSans-Bold", ACCENT) if index == last else ("DejaVuSans", INK)
        draw.text((_pixels(left), _pixels(PAD)), column.title, colour, _font(name, TITLE_SIZE))
        for row in range(len(prompts)):
            top = PAD + HEAD + row * (TILE + GAP)
            sheet.paste(_tile(column.pictures[row]), (_pixels(left), _pixels(top)))
    for row, prompt in enumerate(prompts):
        _label(draw, PAD + HEAD + row * (TILE + GAP), prompt_label(prompt, summary.prompts))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    write_atomic(path, buffer.getvalue())


def _label(draw: ImageDraw.ImageDraw, top: int, label: tuple[str, str]) -> None:
    """The prompt's first tag, and the others below it, in the middle of the row's height."""
    first, others = label
    title, note = _font("DejaVuSans", TITLE_SIZE), _font("DejaVuSans", NOTE_SIZE)
    room = LABEL_WIDTH - 2 * GAP
    lines = [(text, title, INK) for text in _wrapped(first, title, room)]
    lines += [(text, note, MUTED) for text in _wrapped(others, note, room)]
    heights = [round(font.size / SCALE * 1.4) for _, font, _ in lines]
    y = top + (TILE - sum(heights)) // 2
    for (text, font, colour), height in zip(lines, heights, strict=True):
        draw.text((_pixels(PAD), _pixels(y)), text, colour, font)
        y += height


def _wrapped(text: str, font: ImageFont.FreeTypeFont, room: int) -> list[str]:
    """`text` in at most two lines of `room` units, cut with an ellipsis."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= room * SCALE:
            lines[-1] = longer
        else:
            lines.append(word)
    cut = [*lines[:1], " ".join(lines[1:])] if len(lines) > 1 else lines
    return [_cut(line, font, room) for line in cut]


def _cut(line: str, font: ImageFont.FreeTypeFont, room: int) -> str:
    if font.getlength(line) <= room * SCALE:
        return line
    while line and font.getlength(line + "…") > room * SCALE:
        line = line[:-1]
    return line.rstrip(" ,") + "…"


def _tile(picture: Path | None) -> Image.Image:
    """The picture at the tile's size over white; a grey tile where there is none or it cannot be read."""
    side = _pixels(TILE)
    if picture is not None:
        try:
            with Image.open(picture) as image:
                return image.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        except (OSError, UnidentifiedImageError):
            pass
    return Image.new("RGB", (side, side), EMPTY)


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that matplotlib ships, `size` units high."""
    return ImageFont.truetype(str(Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), _pixels(size))


def _pixels(units: int) -> int:
    return round(units * SCALE)


def _filled(column: Column, count: int) -> Column:
    pictures = (*column.pictures, *[None] * count)[:count]
    return Column(column.title, pictures, column.is_round)
