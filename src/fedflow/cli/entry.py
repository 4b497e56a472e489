"""`fedflow`: its commands and their options, and how errors and stops reach a person."""

from __future__ import annotations

import errno
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
from fedflow.cli.entry_pictures import MAX_SEED, generate, train
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


app.command()(train)
app.command()(generate)
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
