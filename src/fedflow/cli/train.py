"""`fedflow train`: one folder of pictures, one machine, an adapter (or the whole UNet) at the end."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedflow.cli.memory import lacks
from fedflow.cli.out_folder import out_folder
from fedflow.cli.train_samples import Samples
from fedflow.cli.training_cost import Asked, lora_of, tell_cost
from fedflow.datasets import Dataset, read_folder
from fedflow.errors import MistakeError, RunError, lacking_memory
from fedflow.generation.sample import Learner
from fedflow.lora import Adapter
from fedflow.models import (
    BaseModel,
    adapter_bytes,
    add_lora,
    best_device,
    open_model,
    read_adapter,
    save_model,
    set_adapter,
)
from fedflow.models.adapter_files import Layout
from fedflow.plan import Lora, Training, steps_for
from fedflow.storage import write_atomic, write_json
from fedflow.training import (
    CHECKPOINT_NAME,
    CaptionCache,
    LatentCache,
    Recipe,
    TrainResult,
    cache_captions,
    cache_latents,
    smaller_batches,
    train_lora,
    train_unet,
)

LAYOUTS: dict[str, Layout] = {"adapter.safetensors": "diffusers", "adapter.kohya.safetensors": "kohya"}
MODEL_NAME = "model"
REPORT_NAME = "training.json"
SAMPLES_NAME = "samples"
RANK = 16
SAMPLE_EVERY = 100
UNKNOWN = 0
"""The side of the pictures before the model is open that tells its own."""


def train(
    model: str,
    data: Path,
    out: Path,
    *,
    rank: int | None = None,
    alpha: float | None = None,
    epochs: int = 10,
    batch_size: int = 8,
    accumulation: int = 1,
    learning_rate: float = 1e-3,
    schedule: str = "constant",
    warmup_steps: int = 0,
    min_snr_gamma: float | None = 5.0,
    weight_floor: float = 0.25,
    caption_dropout: float = 0.1,
    precision: str = "auto",
    seed: int = 0,
    text_encoder: bool = False,
    full: bool = False,
    start: Path | None = None,
    trigger: str | None = None,
    size: int | None = None,
    flip: bool = True,
    checkpoint_every: int = 50,
    sample_prompt: str = "",
    sample_every: int | None = None,
) -> None:
    """Train on the captioned pictures under `data` and write the result into `out`.

    LoRA of `rank` (RANK where not given) and `alpha` (the rank where not given), on the text encoder too where asked,
    or `start`, an adapter file, which keeps its own; `full` trains the whole UNet instead. What it will take is told
    before it starts, and a disk that does not suffice is refused. A training stopped on the way is gone on from when
    the same command runs again. Files: `adapter.safetensors` (diffusers) and `adapter.kohya.safetensors`, or the
    folder `model`, which `--model` opens, `training.json` with settings and losses, and in the folder `samples` what
    is drawn of `sample_prompt`, if any, every `sample_every` steps (SAMPLE_EVERY where not given) and at the end.

    Raises FedFlowError, one line, for what is wrong in what was asked or fails on the way.
    """
    _check_out(out)
    _check_adapter_options(full, start, rank, alpha, text_encoder)
    if sample_every is not None and not sample_prompt:
        raise MistakeError("--sample-every: nothing is drawn without --sample; give that too, or leave this out")
    adapter = None if start is None else read_adapter(start)[0]
    with out_folder(out):
        dataset = read_folder(data, size or UNKNOWN, trigger)
        for problem in dataset.problems:
            print(f"left out: {problem}", file=sys.stderr)
        if not (out / CHECKPOINT_NAME).is_file():
            lora = Lora(rank=RANK if rank is None else rank, text_encoder=text_encoder)
            training = Training(batch_size=batch_size, epochs=epochs, gradient_accumulation=accumulation)
            asked = Asked(lora if adapter is None else lora_of(adapter), training, not full)
            tell_cost(model, asked, len(dataset.pictures), size, out)
        with lacking_memory(lambda: lacks("take a smaller --model")):
            base = open_model(model).to(best_device())
        side = size or base.resolution
        base.latent_size(side)
        dataset = replace(dataset, size=side)
        recipe = Recipe(
            steps=steps_for(len(dataset.pictures), batch_size, epochs, accumulation),
            batch_size=batch_size,
            accumulation=accumulation,
            learning_rate=learning_rate,
            schedule=schedule,
            warmup_steps=warmup_steps,
            min_snr_gamma=min_snr_gamma,
            weight_floor=weight_floor,
            caption_dropout=caption_dropout,
            precision=precision,
            seed=seed,
            checkpoint_every=checkpoint_every,
        )
        _tell_cut(base, dataset)
        if not full:
            _add_adapter(base, adapter, rank=rank, alpha=alpha, text_encoder=text_encoder, seed=seed)
        learner = Learner(out.absolute().name, is_whole=full)
        samples = Samples(base, learner, sample_prompt, sample_every or SAMPLE_EVERY, seed, side, out / SAMPLES_NAME)
        result = _run(base, dataset, recipe, out, samples, full=full, flip=flip)
        written = _write(out, base, dataset, result, trigger)
        write_json(out / REPORT_NAME, _report(base, dataset, recipe, result))
        (out / CHECKPOINT_NAME).unlink(missing_ok=True)
        written += samples.written
        last = result.losses[-min(20, len(result.losses)) :]
        print(
            f"{len(dataset.pictures)} pictures, {result.steps} steps in {result.seconds:.0f} s, "
            f"mean loss of the last {len(last)} steps {sum(last) / len(last):.4f}"
        )
        for path in written:
            print(f"Written: {path}")


def _check_out(out: Path) -> None:
    """Refuse a folder with results in it, unless they are those of a training that was stopped there."""
    if (out / REPORT_NAME).is_file():
        raise MistakeError(f"{out}: holds a finished training; choose another --out, or remove the folder")
    if (out / CHECKPOINT_NAME).is_file():
        return
    for name in (*LAYOUTS, MODEL_NAME):  # samples may be those of one that was stopped before its first checkpoint
        if os.path.lexists(out / name):
            raise MistakeError(
                f"{out / name}: is there already and not of a training that was stopped; choose another --out"
            )


def _check_adapter_options(
    full: bool, start: Path | None, rank: int | None, alpha: float | None, text_encoder: bool
) -> None:
    """Refuse what would count for nothing: settings of a fresh adapter where none is made."""
    if full and start is not None:
        raise MistakeError(f"--start {start}: is an adapter, and --full trains no adapter; leave one of the two out")
    fresh = {"--rank": rank is not None, "--alpha": alpha is not None, "--text-encoder": text_encoder}
    given = ", ".join(name for name, is_given in fresh.items() if is_given)
    if given and full:
        raise MistakeError(f"{given}: is for an adapter, and --full trains no adapter; leave one of the two out")
    if given and start is not None:
        raise MistakeError(f"{given}: is for a fresh adapter, and --start keeps its own; leave one of the two out")


def _tell_cut(base: BaseModel, dataset: Dataset) -> None:
    cut = base.too_long([picture.caption for picture in dataset.pictures])
    if cut:
        print(
            f"{dataset.pictures[cut[0]].path}: its caption is longer than the model can read (so are {len(cut)} of "
            f"{len(dataset.pictures)}), and the end teaches nothing; put what matters in front",
            file=sys.stderr,
        )


def _add_adapter(
    base: BaseModel, start: Adapter | None, *, rank: int | None, alpha: float | None, text_encoder: bool, seed: int
) -> None:
    if start is not None:
        set_adapter(base, start)
        return
    rank = RANK if rank is None else rank
    add_lora(base, rank, float(rank) if alpha is None else alpha, text_encoder, torch.Generator().manual_seed(seed))


def _too_large(base: BaseModel, side: int, recipe: Recipe, out: Path, *, full: bool) -> RunError:
    smaller = smaller_batches(recipe.batch_size, recipe.accumulation)
    if smaller is None:
        return _pictures_too_large(base, side, full=full)
    elsewhere = " and another --out" if (out / CHECKPOINT_NAME).is_file() else ""
    return lacks(f"give --batch-size {smaller[0]} --accumulation {smaller[1]}, which learns the same{elsewhere}")


def _pictures_too_large(base: BaseModel, side: int, *, full: bool) -> RunError:
    return lacks(f"give --size {base.halved((side, side))[0]}{', leave out --full' if full else ''}")


def _run(
    base: BaseModel, dataset: Dataset, recipe: Recipe, out: Path, samples: Samples, *, full: bool, flip: bool
) -> TrainResult:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    ) as bars:
        encoding = bars.add_task("encoding pictures", total=len(dataset.pictures), note="")
        with lacking_memory(lambda: _pictures_too_large(base, dataset.size, full=full)):
            latents: LatentCache = cache_latents(
                base, dataset, flip, lambda done, _: bars.update(encoding, completed=done)
            )
        captions: CaptionCache = cache_captions(base, dataset)
        training = bars.add_task("training", total=recipe.steps, note="")
        run = train_unet if full else train_lora

        def after_step(step: int, steps: int, loss: float) -> None:
            bars.update(training, completed=step, note=f"loss {loss:.4f}")
            samples.draw(step, steps)

        with lacking_memory(lambda: _too_large(base, dataset.size, recipe, out, full=full)):
            return run(base, latents, captions, recipe, checkpoint_folder=out, progress=after_step)


def _write(out: Path, base: BaseModel, dataset: Dataset, result: TrainResult, trigger: str | None) -> list[Path]:
    if result.adapter is None:
        save_model(base, out / MODEL_NAME)
        return [out / MODEL_NAME]
    facts = {"modelspec.title": out.name, "modelspec.resolution": f"{dataset.size}x{dataset.size}"}
    if trigger is not None:
        facts["modelspec.trigger_phrase"] = trigger
    for name, layout in LAYOUTS.items():
        write_atomic(out / name, adapter_bytes(result.adapter, layout, facts))
    return [out / name for name in LAYOUTS]


def _report(base: BaseModel, dataset: Dataset, recipe: Recipe, result: TrainResult) -> dict[str, object]:
    return {
        "model": base.name,
        "model_hash": base.content_hash,
        "num_examples": len(dataset.pictures),
        "size": dataset.size,
        "recipe": asdict(recipe),
        "seconds": round(result.seconds, 3),
        "losses": [round(loss, 6) for loss in result.losses],
    }
