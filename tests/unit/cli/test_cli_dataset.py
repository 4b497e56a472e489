"""`fedflow dataset check` and `stats`: what they print, and the exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from fedflow.cli.dataset import check, stats
from fedflow.errors import DatasetError, MistakeError
from fedflow.shipped import demo_folder


def add(folder: Path, name: str, caption: str | None = "cat, red", size: tuple[int, int] = (80, 80)) -> Path:
    path = folder / name
    Image.effect_noise(size, 40).convert("RGB").save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def checked(folder: Path, capsys: pytest.CaptureFixture[str], names: Path | None = None) -> tuple[bool, str]:
    return check(folder, names, None, 6), capsys.readouterr().out


def test_all_that_is_wrong_the_gravest_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    first = add(folder, "a.png")
    Image.open(first).save(folder / "b.bmp")
    (folder / "b.txt").write_text("anna, call +380 44 123 45 67")
    Image.open(first).resize((60, 60)).save(folder / "c.png")
    (folder / "c.txt").write_text("\x1b[31mred")
    add(folder, "d.png", None)
    add(folder, "[bold]e.png").write_bytes(b"")
    (tmp_path / "names.txt").write_text("Anna\n")
    good, printed = checked(folder, capsys, tmp_path / "names.txt")
    assert not good
    assert printed.splitlines() == [
        "Cannot be used (2):",
        "  [bold]e.png: is an empty file; replace it or remove it",
        "  d.png: has no caption; write its tags into d.txt in the same folder",
        "",
        "Personal data in captions (1):",
        "  b.bmp: name anna, telephone number +380 44 123 45 67",
        "",
        "The same picture (1):",
        "  a.png = b.bmp",
        "",
        "Nearly the same (1):",
        printed.splitlines()[11],
        "",
        "Used, and worth a look (1):",
        "  c.png: is tiny (60x60); a side under 64 pixels has little to learn from",
        "",
        "5 pictures, 3 can be used; 2 problems, 1 caption with personal data, 1 picture more than once, "
        "1 group of near duplicates, 1 odd picture.",
    ]
    assert printed.splitlines()[11].startswith("  a.png ~ c.png (")


def test_a_good_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(tmp_path, "a.png")
    assert checked(tmp_path, capsys) == (True, "1 picture, 1 can be used; nothing to mend.\n")


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no pictures; put PNG or JPEG files there"):
        check(tmp_path, None, None, 6)
    with pytest.raises(DatasetError, match="none: is not there"):
        stats(tmp_path / "none", 512, 64, 20)
    with pytest.raises(DatasetError, match="'ZZ': is no country's code"):
        check(tmp_path, None, ["ZZ"], 6)
    with pytest.raises(MistakeError, match="--unit: unit 64: must be 1 to 32, the size"):
        stats(tmp_path, 32, 64, 20)


def test_stats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(tmp_path, "a.png", "[red]cat[/red], x\x1b[31m")
    add(tmp_path, "b.png", "[red]cat[/red]", (160, 80))
    add(tmp_path, "c.png", None)
    stats(tmp_path, 512, 64, 1)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "Tags (1 more)" in lines
    for line in ("[red]cat[/red] 2", "width, pixels 80 120 160", "64-127 2", "704x320 1 9% 50%", "has no caption 1"):
        assert line in lines, line
    assert not any("\x1b" in line for line in lines)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fedflow", "dataset", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_commands_themselves(tmp_path: Path) -> None:
    add(tmp_path, "a.png", None)
    bad = run("check", str(tmp_path))
    assert (bad.returncode, bad.stderr) == (1, "")
    assert bad.stdout.endswith("1 picture, 0 can be used; 1 problem.\n")
    good = run("check", str(demo_folder() / "client-1"), "--region", "pl")
    assert (good.returncode, good.stdout) == (0, "20 pictures, 20 can be used; nothing to mend.\n")
    assert "fluent_style" in run("stats", str(demo_folder() / "client-1"), "--tags", "3").stdout
    assert run("check", str(tmp_path / "none")).returncode == 2
