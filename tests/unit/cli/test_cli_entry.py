"""The command line answers at once, and the rooms that a server's web process needs bring no torch along."""

from __future__ import annotations

import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from fedflow import __version__, plan
from fedflow.aggregation import AGGREGATORS, WEIGHTINGS
from fedflow.cli import entry

RUN = [sys.executable, "-c", "from fedflow.cli import main; main()"]
COMMANDS = ("demo", "simulate", "train", "generate", "aggregate", "evaluate", "export", "doctor")


def test_help_names_every_command_and_takes_less_than_0_3_s_of_cpu() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*RUN, "--help"], capture_output=True, text=True, timeout=60, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in COMMANDS:
        assert f"  {command}" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_without_importing_torch(command: str) -> None:
    script = (
        "import sys\nfrom fedflow.cli import main\n"
        f"sys.argv = ['fedflow', '{command}', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_version() -> None:
    done = subprocess.run([*RUN, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"fedflow {__version__}\n"


def test_an_unknown_option_ends_with_status_2() -> None:
    done = subprocess.run([*RUN, "train", "--colour", "red"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "module",
    [
        "fedflow.errors", "fedflow.plan", "fedflow.storage", "fedflow.datasets", "fedflow.federation.rounds",
        "fedflow.federation.participant", "fedflow.federation.jobs", "fedflow.federation.places",
        "fedflow.federation.records",
    ],
)  # fmt: skip
def test_rooms_of_the_web_process_import_no_torch(module: str) -> None:
    script = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True)


def test_constraints_pin_everything_that_pyproject_asks_for() -> None:
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    asked = {line.partition(">=")[0].lower().replace("_", "-") for line in project["dependencies"]}
    assert asked <= pinned
    assert "torch==2.13.0" in lines


def test_methods_and_weightings_are_the_same_in_plan_aggregators_and_options() -> None:
    assert [member.value for member in entry.Method] == list(AGGREGATORS) == list(get_args(plan.Method))
    assert [member.value for member in entry.Weighting] == list(WEIGHTINGS) == list(get_args(plan.Weighting))
