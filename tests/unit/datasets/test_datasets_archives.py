"""Zips, good ones and ones that are made to harm."""

from __future__ import annotations

import io
import resource
import stat
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image

from fedflow.datasets import read_folder
from fedflow.datasets.archives import take_zip
from fedflow.datasets.intake import Intake, Limits
from fedflow.errors import DatasetError, StorageError


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def zipped(place: Path, *entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = place / "in.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in entries:
            file.writestr(name, content)
    return path


def refused(archive: Path, limits: Limits | None = None) -> str:
    """Why it was refused, and that nothing of it is left."""
    folder = archive.parent / "data"
    with pytest.raises(DatasetError) as caught:
        take_zip(archive, folder, limits)
    assert [path.name for path in archive.parent.iterdir()] == [archive.name]
    message = str(caught.value)
    assert message.isprintable()
    return message


def test_pictures_and_captions(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path,
        ("set/", b""),
        ("set/a.png", png()),
        ("set/a.txt", "кіт, cat".encode()),
        ("set\\ї.png", png("blue")),
        ("set/metadata.jsonl", b'{"file_name": "\\u0457.png", "text": "dog"}'),
        ("__MACOSX/set/._a.png", b"junk"),
        ("set/.DS_Store", b"junk"),
        ("set/read me.pdf", b"%PDF"),
        ("inner.zip", b"PK"),
    )
    taken = take_zip(archive, tmp_path / "data")
    assert [path.as_posix() for path in taken.files] == [
        "set/a.png", "set/a.txt", "set/metadata.jsonl", "set/ї.png",
    ]  # fmt: skip
    assert taken.left_out == ("set/read me.pdf", "inner.zip")
    dataset = read_folder(tmp_path / "data", 8)
    assert [picture.caption for picture in dataset.pictures] == ["кіт, cat", "dog"]
    assert dataset.problems == ()


def test_from_an_open_file_into_a_folder_with_pictures(tmp_path: Path) -> None:
    archive = zipped(tmp_path, ("a.png", png()), method=zipfile.ZIP_STORED)
    with open(archive, "rb") as file:
        take_zip(file, tmp_path / "data")
    take_zip(archive, tmp_path / "data")  # the same once more
    other = zipped(tmp_path, ("a.png", png("blue")))
    with pytest.raises(DatasetError, match=r"a\.png: such a file is in the folder already"):
        take_zip(other, tmp_path / "data")
    take_zip(zipped(tmp_path, ("b.png", png())), tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/tmp/a.png", "..\\..\\a.png", "C:/a.png"])  # noqa: S108
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    assert "leads out of the folder" in refused(zipped(tmp_path, ("ok.png", png()), (name, png())))


@pytest.mark.parametrize("other", ["a.png", "A.PNG", "a.png/b.png", "\uff41.png"])
def test_names_that_are_one_on_some_disks(tmp_path: Path, other: str) -> None:
    assert "stands there twice" in refused(zipped(tmp_path, ("a.png", png()), (other, png())))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("a.png")
    entry.external_attr = (kind | 0o777) << 16
    assert refused(zipped(tmp_path, ("ok.png", png()), (entry, b"/etc/passwd"))) == (
        "a.png: is a link or a device and not a file; pack the file itself"
    )


def test_a_link_to_a_folder_and_a_file_through_it(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("sub")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    (tmp_path / "work").mkdir()
    take_zip(zipped(tmp_path / "work", (link, b".."), ("sub/a.png", png())), tmp_path / "work" / "data")
    assert (tmp_path / "work" / "data" / "sub" / "a.png").is_file()
    assert not (tmp_path / "work" / "data" / "sub").is_symlink()
    assert not (tmp_path / "work" / "a.png").exists()


def patched(archive: Path, offset_in_entry: int, value: bytes) -> Path:
    """The first entry of the zip's directory changed."""
    content = bytearray(archive.read_bytes())
    start = content.index(b"PK\x01\x02") + offset_in_entry
    content[start : start + len(value)] = value
    archive.write_bytes(content)
    return archive


def test_encrypted(tmp_path: Path) -> None:
    archive = patched(zipped(tmp_path, ("a.png", png())), 8, b"\x01\0")
    assert refused(archive) == "a.png: is encrypted; pack the pictures without a password"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_methods(tmp_path: Path, method: int) -> None:
    assert refused(zipped(tmp_path, ("a.png", png()), method=method)) == (
        f"a.png: is packed by method {method}; pack it by the usual one, deflate"
    )


def test_more_files_than_may_be(tmp_path: Path) -> None:
    archive = zipped(tmp_path, *((f"{number}.png", b"x") for number in range(30)))
    assert "more than 29 files" in refused(archive, Limits(files=29))
    assert "more than 14 files" in refused(archive, Limits(files=14))
    assert "more than 3 files" in refused(archive, Limits(files=3))


def memory_taken(do: object) -> int:
    """Bytes by which the process's peak of memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    do()  # type: ignore[operator]
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def test_a_directory_of_a_million_entries_is_not_read(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a.png"
    directory = entry * 1_000_000
    (tmp_path / "in.zip").write_bytes(
        directory + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), 0, 0)
    )
    del directory
    assert memory_taken(lambda: refused(tmp_path / "in.zip")) < 50_000_000


def test_a_directory_whose_size_stands_in_the_zip64_record(tmp_path: Path) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0) + b"a.png"
    directory = entry * 5000
    record = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, len(directory), 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 51, 0, 0)
    (tmp_path / "in.zip").write_bytes(directory + record + locator + end)
    assert len(zipfile.ZipFile(tmp_path / "in.zip").infolist()) == 5000, "the record is what counts"
    assert refused(tmp_path / "in.zip", Limits(files=100)) == "the zip holds more than 100 files; pack it in several"


def test_a_bomb_of_zeros(tmp_path: Path) -> None:
    """300 MB of zeros in 300 kB; refused by what it promises, before a byte is unpacked."""
    with zipfile.ZipFile(tmp_path / "in.zip", "w", zipfile.ZIP_DEFLATED) as file, file.open("a.bmp", "w") as stream:
        for _ in range(300):
            stream.write(bytes(1_000_000))
    assert (tmp_path / "in.zip").stat().st_size < 400_000
    assert "would grow from 0.3 MB to 300 MB, which pictures do not" in refused(tmp_path / "in.zip")
    assert "a.bmp: is larger than 100 MB" in refused(tmp_path / "in.zip", Limits(ratio=1e9, file_bytes=100_000_000))
    assert "more than 200 MB; pack" in refused(tmp_path / "in.zip", Limits(ratio=1e9, total_bytes=200_000_000))


def test_a_bomb_that_promises_little(tmp_path: Path) -> None:
    """The directory says 100 bytes where 50 MB come: what is unpacked ends there, and the checksum tells."""
    archive = zipped(tmp_path, ("a.bmp", bytes(50_000_000)))
    content = bytearray(archive.read_bytes())
    for at in (content.index(b"PK\x03\x04") + 22, content.index(b"PK\x01\x02") + 24):
        content[at : at + 4] = struct.pack("<L", 100)
    archive.write_bytes(content)
    assert "is no zip, or broken" in refused(archive)


def test_entries_that_share_bytes(tmp_path: Path) -> None:
    """Fifield's kind: many entries of the directory, one block of data."""
    data = zlib.compress(bytes(1_000_000), 9)[2:-4]
    check = zlib.crc32(bytes(1_000_000))
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, check, len(data), 1_000_000, 5, 0) + b"0.bmp" + data
    entries = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, check, len(data), 1_000_000, 5, 0, 0, 0, 0, 0, 0)
        + f"{number}.bmp".encode()
        for number in range(5)
    )
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 5, 5, len(entries), len(local), 0)
    (tmp_path / "in.zip").write_bytes(local + entries + end)
    assert refused(tmp_path / "in.zip").endswith("(entries share bytes, or lie outside)")


