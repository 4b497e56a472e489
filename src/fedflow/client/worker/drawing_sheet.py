"""A grid of pictures as one PNG, each row and column with its heading as the pictures' own settings name it."""

from __future__ import annotations

import io
from collections.abc import Sequence
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
    size = _fitted([(each.width, each.height) for each in shown.values()])
    cell = max(size[0], int(widest)), size[1]
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
            resized = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        sheet.paste(resized, (left + across * column + (cell[0] - size[0]) // 2, top + down * row))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    path = drawings.sheet_file(store, job_id)
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, buffer.getvalue())


def _fitted(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Width and height of the grid's pictures, which are all of one size, as they are shown in it."""
    width, height = max(sizes, default=(1, 1))
    scale = min(max(width, height, LEAST_CELL_PIXELS), MOST_CELL_PIXELS) / max(width, height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _heading(store: Store, axis: Axis, value: str) -> str:
    if axis.kind == "adapter":
        row = library.one(store, value)
        return (row.name if row else "-")[:MOST_HEADING]
    return f"{NAMES[axis.kind]}: {SAMPLERS[value][1] if axis.kind == 'sampler' else value}"
