"""`fedflow doctor` where something lacks, in real processes whose packages are links to the installed ones."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fedflow

DOCTOR = "import sys; from fedflow.cli import main; sys.argv[1:] = ['doctor']; main()"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with all installed packages but torch, and rich in a version that is too old."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        name = entry.name.lower()
        if not name.startswith(("torch", "functorch")) and not (name.startswith("rich-") and name.endswith("info")):
            (folder / entry.name).symlink_to(entry)
    old = folder / "rich-9.10.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 9.10\n", encoding="utf-8")
    return folder


def test_what_lacks_is_named_with_the_line_that_fixes_it(packages: Path, tmp_path: Path) -> None:
    path = os.pathsep.join([str(packages), str(Path(fedflow.__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-S", "-c", DOCTOR],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    place = lines.index("MISSING torch not installed; >=2.8 is needed")
    assert lines[place + 1] == "fix: pip install 'torch>=2.8'"
    place = lines.index("MISSING rich 9.10; >=14.0 is needed")
    assert lines[place + 1] == "fix: pip install 'rich>=14.0'"
    assert any(line.startswith("MISSING import torch fails (No module named 'torch')") for line in lines)
    checked = {line.split()[1] for line in lines if line.startswith("ok ")}
    assert {"typer", "pillow", "scipy", "matplotlib", "jinja2", "numpy", "diffusers", "transformers"} <= checked
    assert {"peft", "safetensors", "pydantic", "Python", "cores", "flask-openapi3", "gunicorn"} <= checked
    assert lines[-1].startswith("Mend what is marked MISSING")
