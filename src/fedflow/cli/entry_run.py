"""Commands of who takes part over the network: `run` for a coordinator, `join` for a participant's machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fedflow.cli.server_options import URL, FederationOption, SecretOption, TokenOption, UrlOption, coordinator_of

run_app = typer.Typer(help="What a coordinator does with runs.", no_args_is_help=True, rich_markup_mode=None)

RunArgument = Annotated[str | None, typer.Argument(help="The run; the one started last where not given.")]


@run_app.command("start")
def _start(
    plan: Annotated[Path, typer.Argument(help="Plan file; data.clients are names of members.")],
    put: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE put over the plan's.")] = None,
    federation: FederationOption = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Start a run and print its identifier."""
    from fedflow.cli.run import start

    print(start(coordinator_of(url, token, token_file), plan, tuple(put or ()), federation))


@run_app.command("watch")
def _watch(
    run: RunArgument = None, url: UrlOption = URL, token_file: TokenOption = None, token: SecretOption = None
) -> None:
    """Print what happens until the run is over; exit status 1 where it is not done then."""
    from fedflow.cli.run import watch

    coordinator = coordinator_of(url, token, token_file)
    if not watch(coordinator, run or coordinator.last_run()):
        raise typer.Exit(1)


@run_app.command("explain")
def _explain(
    run: RunArgument = None, url: UrlOption = URL, token_file: TokenOption = None, token: SecretOption = None
) -> None:
    """Say in one paragraph why the run is not moving."""
    from fedflow.client.answers import printable

    coordinator = coordinator_of(url, token, token_file)
    print(printable(coordinator.get(f"/runs/{run or coordinator.last_run()}/explain")["text"]))


@run_app.command("scores")
def _scores(
    run: RunArgument = None, url: UrlOption = URL, token_file: TokenOption = None, token: SecretOption = None
) -> None:
    """Print FID and KID of the base model and of every round's models."""
    from fedflow.cli.run_results import print_scores

    coordinator = coordinator_of(url, token, token_file)
    print_scores(coordinator, run or coordinator.last_run())


@run_app.command("refusals")
def _refusals(
    run: RunArgument = None, url: UrlOption = URL, token_file: TokenOption = None, token: SecretOption = None
) -> None:
    """Print the updates that were refused, and why."""
    from fedflow.cli.run_results import print_refusals

    coordinator = coordinator_of(url, token, token_file)
    print_refusals(coordinator, run or coordinator.last_run())


@run_app.command("report")
def _report(
    out: Annotated[Path, typer.Option(help="Folder to write into.")],
    run: RunArgument = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Write table, chart, gallery and report of a scored run."""
    from fedflow.cli.run_report import write_report

    coordinator = coordinator_of(url, token, token_file)
    write_report(coordinator, run or coordinator.last_run(), out)


@run_app.command("export")
def _export(
    out: Annotated[Path, typer.Option(help="The file to write, ending in .safetensors.")],
    run: RunArgument = None,
    layout: Annotated[str, typer.Option("--format", help="kohya (ComfyUI, A1111) or diffusers.")] = "kohya",
    number: Annotated[int | None, typer.Option("--round", help="Round; the last where not given.", min=1)] = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Fetch a run's joint model as one file for other tools."""
    from fedflow.cli.run_results import export

    coordinator = coordinator_of(url, token, token_file)
    export(coordinator, run or coordinator.last_run(), out, layout, number)


def join(
    data: Annotated[Path, typer.Option(help="Folder of pictures with captions (same name, .txt).")],
    url: Annotated[str | None, typer.Argument(help="The server's address; not needed a second time.")] = None,
    code: Annotated[str | None, typer.Option(help="The coordinator's one-time code; not needed a second time.")] = None,
    sign_in: Annotated[
        bool, typer.Option("--sign-in", help="Be let in by your account at the server, in place of a code.")
    ] = False,
    home: Annotated[Path | None, typer.Option(help="Folder for this device's key, base models and runs.")] = None,
    name: Annotated[
        str | None, typer.Option(help="What the coordinator sees of this device; the machine's name where not given.")
    ] = None,
    shows_counts: Annotated[
        bool | None,
        typer.Option(
            "--show-counts/--hide-counts",
            help="Let the server name you, with your picture counts, to people outside the federation, or no longer.",
        ),
    ] = None,
    accept: Annotated[
        bool, typer.Option(help="Say yes to every run within the limits, for unattended machines.")
    ] = False,
    max_rounds: Annotated[int | None, typer.Option(help="Say no to runs of more rounds.", min=1)] = None,
    policy: Annotated[Path | None, typer.Option(help="The owner's policy file, TOML.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the training; the bits depend on this number.", min=1)] = 1,
    once: Annotated[bool, typer.Option(help="Leave when the first run is finished.")] = False,
) -> None:
    """Take part in a federation with the pictures of one folder."""
    from fedflow.cli.join import join as run

    run(
        url,
        data,
        code=code,
        sign_in=sign_in,
        home=home,
        name=name,
        shows_counts=shows_counts,
        accept=accept,
        max_rounds=max_rounds,
        policy=policy,
        threads=threads,
        once=once,
    )


def _post(run: str | None, url: str, token: str | None, token_file: Path | None, path: str, told: str) -> None:
    """Post to a run at `path` below it, and print what came of it."""
    coordinator = coordinator_of(url, token, token_file)
    found = run or coordinator.last_run()
    coordinator.post(f"/runs/{found}/{path}")
    print(f"{told}: {found}")


def _change(name: str, told: str, text: str) -> None:
    """Add a command that posts to the run: `told` is the past tense that is printed, `text` its help."""

    def command(
        run: RunArgument = None, url: UrlOption = URL, token_file: TokenOption = None, token: SecretOption = None
    ) -> None:
        _post(run, url, token, token_file, name, told)

    run_app.command(name, help=text)(command)


@run_app.command("ask-again")
def _ask_again(
    member: Annotated[str, typer.Argument(help="Name of the member.")],
    run: RunArgument = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Ask a member for its consent once more that has declined."""
    coordinator = coordinator_of(url, token, token_file)
    found = run or coordinator.last_run()
    coordinator.post(f"/runs/{found}/ask-again", {"member": member})
    print(f"asked again: {member}")


_change("pause", "paused", "Hand out no more work; updates under way are still taken.")
_change("resume", "goes on", "Go on with a paused or failed run.")


@run_app.command("stop")
def _stop(
    run: RunArgument = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """End the run for good; committed rounds stay."""
    coordinator = coordinator_of(url, token, token_file)
    found = run or coordinator.last_run()
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Stop run {found} for good? A paused run can be resumed, a stopped one cannot", abort=True)
    coordinator.post(f"/runs/{found}/stop")
    print(f"stopped: {found}")


@run_app.command("close-round")
def _close_round(
    run: RunArgument = None,
    number: Annotated[
        int | None, typer.Option("--round", help="Close this round only; any other stays open.", min=1)
    ] = None,
    url: UrlOption = URL,
    token_file: TokenOption = None,
    token: SecretOption = None,
) -> None:
    """Aggregate the updates that are there now."""
    path = "close-round" if number is None else f"close-round?round={number}"
    _post(run, url, token, token_file, path, "round closed")
