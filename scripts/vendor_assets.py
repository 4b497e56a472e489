"""Fill `src/fedflow/web/static/vendor/` and `tests/support/vendor/` from npm: pinned versions, licences, a manifest.

Run by hand when a version changes: `python scripts/vendor_assets.py` (needs npm). A file that changed though its
version did not is refused. Why these: htmx 2 is the line that the `sse` extension belongs to; Alpine's CSP build reads
its expressions itself, as our policy forbids eval; idiomorph changes a part in place, so that focus, scroll and what
is open stay; Inter has Cyrillic; axe-core looks at our pages in the tests alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VENDOR = HERE.parent / "src" / "fedflow" / "web" / "static" / "vendor"
TESTS_VENDOR = HERE.parent / "tests" / "support" / "vendor"
INTER_SUBSETS = ("latin", "latin-ext", "cyrillic")


@dataclass(frozen=True)
class Package:
    """One npm package: `files` of it go into `folder`; `licence_text` is inside it, or beside this script."""

    name: str
    version: str
    licence: str
    source: str
    folder: str
    files: tuple[str, ...]
    licence_text: str | Path


PACKAGES = (
    Package(
        "htmx.org",
        "2.0.11",
        "0BSD",
        "https://github.com/bigskysoftware/htmx",
        "htmx",
        ("dist/htmx.min.js",),
        "LICENSE",
    ),
    Package(
        "htmx-ext-sse",
        "2.2.4",
        "0BSD",
        "https://github.com/bigskysoftware/htmx-extensions",
        "htmx-ext-sse",
        ("dist/sse.min.js",),
        "LICENSE",
    ),
    Package(
        "idiomorph",
        "0.8.0",
        "0BSD",
        "https://github.com/bigskysoftware/idiomorph",
        "idiomorph",
        ("dist/idiomorph.min.js",),  # not the file for htmx, which makes code of attributes: `morph.js` is ours
        "LICENSE",
    ),
    Package(
        "@alpinejs/csp",
        "3.17.4",
        "MIT",
        "https://github.com/alpinejs/alpine",
        "alpine-csp",
        ("dist/cdn.min.js",),
        HERE / "licences" / "alpine.txt",  # the package carries none; this is the repository's
    ),
    Package(
        "@fontsource-variable/inter",
        "5.3.0",
        "OFL-1.1",
        "https://github.com/rsms/inter",
        "inter",
        tuple(f"files/inter-{subset}-wght-normal.woff2" for subset in INTER_SUBSETS),
        "LICENSE",
    ),
)
TESTS_PACKAGES = (
    Package(
        "axe-core",
        "4.14.1",
        "MPL-2.0",
        "https://github.com/dequelabs/axe-core",
        "axe-core",
        ("axe.min.js",),
        "LICENSE",
    ),
)


def main() -> int:
    """Write the folders anew; 1 with a sentence on stderr where npm fails or a pinned file changed."""
    if shutil.which("npm") is None:
        print("npm is not on the PATH; install Node.js, which brings it", file=sys.stderr)
        return 1
    return _fill(VENDOR, PACKAGES) or _fill(TESTS_VENDOR, TESTS_PACKAGES)


def _fill(vendor: Path, packages: Iterable[Package]) -> int:
    before = _known(vendor)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "vendor"
        entries = [_take(package, Path(temporary), folder) for package in packages]
        for entry in entries:
            for path, sha256 in entry["files"].items():
                if before.get((entry["name"], entry["version"], path), sha256) != sha256:
                    print(f"{path}: {entry['name']} {entry['version']} has other bytes than before", file=sys.stderr)
                    return 1
        (folder / "manifest.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(vendor, ignore_errors=True)
        shutil.copytree(folder, vendor)
    return 0


def _known(vendor: Path) -> dict[tuple[str, str, str], str]:
    try:
        entries = json.loads((vendor / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {(one["name"], one["version"], path): sha256 for one in entries for path, sha256 in one["files"].items()}


def _take(package: Package, temporary: Path, folder: Path) -> dict[str, Any]:
    """Put the package's files and licence under `folder`; its entry of the manifest."""
    packed = subprocess.run(
        ["npm", "pack", f"{package.name}@{package.version}", "--json", "--loglevel=error"],
        cwd=temporary,
        check=True,
        capture_output=True,
        text=True,
    )
    archive = temporary / _file_name(json.loads(packed.stdout))
    target = folder / package.folder
    target.mkdir(parents=True)
    with tarfile.open(archive) as content:
        wanted = {Path(name).name: _read(content, f"package/{name}") for name in package.files}
        if isinstance(package.licence_text, Path):
            wanted["LICENSE.txt"] = package.licence_text.read_bytes()
        else:
            wanted["LICENSE.txt"] = _read(content, f"package/{package.licence_text}")
    for name, data in wanted.items():
        (target / name).write_bytes(data)
    return {
        "name": package.name,
        "version": package.version,
        "licence": package.licence,
        "source": package.source,
        "files": {f"{package.folder}/{name}": hashlib.sha256(data).hexdigest() for name, data in wanted.items()},
    }


def _file_name(answer: Any) -> str:
    """The archive that `npm pack --json` told of; npm 12 tells by name, older ones in a list."""
    told = answer[0] if isinstance(answer, list) else next(iter(answer.values()))
    return str(told["filename"]).replace("@", "").replace("/", "-")


def _read(content: tarfile.TarFile, name: str) -> bytes:
    file = content.extractfile(name)
    if file is None:
        raise FileNotFoundError(f"{content.name}: holds no file {name}")
    return file.read()


if __name__ == "__main__":
    sys.exit(main())
