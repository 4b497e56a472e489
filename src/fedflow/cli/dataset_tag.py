"""`fedflow dataset tag`: captions from a tagger."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fedflow.cli.dataset import counted, no_pictures
from fedflow.datasets.records import Problem, shown
from fedflow.tagging.folder import Write, apply, tag_folder
from fedflow.tagging.registry import open_tagger


def tag(folder: Path, tagger: str, threshold: float | None, write: Write, dry_run: bool) -> bool:
    """Tag the pictures under `folder`, print what is skipped and a line of counts; whether nothing was skipped.

    With `dry_run` each picture's tags are printed with their scores, and nothing is written. Raises FedFlowError,
    for a folder without pictures too.
    """
    opened = open_tagger(tagger)
    problems: list[Problem] = []
    there = seen = changed = untagged = 0
    console = Console(stderr=True)
    columns = (TextColumn("tagging"), BarColumn(), MofNCompleteColumn(), TextColumn("pictures,"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("tag", total=None)

        def progress(done: int, total: int) -> None:
            nonlocal there
            there = total
            bars.update(task, completed=done, total=total)

        for each in tag_folder(
            folder,
            opened,
            write,
            threshold=threshold,
            problem=problems.append,
            progress=progress,
        ):
            seen += 1
            untagged += not each.tags
            if dry_run:
                changed += each.after is not None and each.after != each.before
                said = ", ".join(f"{name} {score:.2f}" for name, score in each.tags) or "no tag"
                print(f"{shown(each.path)}: {said}")
            else:
                changed += apply(each)
    if not there and not problems:
        raise no_pictures(folder)
    if problems:
        print(f"Skipped ({len(problems)}):", *(f"  {problem}" for problem in problems), sep="\n")
    verb = "would be written" if dry_run else "written"
    print(
        f"{counted(seen, 'picture', 'pictures')} looked at by {opened.name}, "
        f"{counted(changed, 'caption', 'captions')} {verb}, {counted(untagged, 'picture', 'pictures')} without a tag."
    )
    return not problems
