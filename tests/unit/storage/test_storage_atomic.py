"""Atomic writes under full disks, interrupts and places that cannot be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from fedflow.errors import StorageError
from fedflow.storage import write_atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("this machine has no mount command")
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root and a kernel that allows it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_bytes_and_writers_replace_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.bin"
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"

    def write(file: BinaryIO) -> None:
        file.write(b"two ")
        file.write(b"parts")

    write_atomic(path, write)
    assert path.read_bytes() == b"two parts"
    assert names(path.parent) == ["a.bin"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_full_disk_keeps_the_old_file_and_says_what_lacks(small_disk: Path) -> None:
    path = small_disk / "model.bin"
    write_atomic(path, b"old")
    with pytest.raises(StorageError) as caught:
        write_atomic(path, bytes(3_000_000))
    assert str(caught.value) == (
        f"{path}: disk full (needs about 3 MB more); free space and run the same command again"
    )
    assert path.read_bytes() == b"old"
    assert names(small_disk) == ["model.bin"]
    write_atomic(path, b"the space is free again")
    assert path.read_bytes() == b"the space is free again"


def test_full_disk_under_a_writer_of_unknown_size(small_disk: Path) -> None:
    def write(file: BinaryIO) -> None:
        for _ in range(100):
            file.write(bytes(65_536))

    with pytest.raises(StorageError, match=r"disk full \(needs more than 1 MB\); free space"):
        write_atomic(small_disk / "model.bin", write)
    assert names(small_disk) == []


def test_no_space_reported_by_the_kernel(tmp_path: Path) -> None:
    """Every Linux has /dev/full: the same errno where no disk can be mounted."""

    def write(file: BinaryIO) -> None:
        file.write(b"x")
        descriptor = os.open("/dev/full", os.O_WRONLY)
        try:
            os.write(descriptor, b"x")
        finally:
            os.close(descriptor)

    with pytest.raises(StorageError, match="disk full"):
        write_atomic(tmp_path / "a", write)
    assert names(tmp_path) == []


def test_file_size_limit(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from fedflow.errors import StorageError\n"
        "from fedflow.storage import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_atomic(Path(sys.argv[1]), bytes(10000))\n"
        "except StorageError as error: print(error)\n"
    )
    path = tmp_path / "a"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"{path}: larger than a file may be here; raise the limit (ulimit -f) and run the same command again"
    ]
    assert names(tmp_path) == []


def test_keyboard_interrupt_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def write(file: BinaryIO) -> None:
        file.write(bytes(100_000))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, write)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_real_interrupt_signal(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from fedflow.storage import write_atomic\n"
        "def write(file):\n"
        "    file.write(bytes(100000)); file.flush(); print('half', flush=True)\n"
        "    while True: file.write(b'x'); file.seek(0)\n"
        "write_atomic(Path(sys.argv[1]), write)\n"
    )
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        assert len(names(tmp_path)) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) != 0
    assert names(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


def test_an_error_of_the_writer_passes_unchanged(tmp_path: Path) -> None:
    def fails(file: BinaryIO) -> None:
        file.write(b"x")
        raise ValueError("from the writer")

    def reads_what_is_missing(file: BinaryIO) -> None:
        file.write((tmp_path / "source").read_bytes())

    with pytest.raises(ValueError, match="from the writer"):
        write_atomic(tmp_path / "a", fails)
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "a", reads_what_is_missing)
    assert names(tmp_path) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"file/a: a part of its path is a file and not a folder; choose another"):
        write_atomic(tmp_path / "file" / "a", b"x")
    with pytest.raises(StorageError, match=r"folder: is a folder; choose another name"):
        write_atomic(tmp_path / "folder", b"x")
    with pytest.raises(StorageError, match=r"cannot be written \(File name too long"):
        write_atomic(tmp_path / ("n" * 300), b"x")
    assert names(tmp_path) == ["file", "folder"]


def test_no_permission(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="no permission to write there"):
            write_atomic(tmp_path / "a", b"x")
    finally:
        tmp_path.chmod(0o700)


def test_read_only_disk(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="a: the disk is read-only; choose another folder"):
        write_atomic(small_disk / "a", b"x")
