"""`fedflow generate`: pictures from prompts, with any number of adapters."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedflow.errors import AdapterError, ModelError
from fedflow.generation import generate as draw_pictures
from fedflow.generation import parameters_text, save_png
from fedflow.lora import Adapter
from fedflow.models import SAMPLERS, best_device, open_model, read_adapter


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
    size: int | None = None,
    batch_size: int = 16,
) -> list[Path]:
    """Draw `count` pictures per prompt with seeds `seed`, `seed + 1`, ... and write them as PNG into `out`.

    `adapters` are `FILE[:WEIGHT]`, the weight 1 where not given. A file is `NNN-seed-S.png`, NNN the prompt's
    number from 1, and carries its settings. Raises FedFlowError, one line, for what is wrong in what was asked.
    """
    if not prompts or count < 1:
        raise ModelError(f"{len(prompts)} prompts, {count} pictures each: nothing to draw; give at least one of each")
    chosen = [(path, weight, read_adapter(path)[0]) for path, weight in map(split_weight, adapters or [])]
    base = open_model(model).to(best_device())
    side = size or base.resolution
    jobs = [(number, prompt, seed + offset) for number, prompt in enumerate(prompts, 1) for offset in range(count)]
    merging: list[tuple[Adapter, float]] = [(adapter, weight) for _, weight, adapter in chosen]
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        drawing = bars.add_task("drawing", total=len(jobs))
        pictures = draw_pictures(
            base,
            [prompt for _, prompt, _ in jobs],
            [picture_seed for _, _, picture_seed in jobs],
            steps=steps,
            guidance=guidance,
            negative=negative,
            batch_size=batch_size,
            size=side,
            sampler=sampler,
            adapters=merging,
            progress=lambda done, _: bars.update(drawing, completed=done),
        )
    written: list[Path] = []
    for (number, prompt, picture_seed), picture in zip(jobs, pictures, strict=True):
        path = out / f"{number:03d}-seed-{picture_seed}.png"
        settings = parameters_text(
            prompt,
            negative=negative,
            steps=steps,
            sampler=SAMPLERS[sampler][1],
            guidance=guidance,
            seed=picture_seed,
            size=side,
            model_name=base.name,
            model_hash=base.content_hash,
            adapters=[(file.stem, weight) for file, weight, _ in chosen],
        )
        save_png(path, picture, settings)
        written.append(path)
        print(f"Written: {path}")
    return written


def split_weight(argument: str) -> tuple[Path, float]:
    """`FILE[:WEIGHT]` as path and weight; a colon that is part of an existing file's name stays in the name.

    Raises AdapterError where what follows the last colon is no number.
    """
    name, colon, tail = argument.rpartition(":")
    if not colon or Path(argument).is_file():
        return Path(argument), 1.0
    try:
        return Path(name), float(tail)
    except ValueError:
        raise AdapterError(f"adapter '{argument}': weight '{tail}' is not a number; write FILE or FILE:0.8") from None
