"""The commands of `fedflow dataset`, as options and help alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

dataset_app = typer.Typer(
    help="Folders of pictures: check them, look at their figures, tag them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

FolderArgument = Annotated[Path, typer.Argument(help="Folder of pictures with captions (same name, .txt).")]


@dataset_app.command()
def check(
    folder: FolderArgument,
    names: Annotated[
        Path | None, typer.Option(help="File of names, one a line, that no caption should hold. It stays here.")
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(help="Country whose telephone numbers are known without +, as UA; may be repeated."),
    ] = None,
    near: Annotated[
        int, typer.Option(help="How alike near duplicates are: bits of 64 that differ.", min=0, max=16)
    ] = 6,
) -> None:
    """What cannot be used and why, captions with personal data, duplicates, odd pictures; changes nothing.

    The exit status is 1 where something cannot be used.
    """
    from fedflow.cli.dataset import check as run

    if not run(folder, names, region, near):
        raise typer.Exit(1)


@dataset_app.command()
def stats(
    folder: FolderArgument,
    size: Annotated[int, typer.Option(help="Side of the square in pixels that buckets have the area of.", min=1)] = 512,
    unit: Annotated[int, typer.Option(help="What the sides of buckets are multiples of.", min=1)] = 64,
    tags: Annotated[int, typer.Option(help="How many of the most frequent tags are shown.", min=1)] = 20,
) -> None:
    """Frequencies of tags, sizes, aspects, lengths of captions, problems."""
    from fedflow.cli.dataset import stats as run

    run(folder, size, unit, tags)


@dataset_app.command()
def tag(
    folder: FolderArgument,
    tagger: Annotated[
        str,
        typer.Option(help="icons-v1 (icon art alone), a WD tagger's .onnx file or folder, or hub:OWNER/NAME."),
    ] = "icons-v1",
    threshold: Annotated[
        float | None, typer.Option(help="Least score of a tag; the tagger's own where not given.", min=0, max=1)
    ] = None,
    write: Annotated[
        str, typer.Option(help="missing: only where there is no caption; add: behind it; replace: in its place.")
    ] = "missing",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print tags and scores, write nothing.")] = False,
) -> None:
    """Write captions by a tagger that looks at the pictures.

    The exit status is 1 where a file was skipped.
    """
    from fedflow.cli.dataset_tag import tag as run
    from fedflow.tagging.folder import Write

    if write not in set(Write):
        raise typer.BadParameter(f"'{write}' is none of {', '.join(Write)}", param_hint="--write")
    if not run(folder, tagger, threshold, Write(write), dry_run):
        raise typer.Exit(1)
