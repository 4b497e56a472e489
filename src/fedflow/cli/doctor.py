"""`fedflow doctor`: what this machine has, what is missing, and the line that fixes it."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement

DATA = Path(__file__).parent.parent / "data"
NEEDED_DISK_MB = 500
NEEDED_MEMORY_MB = 2000


@dataclass(frozen=True)
class Finding:
    """One line: `needed` findings that are not `fine` make the command fail."""

    what: str
    found: str
    fine: bool
    fix: str = ""
    needed: bool = True


def doctor() -> bool:
    """Print every finding as it is made; return whether all that is needed is there."""
    fine = True
    for finding in chain(_python(), _packages(), _machine(), _shipped(), _optional()):
        mark = "ok" if finding.fine else ("MISSING" if finding.needed else "optional")
        print(f"{mark:9}{finding.what:18}{finding.found}", flush=True)
        if not finding.fine and finding.fix:
            print(f"{'':9}{'':18}fix: {finding.fix}")
        fine = fine and (finding.fine or not finding.needed)
    print("This machine can run FedFlow." if fine else "Mend what is marked MISSING, then run 'fedflow doctor' again.")
    return fine


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    yield Finding("Python", version, sys.version_info >= (3, 11), "install Python 3.11 or newer")


def _packages() -> Iterator[Finding]:
    """Every package that FedFlow's own metadata asks for, in the version that it asks for."""
    try:
        requirements = metadata.requires("fedflow") or []
    except metadata.PackageNotFoundError:
        yield Finding("fedflow", "runs without being installed", False, "pip install fedflow, or pip install -e .")
        return
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue  # of an extra, or of another system
        package, needed = requirement.name, requirement.specifier
        fix = f"pip install '{text.partition(';')[0].strip()}'"
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError:
            yield Finding(package, f"not installed; {needed} is needed", False, fix)
            continue
        fine = needed.contains(found, prereleases=True)
        yield Finding(package, found if fine else f"{found}; {needed} is needed", fine, fix)


def _machine() -> Iterator[Finding]:
    yield Finding("cores", str(os.cpu_count()), True)
    memory_mb = _available_memory_mb()
    if memory_mb is not None:
        enough = memory_mb >= NEEDED_MEMORY_MB
        yield Finding("memory", f"{memory_mb} MB free", enough, f"the demo takes {NEEDED_MEMORY_MB} MB; close programs")
    free_mb = shutil.disk_usage(Path.cwd()).free // 2**20
    fix = f"a run takes about {NEEDED_DISK_MB} MB; free space or change to another folder"
    yield Finding("disk here", f"{free_mb} MB free", free_mb >= NEEDED_DISK_MB, fix)
    writable = os.access(Path.cwd(), os.W_OK)
    yield Finding("this folder", "writable" if writable else "not writable", writable, "change to a folder of yours")


def _shipped() -> Iterator[Finding]:
    for what, path in (
        ("starter model", DATA / "starter" / "model_index.json"),
        ("icons-v1", DATA / "icons-v1" / "model.safetensors"),
        ("demo pictures", DATA / "demo" / "heldout"),
    ):
        fix = "pip install --force-reinstall fedflow"
        yield Finding(what, "there" if path.exists() else "not there", path.exists(), fix)


def _optional() -> Iterator[Finding]:
    try:
        import torch

        from fedflow.evaluation.inception import inception_is_here
    except (ImportError, OSError) as error:  # OSError: a library of its own that cannot be loaded
        words = " ".join(str(error).split())
        yield Finding("import torch", f"fails ({words})", False, "pip install --force-reinstall torch")
        return
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none; everything runs on the processor"
    yield Finding("GPU", gpu, torch.cuda.is_available(), needed=False)
    s3 = find_spec("obstore") is not None
    yield Finding(
        "S3 store",
        "there" if s3 else "not there; for servers",
        s3,
        "in the checkout: pip install '.[s3]'",
        needed=False,
    )
    here = inception_is_here()
    fix = "in the checkout: pip install '.[inception]', and give --inception FILE"
    yield Finding("Inception (FID)", "there" if here else "not there; icons-v1 is used", here, fix, needed=False)


def _available_memory_mb() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable:")), None)
