"""Makes everything that ships from the icon art, one step after the other, each resumable.

`python -m starter.make --work DIR`: autoencoder, denoiser with text encoder, package, extractor, demo pictures,
and the test of what the starter draws.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = ROOT / "src" / "fedflow" / "data"


def main(work: Path) -> None:
    """Run every step; a step that fails ends the command, and the same command goes on from there."""
    steps = [
        ["-m", "starter.vae", "--work", str(work)],
        ["-m", "starter.denoiser", "--work", str(work)],
        ["-m", "starter.package", "--work", str(work), "--out", str(DATA / "starter")],
        ["-m", "starter.extractor", "--work", str(work)],
        ["-m", "starter.tagger", "--work", str(work)],
        ["-m", "starter.demo_pictures", "--work", str(work)],
        [str(ROOT / "benchmarks" / "starter_quality.py"), "--grid", str(ROOT / "starter" / "grid.png")],
    ]
    for step in steps:
        print(f"starter: {' '.join(step)}", flush=True)
        subprocess.run([sys.executable, *step], check=True, cwd=ROOT)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(".starter-work"))
    main(parser.parse_args().work.resolve())
