"""`fedflow`: its commands and their options, and how errors and stops reach a person."""

from __future__ import annotations

import errno
import math
import os
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fedflow import __version__
from fedflow.cli.entry_client import client
from fedflow.cli.entry_dataset import dataset_app
from fedflow.cli.entry_run import join, run_app
from fedflow.cli.entry_server import server_app
from fedflow.errors import FedFlowError, RunError, Stopped
from fedflow.openmp import wait_briefly

# What typer raises for a wrong command line; it exports a child of it alone.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

STOPPED = "stopped; nothing half-written was left"


class Commands(TyperGroup):
    """All commands; a stop becomes an error of ours, before typer answers it with a bare 'Aborted' or nothing."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the command line's first words, for which typer imports half of itself. Raises Stopped."""
        try:
            return super().make_context(*args, **options)
        except KeyboardInterrupt:
            raise Stopped("stopped") from None

    def invoke(self, ctx: Any) -> Any:
        """Run the command that `ctx` names. Raises Stopped, which says how to go on, for Ctrl-C and SIGTERM."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise Stopped(str(stop) or STOPPED) from None
        except Exception as error:
            if isinstance(error, RunError) or not _is_stop(error):
                raise
            raise Stopped(STOPPED) from None


def _is_stop(error: BaseException | None) -> bool:
    """Whether `error` came of a KeyboardInterrupt: libraries answer one, while they are imported, with their own."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


app = typer.Typer(
    cls=Commands,
    name="fedflow",
    help="Private picture collections, one jointly trained image-generation model.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class Method(StrEnum):
    """How client updates are joined."""

    FEDAVG = "fedavg"
    FEDIT = "fedit"
    FEDEX_LORA = "fedex-lora"


class Weighting(StrEnum):
    """What a client counts for in the mean."""

    SAMPLES = "samples"
    UNIFORM = "uniform"


class Layout(StrEnum):
    """Which tools open the adapter."""

    DIFFUSERS = "diffusers"
    KOHYA = "kohya"


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


def _finite(value: float) -> float:
    if not math.isfinite(value):
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
ExtractorOption = Annotated[
    str, typer.Option(help="Feature extractor: 'icons-v1', 'inception', or 'auto' (Inception where its weights are).")
]
InceptionOption = Annotated[Path | None, typer.Option(help="Inception weight file, for the standard FID.")]
WorkersOption = Annotated[int | None, typer.Option(help="Worker processes; as many as cores where not given.", min=1)]
ThreadsOption = Annotated[int, typer.Option(help="Threads of each worker; the bits depend on this number.", min=1)]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the run.")] = Path("demo-out"),
    workers: WorkersOption = None,
    threads: ThreadsOption = 1,
    network: Annotated[
        bool, typer.Option("--network", help="Carry the federation by a server and five clients, as processes.")
    ] = False,
) -> None:
    """Five clients, three rounds, the starter model and the demo pictures that come with FedFlow."""
    from fedflow.cli.simulate import demo_plan, simulate

    if not network:
        simulate(demo_plan(), out, (), workers, threads, "auto", None)
        return
    from fedflow.cli.demo_network import carry_over_network

    simulate(demo_plan(), out, (), workers, threads, "auto", None, carry_over_network)


@app.command()
def simulate(
    plan: Annotated[Path, typer.Argument(help="Plan file, for example plans/demo.toml.")],
    out: Annotated[Path, typer.Option(help="Folder for the run; the same folder again goes on where it stopped.")],
    put: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE put over the plan's, for example training.epochs=2; may be repeated."),
    ] = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = 1,
    extractor: ExtractorOption = "auto",
    inception: InceptionOption = None,
) -> None:
    """Run a whole federation on this machine, with its baselines, tables and report."""
    from fedflow.cli.simulate import simulate as run

    run(plan, out, tuple(put or ()), workers, threads, extractor, inception)


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Folder of pictures with captions (same name, .txt).")],
    out: Annotated[Path, typer.Option(help="Folder for the result; the same folder again goes on where it stopped.")],
    model: ModelOption = "starter",
    rank: Annotated[int, typer.Option(help="Rank of the LoRA adapter.", min=1, max=1024)] = 16,
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
    start: Annotated[Path | None, typer.Option(help="Adapter file to go on from.")] = None,
    flip: Annotated[bool, typer.Option(help="Train on mirror images too.")] = True,
    text_encoder: Annotated[
        bool, typer.Option("--text-encoder", help="Adapt the text encoder's attention too.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Train the whole UNet, no adapter.")] = False,
    checkpoint_every: Annotated[int, typer.Option(help="Steps between checkpoints.", min=1)] = 50,
) -> None:
    """Train a LoRA adapter, or the whole UNet, on one folder of pictures; those that cannot be used are named."""
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
    )


