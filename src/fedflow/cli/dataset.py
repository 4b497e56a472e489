"""`fedflow dataset check` and `stats`: what is wrong with a folder of pictures, and its figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from fedflow.datasets.buckets import buckets_for
from fedflow.datasets.findings import Findings, findings_of
from fedflow.datasets.index import Index, make_index
from fedflow.datasets.personal import REGIONS, known_region, read_names
from fedflow.datasets.records import shown
from fedflow.datasets.statistics import Span, Statistics, statistics_of
from fedflow.errors import DatasetError, MistakeError


def check(folder: Path, names: Path | None, regions: Sequence[str] | None, near_bits: int) -> bool:
    """Print all that is to be said against the pictures under `folder`; whether all of them can be used.

    `names` is a file of people's names, `regions` countries' codes. Raises DatasetError where folder, file or code
    is none.
    """
    known = tuple(known_region(region) for region in regions) if regions else REGIONS
    listed = None if names is None else read_names(names)
    index = _read(folder)
    found = findings_of(index, listed, known, near_bits)
    _section("Cannot be used", [str(problem) for problem in found.problems])
    _section(
        "Personal data in captions",
        [
            f"{shown(path)}: {', '.join(f'{each.kind} {_printable(each.text)}' for each in those)}"
            for path, those in found.personal
        ],
    )
    _section("The same picture", [" = ".join(map(shown, group)) for group in found.same])
    _section(
        "Nearly the same",
        [
            f"{shown(group.first)} ~ {', '.join(f'{shown(path)} ({bits} of 64 bits)' for path, bits in group.others)}"
            for group in found.near
        ],
    )
    _section("Used, and worth a look", [str(remark) for remark in found.remarks])
    print(_count_line(index, found))
    return bool(index.usable) and not found.problems


def stats(folder: Path, size: int, unit: int, most_tags: int) -> None:
    """Print the figures of the pictures under `folder`, with buckets of the area `size` * `size`.

    Raises DatasetError where there is no folder, MistakeError where no bucket fits.
    """
    try:
        buckets = buckets_for(size, unit)
    except ValueError as error:
        raise MistakeError(f"--unit: {error}") from None
    figures = statistics_of(_read(folder), buckets)
    console = Console(markup=False, emoji=False, highlight=False)
    console.print(
        f"{shown(folder)}: {_pictures(figures.num_pictures)}, {figures.num_usable} can be used, "
        f"{figures.total_bytes / 1e6:.1f} MB"
    )
    if figures.num_usable:
        console.print(_spans(figures))
        rest = len(figures.tags) - most_tags
        title = f"Tags ({rest} more)" if rest > 0 else "Tags"
        console.print(_counts(title, "tag", islice(figures.tags.items(), most_tags)))
        console.print(_counts("Tags per caption", "tags", figures.tags_per_caption.items()))
        console.print(_counts("Shorter side", "pixels", figures.shorter_sides.items()))
        console.print(_buckets(figures, size))
        console.print("Training takes the middle square of each picture; buckets are shown and not trained on.")
    if figures.problems:
        console.print(_counts("Cannot be used", "reason", figures.problems.items()))
        console.print(f"'fedflow dataset check {shown(folder)}' names each file.")


def _read(folder: Path) -> Index:
    """The folder's index, with a bar while it is made. Raises DatasetError where nothing is in it."""
    console = Console(stderr=True)
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TextColumn("pictures,"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task("read", total=None)
        index = make_index(folder, progress=lambda done, of: bars.update(task, completed=done, total=of or None))
    if not index.entries and not index.other_problems:
        raise no_pictures(folder)
    return index


def no_pictures(folder: Path) -> DatasetError:
    """What is said of a folder in which nothing is."""
    return DatasetError(f"{shown(folder)}: holds no pictures; put PNG or JPEG files there, each with a .txt caption")


def _section(title: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"{title} ({len(lines)}):", *(f"  {line}" for line in lines), "", sep="\n")


def _count_line(index: Index, found: Findings) -> str:
    counts = (
        (len(found.problems), "problem", "problems"),
        (len(found.personal), "caption with personal data", "captions with personal data"),
        (len(found.same), "picture more than once", "pictures more than once"),
        (len(found.near), "group of near duplicates", "groups of near duplicates"),
        (len(found.remarks), "odd picture", "odd pictures"),
    )
    said = ", ".join(counted(count, one, many) for count, one, many in counts if count)
    return f"{_pictures(len(index.entries))}, {len(index.usable)} can be used; {said or 'nothing to mend'}."


def _pictures(count: int) -> str:
    return counted(count, "picture", "pictures")


def counted(count: int, one: str, many: str) -> str:
    """A number with its noun."""
    return f"{count} {one if count == 1 else many}"


def _spans(figures: Statistics) -> Table:
    table = _table("Sizes", "", "smallest", "middle", "largest")
    rows: tuple[tuple[str, Span, str], ...] = (
        ("width, pixels", figures.width, ".0f"),
        ("height, pixels", figures.height, ".0f"),
        ("width : height", figures.aspect, ".2f"),
        ("caption, letters", figures.caption_letters, ".0f"),
    )
    for name, span, form in rows:
        table.add_row(name, f"{span.low:{form}}", f"{span.middle:{form}}", f"{span.high:{form}}")
    return table


def _counts(title: str, name: str, rows: Iterable[tuple[str, int]]) -> Table:
    table = _table(title, name, "pictures")
    for row, count in rows:
        table.add_row(_printable(row), str(count))
    return table


def _buckets(figures: Statistics, size: int) -> Table:
    table = _table(f"Buckets of {size}x{size} pixels", "bucket", "pictures", "cut off", "by the square")
    for share in figures.buckets:
        table.add_row(
            str(share.bucket), str(share.num_pictures), f"{share.cut_in_bucket:.0%}", f"{share.cut_by_square:.0%}"
        )
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, overflow="fold")
    for other in others:
        table.add_column(other, justify="right")
    return table


def _printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)
