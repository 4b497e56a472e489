"""`fedflow generate`: pictures from prompts, with any number of adapters."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedflow.cli.memory import lacks
from fedflow.cli.out_folder import out_folder
from fedflow.cli.start_files import read_start
from fedflow.errors import AdapterError, ModelError, RunError, lacking_memory
from fedflow.generation import generate as draw_pictures
from fedflow.generation import parameters_text, save_png
from fedflow.models import SAMPLERS, BaseModel, best_device, open_model, read_adapter

NAME = re.compile(r"(\d+)-seed-\d+\.png")


def generate(
    model: str,
    prompts: list[str],
    out: Path,
    *,
    adapters: list[str] | None = None,
    seed: int = 0,
    count: int = 1,
    steps: int = 12,
    guidance: float = 3.0,
    negative: str = "",
    sampler: str = "unipc",
    width: int | None = None,
    height: int | None = None,
    batch_size: int = 16,
    start: Path | None = None,
    mask: Path | None = None,
    strength: float | None = None,
) -> list[Path]:
    """Draw `count` pictures per prompt with seeds `seed`, `seed + 1`, ... and write them as PNG into `out`.

    `adapters` are `FILE[:WEIGHT]`, the weight 1 where not given. A file is `NNN-seed-S.png`, NNN the prompt's
    number, counted on from the largest that is in `out`, so that no picture is replaced; it carries its settings and
    is written when its batch is drawn. `start` is drawn over, with `strength`, and only where `mask` is white if there
    is one. Raises FedFlowError, one line, for what is wrong in what was asked; KeyboardInterrupt comes back with a
    message that says what was written.
    """
    if not prompts or count < 1:
        raise ModelError(f"{len(prompts)} prompts, {count} pictures each: nothing to draw; give at least one of each")
    chosen = [(path, weight, read_adapter(path)[0]) for path, weight in map(split_weight, adapters or [])]
    if sampler not in SAMPLERS:
        raise ModelError(f"sampler '{sampler}' is unknown; choose one of {', '.join(SAMPLERS)}")
    over = read_start(start, mask, strength)
    begun: list[Path] = []
    with out_folder(out):
        first = _next_number(out)
        with lacking_memory(lambda: lacks("take a smaller --model")):
            base = open_model(model).to(best_device())
        size = base.picture_size(width, height)
        jobs = [
            (number, prompt, seed + offset) for number, prompt in enumerate(prompts, first) for offset in range(count)
        ]
        begins = None if over is None else over.at(size, len(jobs))
        columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bars = Progress(*columns, console=Console(stderr=True))
        drawing = bars.add_task("drawing", total=len(jobs))

        def write(start: int, pictures: npt.NDArray[np.uint8]) -> None:
            for (number, prompt, picture_seed), picture in zip(jobs[start:], pictures, strict=False):
                path = out / f"{number:03d}-seed-{picture_seed}.png"
                if path.exists():
                    raise RunError(f"{path}: was written by another command meanwhile; run the same command again")
                settings = parameters_text(
                    prompt,
                    negative=negative,
                    steps=steps,
                    sampler=SAMPLERS[sampler][1],
                    guidance=guidance,
                    seed=picture_seed,
                    size=size,
                    model_name=base.name,
                    model_hash=base.content_hash,
                    adapters=[(file.stem, weight) for file, weight, _ in chosen],
                    strength=None if over is None else over.strength,
                )
                begun.append(path)
                save_png(path, picture, settings)

        try:
            with bars, lacking_memory(lambda: _too_large(base, size, min(batch_size, len(jobs)))):
                draw_pictures(
                    base,
                    [prompt for _, prompt, _ in jobs],
                    [picture_seed for _, _, picture_seed in jobs],
                    steps=steps,
                    guidance=guidance,
                    negative=negative,
                    batch_size=batch_size,
                    size=size,
                    sampler=sampler,
                    adapters=[(adapter, weight) for _, weight, adapter in chosen],
                    progress=lambda done, _: bars.update(drawing, completed=done),
                    take=write,
                    start=begins,
                )
        except KeyboardInterrupt:
            whole = sum(path.exists() for path in begun)
            raise KeyboardInterrupt(f"stopped; {whole} of {len(jobs)} pictures are written in {out}") from None
        finally:
            for path in begun:
                if path.exists():
                    print(f"Written: {path}")
    return begun


def _too_large(base: BaseModel, size: tuple[int, int], at_once: int) -> RunError:
    width, height = base.halved(size)
    smaller = f"--batch-size {at_once // 2}" if at_once > 1 else f"--width {width} --height {height}"
    return lacks(f"give {smaller}")


def _next_number(out: Path) -> int:
    """The number after the largest that a picture in `out` has, 1 where there is none."""
    found = (NAME.fullmatch(path.name) for path in out.iterdir())
    return max((int(match[1]) for match in found if match), default=0) + 1


def split_weight(argument: str) -> tuple[Path, float]:
    """`FILE[:WEIGHT]` as path and weight; a colon that is part of an existing file's name stays in the name.

    Raises AdapterError where what follows the last colon is no finite number.
    """
    name, colon, tail = argument.rpartition(":")
    if not colon or Path(argument).is_file():
        return Path(argument), 1.0
    try:
        weight = float(tail)
    except ValueError:
        raise AdapterError(f"adapter '{argument}': weight '{tail}' is not a number; write FILE or FILE:0.8") from None
    if not math.isfinite(weight):
        raise AdapterError(f"adapter '{argument}': weight {tail} is not finite; write FILE or FILE:0.8")
    return Path(name), weight
