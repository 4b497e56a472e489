"""Fetches the icon sets from npm and renders them: 64x64 RGB on white, by resvg."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

PACKAGES = {
    "noto": "@iconify-json/noto@1.2.9",
    "twemoji": "@iconify-json/twemoji@1.2.5",
    "fluent-emoji-flat": "@iconify-json/fluent-emoji-flat@1.2.6",
}
PICTURE_SIZE = 64


@dataclass(frozen=True)
class IconSet:
    """One icon set: SVG bodies, aliases and categories as iconify gives them."""

    name: str
    icons: dict[str, dict[str, object]]
    aliases: dict[str, dict[str, object]]
    categories: dict[str, str]
    width: int
    height: int

    def svg(self, icon: str) -> str:
        """The SVG text of `icon` (an alias is followed); KeyError where the set has none."""
        seen = icon
        while seen not in self.icons:
            seen = str(self.aliases[seen]["parent"])
        body = self.icons[seen]
        box = [body.get("left", 0), body.get("top", 0), body.get("width", self.width), body.get("height", self.height)]
        view = " ".join(str(number) for number in box)
        return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}">{body["body"]}</svg>'

    def render(self, icon: str, size: int = PICTURE_SIZE) -> np.ndarray:
        """`icon` as uint8 (size, size, 3) on white."""
        png = bytes(resvg_py.svg_to_bytes(svg_string=self.svg(icon), width=size, height=size, background="white"))
        picture = Image.open(io.BytesIO(png)).convert("RGB")
        if picture.size != (size, size):
            canvas = Image.new("RGB", (size, size), "white")
            canvas.paste(picture, ((size - picture.width) // 2, (size - picture.height) // 2))
            picture = canvas
        return np.asarray(picture)


def fetch(work: Path) -> dict[str, IconSet]:
    """All icon sets, downloaded with `npm pack` into `work` where they are not there yet."""
    return {name: _icon_set(name, package, work) for name, package in PACKAGES.items()}


def _icon_set(name: str, package: str, work: Path) -> IconSet:
    folder = work / "npm" / name
    if not (folder / "icons.json").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        packed = (
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True)
            .stdout.strip()
            .splitlines()[-1]
        )
        with tarfile.open(folder / packed) as archive:
            for member in ("metadata.json", "icons.json"):
                content = archive.extractfile(f"package/{member}")
                assert content is not None
                (folder / member).write_bytes(content.read())
    icons = json.loads((folder / "icons.json").read_text())
    metadata = json.loads((folder / "metadata.json").read_text())
    return IconSet(
        name=name,
        icons=icons["icons"],
        aliases=icons.get("aliases", {}),
        categories={icon: category for category, names in metadata["categories"].items() for icon in names},
        width=icons.get("width", 16),
        height=icons.get("height", 16),
    )