@app.command()
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
) -> None:
    """Draw pictures with a model and any number of adapters."""
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
    )


@app.command()
def aggregate(
    updates: Annotated[list[str], typer.Argument(help="UPDATE.safetensors[:EXAMPLES] of each client.")],
    out: Annotated[Path, typer.Option(help="Folder for the result.")],
    method: Annotated[Method, typer.Option(help="fedavg joins any tensors; the others join LoRA adapters.")],
    weights: Annotated[Weighting, typer.Option(help="By example counts, or all alike.")] = Weighting.SAMPLES,
    max_rank: Annotated[int | None, typer.Option(help="FedEx-LoRA: cut the residual to this rank.", min=1)] = None,
) -> None:
    """Join client updates into one."""
    from fedflow.cli.aggregate import aggregate as run

    run(method.value, weights.value, max_rank, updates, out)


@app.command()
def evaluate(
    generated: Annotated[Path, typer.Argument(help="Folder of generated pictures.")],
    real: Annotated[Path, typer.Argument(help="Folder of held-out pictures.")],
    floor: Annotated[
        Path | None, typer.Option(help="Folder of other real pictures; two halves of REAL without.")
    ] = None,
    extractor: ExtractorOption = "auto",
    inception: InceptionOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.", min=0, max=MAX_SEED)] = 0,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """FID and KID, with interval and floor, of generated pictures against held-out ones."""
    from fedflow.cli.evaluate import evaluate as run

    run(generated, real, floor=floor, extractor=extractor, inception=inception, seed=seed, out=out)


@app.command()
def export(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    out: Annotated[Path, typer.Option(help="File to write, .safetensors.")],
    layout: Annotated[Layout, typer.Option("--format", help="diffusers, or kohya for ComfyUI and A1111.")],
    rank: Annotated[int | None, typer.Option(help="Rank of the file; exact where not given.", min=1)] = None,
    seed: Annotated[int | None, typer.Option(help="Which of the run's seeds; the first where not given.")] = None,
) -> None:
    """Write a run's joint model as one LoRA adapter for other tools."""
    from fedflow.cli.export import export as run

    run(run_folder, out, layout.value, rank, seed)


@app.command()
def doctor() -> None:
    """What this machine has, what is missing, and the line that fixes it."""
    from fedflow.cli.doctor import doctor as run

    if not run():
        raise typer.Exit(1)


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A released file.")],
    provenance: Annotated[Path, typer.Option(help="The release's provenance, as the server gives it.")],
    key: Annotated[str, typer.Option(help="The server's public key, base64, from a source that you trust.")],
) -> None:
    """Whether a file is the one that a server released, and where it comes from. No server is asked."""
    from fedflow.cli.verify import verify as run

    run(file, provenance, key)


app.command()(client)
app.command()(join)
app.add_typer(dataset_app, name="dataset")
app.add_typer(server_app, name="server")
app.add_typer(run_app, name="run")


@app.callback(invoke_without_command=True)
def _no_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if version:
        print(f"fedflow {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(2)


def run() -> None:
    """Run the command line; the exit status is 2 for a mistake in what was asked, 1 for what failed on the way."""
    wait_briefly()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(app(prog_name="fedflow", standalone_mode=False))
    except FedFlowError as error:
        _leave(str(error), error.exit_status)
    except UsageError as error:
        _leave(_usage(error), 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise
        _leave(f"{error.filename or 'a file'}: {error.strerror}; free space or choose another folder", 1)


def _usage(error: Any) -> str:
    """What typer says of a wrong command line, in one line and with the way to the right one."""
    said = " ".join(error.format_message().split()).replace("Value error, ", "").removesuffix(".")
    command = error.ctx.command_path if error.ctx is not None else "fedflow"
    return f"{said[0].lower()}{said[1:]}; '{command} --help' says what can be given"


def _leave(message: str, status: int) -> None:
    print(f"fedflow: {message}", file=sys.stderr)
    sys.exit(status)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt
