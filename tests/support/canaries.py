"""A participant's machine full of canaries: in captions, names of files and folders, pictures, and its environment."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

SIDE = 16
WINDOW_BYTES = 24


@dataclass(frozen=True)
class CanaryMachine:
    """Where the pictures and the home are, what the process's environment is, and what must not leave, by name."""

    pictures: Path
    home: Path
    settings: dict[str, str]
    canaries: dict[str, bytes]


def make_machine(folder: Path, name: str, count: int, *, jsonl: bool) -> CanaryMachine:
    """Write `count` pictures of 16x16 with captions, as .txt files or as one metadata.jsonl.

    Even pictures are PNGs with a text chunk, odd ones PNGs with EXIF; a row of pixels spells a canary in RGB.
    """
    named = {
        "parent folder": f"zq{name}elternölordner",
        "folder": f"zq{name}picturefolder",
        "home folder": f"zq{name}homefolder",
        "user": f"zq{name}username",
        "device folder": f"zq{name}devicefolder",
        "environment": f"zq{name}environmentvalue",
    }
    home = folder / named["home folder"]
    pictures = home / named["parent folder"] / named["folder"]
    pictures.mkdir(parents=True)
    canaries = {what: text.encode() for what, text in named.items()}
    lines = []
    for number in range(count):
        caption, file_name = f"zq{name}caption{number}", f"zq{name}file{number}.png"
        canaries |= {f"caption {number}": caption.encode(), f"file name {number}": file_name.encode()}
        path = pictures / file_name
        canaries |= _save_picture(path, name, number)
        text = f"{caption}, red"
        if jsonl:
            lines.append(json.dumps({"file_name": file_name, "text": text}))
        else:
            path.with_suffix(".txt").write_text(text, encoding="utf-8")
    if jsonl:
        (pictures / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "HOME": str(home),
        "USER": named["user"],
        "LOGNAME": named["user"],
        "FEDFLOW_TEST_SECRET": named["environment"],
    }
    return CanaryMachine(pictures, home / named["device folder"], settings, canaries)


def _save_picture(path: Path, name: str, number: int) -> dict[str, bytes]:
    """A picture whose every row of RGB bytes spells its own canary; returns what must not be seen again."""
    rows = [f"zq{name}pixel{number}row{row}".encode().ljust(3 * SIDE, b"*") for row in range(SIDE)]
    pixels_HWC = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(SIDE, SIDE, 3)
    image = Image.fromarray(pixels_HWC)
    hidden = f"zq{name}hidden{number}"
    if number % 2:
        exif = Image.Exif()
        exif[0x010E] = hidden  # ImageDescription
        image.save(path, exif=exif)
    else:
        text = PngInfo()
        text.add_text("Comment", hidden)
        image.save(path, pnginfo=text)
    planes_CHW = pixels_HWC.transpose(2, 0, 1)
    scaled = (pixels_HWC.astype(np.float32) / 127.5 - 1.0)[0]
    content = path.read_bytes()
    found = {
        f"hidden text {number}": hidden.encode(),
        f"pixel row {number}": rows[0],
        f"plane row {number}": planes_CHW[0, 0].tobytes(),
        f"plane column {number}": np.ascontiguousarray(pixels_HWC[:, 0, 0]).tobytes(),
        f"pixels as float32 {number}": scaled.tobytes()[: 2 * WINDOW_BYTES],
        f"pixels as float16 {number}": scaled.astype(np.float16).tobytes()[:WINDOW_BYTES],
        f"packed pixels {number}": zlib.compress(pixels_HWC.tobytes())[2 : 2 + WINDOW_BYTES],
    }
    begin = content.index(b"IDAT")
    for window in range(begin + 4, len(content) - WINDOW_BYTES, 2 * WINDOW_BYTES):
        found[f"file {number} at byte {window}"] = content[window : window + WINDOW_BYTES]
    return found


def windows(name: str, values: bytes, every: int) -> dict[str, bytes]:
    """Pieces of a long value, so that a part of it is seen too; constant ones say nothing and are left out."""
    pieces = {f"{name} at byte {at}": values[at : at + WINDOW_BYTES] for at in range(0, len(values), every)}
    return {what: piece for what, piece in pieces.items() if len(set(piece)) > 8 and len(piece) == WINDOW_BYTES}


def path_with(folder: Path) -> str:
    """PYTHONPATH with `folder` first."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