def test_broken_ones(tmp_path: Path) -> None:
    archive = zipped(tmp_path, ("a.png", png()), ("b.png", png("blue")))
    whole = archive.read_bytes()
    at = whole.index(b"IDAT") if b"IDAT" in whole else 45
    for content in (b"", b"no zip", whole[:-10], whole[: len(whole) // 2], whole[:at] + b"\xff" * 8 + whole[at + 8 :]):
        archive.write_bytes(content)
        assert "is no zip, or broken; pack the pictures anew" in refused(archive)


def test_every_flipped_byte_is_harmless(tmp_path: Path) -> None:
    """Each byte of a small zip turned over: taken as it is, or refused in one line; never another error."""
    archive = zipped(tmp_path, ("a.png", png()), ("a.txt", b"cat"))
    whole = archive.read_bytes()
    outcomes = set()
    for place in range(len(whole)):
        for mask in (0xFF, 0x01, 0x80):
            content = bytearray(whole)
            content[place] ^= mask
            out = tmp_path / f"out-{place}-{mask}"
            said = ""
            try:
                take_zip(io.BytesIO(content), out)
            except (DatasetError, StorageError) as error:
                said = str(error)
            assert said.isprintable()
            assert out.exists() == (said == "")
            outcomes.add(out.exists())
    assert outcomes == {True, False}
    assert not list(tmp_path.glob(".*"))


def test_less_than_promised(tmp_path: Path) -> None:
    archive = patched(zipped(tmp_path, ("a.png", png())), 24, struct.pack("<L", 1000))
    assert "a.png is shorter than promised" in refused(archive)


def test_more_than_the_disk_holds(tmp_path: Path) -> None:
    with (
        Intake(tmp_path / "data", Limits()) as intake,
        pytest.raises(StorageError, match=r"disk full \(needs about \d+ MB"),
    ):
        intake.check_room(2**60)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """A real refusal of the system, in the middle of the second file."""
    archive = zipped(tmp_path, ("a.png", png()), ("b.bmp", bytes(3_000_000)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
    try:
        with pytest.raises(StorageError, match=r"data: cannot be written \(File too large\)"):
            take_zip(archive, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["in.zip"]


def test_a_zip_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.zip: cannot be read \(No such file or directory\)"):
        take_zip(tmp_path / "none.zip", tmp_path / "data")
