"""`fedflow train` and `fedflow generate`, as options and help alone."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Schedule(StrEnum):
    """How the learning rate goes over the steps."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Precision(StrEnum):
    """What training computes in."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Sampler(StrEnum):
    """How pictures are drawn."""

    DPM = "dpm++"
    UNIPC = "unipc"
    DDIM = "ddim"
    EULER = "euler"
    EULER_A = "euler-a"


# The largest that every random number generator takes.
MAX_SEED = 2**63 - 1


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"must be a finite number, not {value}")
    return value


def _above_0(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"must be a finite number above 0, not {value:g}")
    return value


def _rate(value: float) -> float:
    _above_0(value)
    if value > 1:
        raise typer.BadParameter(f"must be at most 1, not {value:g}")
    return value


ModelOption = Annotated[
    str, typer.Option(help="Base model: 'starter', a diffusers folder, a .safetensors file or a hub name.")
]


def train(
    data: Annotated[Path, typer.Argument(help="Folder of pictures with captions (same name, .txt).")],
    out: Annotated[Path, typer.Option(help="Folder for the result; the same folder again goes on where it stopped.")],
    model: ModelOption = "starter",
    rank: Annotated[
        int | None, typer.Option(help="Rank of the LoRA adapter; 16 where not given.", min=1, max=1024)
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Strength is alpha/rank; the rank where not given.", callback=_above_0)
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the pictures.", min=1)] = 10,
    batch_size: Annotated[int, typer.Option(help="Pictures per batch.", min=1)] = 8,
    accumulation: Annotated[int, typer.Option(help="Batches per step.", min=1)] = 1,
    learning_rate: Annotated[float, typer.Option(help="AdamW's learning rate, at most 1.", callback=_rate)] = 1e-3,
    schedule: Annotated[Schedule, typer.Option(help="Learning rate over the steps.")] = Schedule.CONSTANT,
    warmup_steps: Annotated[int, typer.Option(help="Steps over which the rate rises at first.", min=0)] = 0,
    min_snr_gamma: Annotated[float, typer.Option(help="Clamp of the Min-SNR loss weight.", callback=_above_0)] = 5.0,
    weight_floor: Annotated[float, typer.Option(help="Smallest loss weight of a noise level.", min=0, max=1)] = 0.25,
    caption_dropout: Annotated[float, typer.Option(help="Share of examples without caption.", min=0, max=0.99)] = 0.1,
    precision: Annotated[
        Precision, typer.Option(help="What is computed in; 'auto' is the fastest that trains as well.")
    ] = Precision.AUTO,
    seed: Annotated[int, typer.Option(help="Every random number follows from it.", min=0, max=MAX_SEED)] = 0,
    trigger: Annotated[str | None, typer.Option(help="Tag put in front of captions that lack it.")] = None,
    size: Annotated[
        int | None, typer.Option(help="Side of the pictures in pixels; the model's where not given.", min=1)
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Adapter file to go on from; its own rank and strength are kept.")
    ] = None,
    flip: Annotated[bool, typer.Option(help="Train on mirror images too.")] = True,
    text_encoder: Annotated[
        bool, typer.Option("--text-encoder", help="Adapt the text encoder's attention too.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Train the whole UNet, no adapter.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.", min=1)] = 50,
    sample: Annotated[
        str, typer.Option(help="What is drawn on the way and at the end to see how it goes, into OUT/samples.")
    ] = "",
    sample_every: Annotated[
        int | None, typer.Option(help="Steps between two such pictures; 100 where not given.", min=1)
    ] = None,
) -> None:
    """Train a LoRA adapter, or the whole UNet, on one folder of pictures; those that cannot be used are named.

    Memory, time and disk that it will take are told before it starts.
    """
    from fedflow.cli.train import train as run

    run(
        model,
        data,
        out,
        rank=rank,
        alpha=alpha,
        epochs=epochs,
        batch_size=batch_size,
        accumulation=accumulation,
        learning_rate=learning_rate,
        schedule=schedule.value,
        warmup_steps=warmup_steps,
        min_snr_gamma=min_snr_gamma,
        weight_floor=weight_floor,
        caption_dropout=caption_dropout,
        precision=precision.value,
        seed=seed,
        text_encoder=text_encoder,
        full=full,
        start=start,
        trigger=trigger,
        size=size,
        flip=flip,
        checkpoint_every=checkpoint_every,
        sample_prompt=sample,
        sample_every=sample_every,
    )


def generate(
    prompt: Annotated[list[str], typer.Option(help="What to draw, as comma-separated tags; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Folder for NNN-seed-S.png; NNN goes on after the largest there.")],
    model: ModelOption = "starter",
    adapter: Annotated[list[str] | None, typer.Option(help="FILE[:WEIGHT] of a LoRA adapter; may be repeated.")] = None,
    seed: Annotated[
        int, typer.Option(help="Seed of the first picture; the next takes the next.", min=0, max=MAX_SEED)
    ] = 0,
    count: Annotated[int, typer.Option(help="Pictures per prompt.", min=1)] = 1,
    steps: Annotated[int, typer.Option(help="Denoising steps.", min=1, max=1000)] = 12,
    guidance: Annotated[
        float, typer.Option(help="Classifier-free guidance scale; 1 is none.", min=1, callback=_finite)
    ] = 3.0,
    negative: Annotated[str, typer.Option(help="What to keep away from.")] = "",
    sampler: Annotated[Sampler, typer.Option(help="How pictures are drawn.")] = Sampler.UNIPC,
    width: Annotated[int | None, typer.Option(help="Width in pixels; the model's where not given.", min=1)] = None,
    height: Annotated[int | None, typer.Option(help="Height in pixels; the model's where not given.", min=1)] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures drawn at once.", min=1)] = 16,
    start: Annotated[
        Path | None, typer.Option(help="Picture to draw over; its middle where it has another shape.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Picture that is white where --start is drawn anew; elsewhere it stays.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            help="How much of --start changes, 1 is all of it; 0.6 where not given.", min=0.05, max=1, callback=_finite
        ),
    ] = None,
) -> None:
    """Draw pictures with a model and any number of adapters, from a prompt alone or over a picture."""
    from fedflow.cli.generate import generate as run

    run(
        model,
        prompt,
        out,
        adapters=adapter,
        seed=seed,
        count=count,
        steps=steps,
        guidance=guidance,
        negative=negative,
        sampler=sampler.value,
        width=width,
        height=height,
        batch_size=batch_size,
        start=start,
        mask=mask,
        strength=strength,
    )
