"""Taking pictures and captions into a folder, from a zip or one by one as a browser sends them: all of them or none."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import os
import secrets
import shutil
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import IO

from fedflow.datasets.captions import CAPTION_SUFFIXES, METADATA_NAME
from fedflow.datasets.folder import PICTURE_SUFFIXES, SKIPPED_FOLDER
from fedflow.errors import DatasetError, StorageError
from fedflow.storage import sync_folder

CHUNK_BYTES = 1 << 20
MOST_NAME_BYTES = 255
MOST_PATH_BYTES = 1024
ROOM_LEFT_BYTES = 100_000_000
STAGING = ".incoming"
"""How the names of hidden folders end in which files gather; one that is left over belongs to who was killed."""


@dataclass(frozen=True)
class Limits:
    """How much is taken at once. Above any of these nothing is."""

    files: int = 50_000
    total_bytes: int = 50_000_000_000
    file_bytes: int = 500_000_000
    depth: int = 8
    ratio: float = 100.0
    """Bytes unpacked per byte of the zip, looked at where they are more than `small_bytes`."""
    small_bytes: int = 100_000_000


@dataclass(frozen=True)
class Taken:
    """What came into the folder, and what was left out since it is neither picture nor caption; both relative."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...]


def take_files(
    files: Iterable[tuple[str, IO[bytes]]],
    folder: Path,
    limits: Limits | None = None,
    promised_bytes: int | None = None,
) -> Taken:
    """Take files, each a name (with folders, as `set/a.png`) and an open stream, into `folder`.

    The folder is made where it is not there; files that lie in it stay as they are, and one that is there with the
    same bytes counts as taken. Where `promised_bytes` of all of them are known, room for them is looked for first.
    Raises DatasetError for a name that another file has there, that leads out of the folder or is otherwise not taken,
    and above a limit; StorageError where the disk is full. The folder is then as it was.
    """
    limits = limits or Limits()
    with Intake(folder, limits) as intake:
        if promised_bytes is not None:
            intake.check_room(promised_bytes)
        for name, stream in files:
            relative = intake.wanted(name)
            if relative is not None:
                intake.add(relative, stream)
        return intake.finish()


def is_wanted(name: str) -> bool:
    """Whether a file of this name, with folders or without, is a picture or has captions."""
    last = PurePosixPath(name.replace("\\", "/"))
    return last.suffix.lower() in (PICTURE_SUFFIXES | {*CAPTION_SUFFIXES}) or last.name == METADATA_NAME


WANTED_ENDS = (*sorted(PICTURE_SUFFIXES), *CAPTION_SUFFIXES, METADATA_NAME)
"""What names of wanted files end in; a page's script sends of all others the names alone."""


def check_some(wanted: Collection[PurePath], is_new: bool) -> None:
    """Raises DatasetError where nothing is wanted, or no picture for a folder that is new."""
    if not wanted:
        raise DatasetError("no picture and no caption is in it; give PNG or JPEG files, each with a .txt caption")
    if is_new and not any(path.suffix.lower() in PICTURE_SUFFIXES for path in wanted):
        raise DatasetError("no picture is in it; give PNG or JPEG files, each with a .txt caption")


