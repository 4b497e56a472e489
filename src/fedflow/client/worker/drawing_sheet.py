"""A grid of pictures as one PNG, each row and column with its heading as the pictures' own settings name it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from fedflow.client.services import drawings, library
from fedflow.client.services.drawings import Axis, DrawRequest
from fedflow.client.store import Store
from fedflow.models import SAMPLERS
from fedflow.storage import write_atomic

LETTERS_PIXELS = 16
GAP_PIXELS = 8
LEAST_CELL_PIXELS = 128
MOST_CELL_PIXELS = 512
"""Of a picture's longer side."""
MOST_HEADING = 40
NAMES = {"seed": "Seed", "steps": "Steps", "guidance": "CFG scale", "sampler": "Sampler", "weight": "Weight"}
"""As `fedflow.generation.parameters_text` writes them, which other tools read."""


def write_sheet(store: Store, job_id: str, request: DrawRequest) -> None:
    """Write the grid of a job whose pictures are all drawn."""
    if request.across is None:
        return
    columns = [_heading(store, request.across, value) for value in request.across.values]
    rows = [""] if request.down is None else [_heading(store, request.down, value) for value in request.down.values]
    shown = {each.made_from["cell"]: each for each in drawings.of_job(store, job_id)}
    letters = ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), LETTERS_PIXELS
    )
    widest = max(letters.getlength(text) for text in columns)
    sizes = _fitted({number: (each.width, each.height) for number, each in shown.items()})
    cell = max(int(widest), *(size[0] for size in sizes.values())), max(size[1] for size in sizes.values())
    left = int(max(letters.getlength(text) for text in rows)) + 2 * GAP_PIXELS
    top = LETTERS_PIXELS + 2 * GAP_PIXELS
    across, down = cell[0] + GAP_PIXELS, cell[1] + GAP_PIXELS
    sheet = Image.new("RGB", (left + across * len(columns), top + down * len(rows)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, text in enumerate(columns):
        pen.text((left + across * place + cell[0] // 2, top // 2), text, "black", letters, anchor="mm")
    for place, text in enumerate(rows):
        pen.text((GAP_PIXELS, top + down * place + cell[1] // 2), text, "black", letters, anchor="lm")
    for number, drawing in shown.items():
        row, column = divmod(number, len(columns))
        with Image.open(store.blobs.get(drawing.sha256)) as picture:
            resized = picture.convert("RGB").resize(sizes[number], Image.Resampling.LANCZOS)
        beside, above = ((cell[side] - resized.size[side]) // 2 for side in (0, 1))
        sheet.paste(resized, (left + across * column + beside, top + down * row + above))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path = drawings.sheet_file(store, job_id)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _fitted(sizes: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Width and height of each picture as it is shown: the longer sides are the same, whatever model drew it."""
    longest = min(max(LEAST_CELL_PIXELS, *map(max, sizes.values())), MOST_CELL_PIXELS)
    scales = {number: longest / max(size) for number, size in sizes.items()}
    return {
        number: (max(1, round(width * scales[number])), max(1, round(height * scales[number])))
        for number, (width, height) in sizes.items()
    }


def _heading(store: Store, axis: Axis, value: str) -> str:
    if axis.kind == "adapter":
        row = library.one(store, value)
        return (row.name if row else "-")[:MOST_HEADING]
    if axis.kind == "model":
        return library.called(store, value)[:MOST_HEADING]
    if axis.kind == "prompt":
        return value[:MOST_HEADING]
    return f"{NAMES[axis.kind]}: {SAMPLERS[value][1] if axis.kind == 'sampler' else value}"