class Intake:
    """A hidden folder beside or in the wanted one, in which files gather until all are there."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._staging = folder.parent / f".{secrets.token_hex(8)}{STAGING}"
        self._taken: dict[str, Path] = {}
        self._above: set[str] = set()
        self._there: dict[Path, dict[str, str]] = {}
        self._same: set[Path] = set()
        self._left_out: list[str] = []
        self._total_bytes = 0

    def __enter__(self) -> Intake:
        with _writing(self._folder):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            if self._folder.is_dir():  # in it: the folder may be a link to another disk, or all one may write in
                self._staging = self._folder / self._staging.name
            self._staging.mkdir()
        return self

    def __exit__(self, *_error: object) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)

    def wanted(self, name: str) -> Path | None:
        """Where the file of this name goes, relative to the folder; None where it is left out.

        Raises DatasetError for a name that is not taken.
        """
        parts = _parts(name, self._limits.depth)
        if any(part.startswith(".") or part == SKIPPED_FOLDER for part in parts):
            return None
        if not is_wanted(parts[-1]):
            self._left_out.append(name)
            return None
        self._claim(parts, name)
        return Path(*parts)

    def add(self, relative: Path, stream: IO[bytes]) -> int:
        """Copy the stream, counted as it flows; its bytes.

        Raises DatasetError above a limit, and where other bytes are there already.
        """
        target = self._staging / relative
        size_bytes = 0
        with _writing(self._folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as file:
                while chunk := stream.read(CHUNK_BYTES):
                    size_bytes += len(chunk)
                    self._total_bytes += len(chunk)
                    self._check_bytes(relative, size_bytes)
                    file.write(chunk)
            there = self._folder / relative
            if there.exists():  # as what was killed while it moved files left it
                if not filecmp.cmp(target, there, shallow=False):
                    raise DatasetError(_is_there(str(relative)))
                self._same.add(relative)
        return size_bytes

    def check_room(self, size_bytes: int) -> None:
        """Raises StorageError where the disk has no room for so many bytes."""
        lacking = size_bytes + ROOM_LEFT_BYTES - shutil.disk_usage(self._staging).free
        if lacking > 0:
            raise StorageError(f"{self._folder}: disk full (needs about {_megabytes(lacking)} MB more); free space")

    def finish(self) -> Taken:
        """Put all that was added into the folder. Raises DatasetError for nothing, or a new one without pictures."""
        files = tuple(sorted(self._taken.values()))
        check_some(files, is_new=self._staging.parent != self._folder)
        with _writing(self._folder):
            if self._staging.parent == self._folder:
                self._move(files)
            else:
                os.rename(self._staging, self._folder)  # refuses a folder that came into being meanwhile, with files
            sync_folder(self._folder)
        return Taken(files, tuple(self._left_out))

    def _move(self, files: Iterable[Path]) -> None:
        """Into a folder that is there: one by one, and all back where one fails."""
        moved: list[Path] = []
        made: list[Path] = []
        try:
            for relative in files:
                if relative in self._same:
                    continue
                target = self._folder / relative
                for above in reversed(target.parents):
                    if not above.exists():
                        above.mkdir()
                        made.append(above)
                if os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, "a file of that name came into it meanwhile", str(target))
                os.rename(self._staging / relative, target)
                moved.append(target)
        except BaseException:
            for target in moved:
                target.unlink(missing_ok=True)
            for above in reversed(made):
                with contextlib.suppress(OSError):
                    above.rmdir()
            raise

    def _claim(self, parts: list[str], name: str) -> None:
        """Raises DatasetError where a file of that name, or of one that differs by case only, was taken; where a name
        that differs by case only, or a folder of that name, is there."""
        if len(self._taken) >= self._limits.files:
            raise DatasetError(f"more than {self._limits.files} files; take them in several parts")
        key = _alike("/".join(parts))
        above = [_alike("/".join(parts[:depth])) for depth in range(1, len(parts))]
        if key in self._taken or key in self._above or any(each in self._taken for each in above):
            raise DatasetError(f"{_shown(name)}: the name stands there twice (case does not count); rename one")
        place = self._folder
        for depth, part in enumerate(parts):
            alike = _alike(part)
            there = self._names_in(place).get(alike)
            is_last = depth == len(parts) - 1
            if there is not None and (there != part or (place / part).is_dir() is is_last):
                raise DatasetError(_is_there(name))
            place = place / part
            if place.is_symlink():
                raise DatasetError(f"{_shown(name)}: leads through a link; replace the link by a folder")
        self._taken[key] = Path(*parts)
        self._above.update(above)

    def _names_in(self, place: Path) -> dict[str, str]:
        """The names in a folder as it was before, by what they are alike."""
        if place not in self._there:
            self._there[place] = {_alike(name): name for name in os.listdir(place)} if place.is_dir() else {}
        return self._there[place]

    def _check_bytes(self, relative: Path, size_bytes: int) -> None:
        if size_bytes > self._limits.file_bytes:
            most = _megabytes(self._limits.file_bytes)
            raise DatasetError(f"{_shown(str(relative))}: is larger than {most} MB; scale the picture down")
        if self._total_bytes > self._limits.total_bytes:
            most = _megabytes(self._limits.total_bytes)
            raise DatasetError(f"more than {most} MB in all; take them in several parts")


def _parts(name: str, depth: int) -> list[str]:
    """The folders and the name of a file. Raises DatasetError where it would lead elsewhere or is none."""
    plain = name.replace("\\", "/")
    parts = plain.split("/")
    leads_out = plain.startswith("/") or ".." in parts or (len(plain) > 1 and plain[1] == ":")
    parts = [unicodedata.normalize("NFC", part) for part in parts if part not in ("", ".")]
    if leads_out or not parts:
        raise DatasetError(f"{_shown(name)}: leads out of the folder; pack the pictures anew")
    if not all(part.isprintable() for part in parts):
        raise DatasetError(f"{_shown(name)}: the name holds control characters; rename it")
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    if max(sizes) > MOST_NAME_BYTES or sum(sizes) + len(sizes) > MOST_PATH_BYTES:
        raise DatasetError(f"{_shown(name)[:80]}...: the name is too long; rename it")
    if len(parts) > depth + 1:
        raise DatasetError(f"{_shown(name)}: more than {depth} folders deep; pack the pictures flatter")
    return parts


def _alike(name: str) -> str:
    """The same for names that some disks hold to be one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", name).casefold())


def _is_there(name: str) -> str:
    return f"{_shown(name)}: such a file is in the folder already; rename or remove one"


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _megabytes(size_bytes: int) -> int:
    return max(1, -(-size_bytes // 1_000_000))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Errors of the disk as StorageError."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder}: cannot be written ({error.strerror}); free space, check the permission or choose another folder"
        ) from error
