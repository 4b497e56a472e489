"""The command line answers at once, and the rooms that a server's web process needs bring no torch along."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from fedflow import __version__, plan
from fedflow.aggregation import AGGREGATORS, WEIGHTINGS
from fedflow.cli import entry, entry_pictures
from fedflow.models import SAMPLERS
from fedflow.training.recipe import PRECISIONS, SCHEDULES

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


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train --colour red", "no such option: --colour (Possible options: --out); 'fedflow train --help'"),
        ("trian", "no such command 'trian'. Did you mean 'train'?; 'fedflow --help'"),
        ("train pictures", "missing option '--out'; 'fedflow train --help'"),
        ("train pictures --out", "option '--out' requires an argument; 'fedflow --help'"),
        ("train pictures --out o --schedule foo", "'foo' is not one of 'constant', 'cosine'; 'fedflow train --help'"),
        ("train pictures --out o --precision foo", "'foo' is not one of 'auto', 'float32', 'bfloat16'"),
        ("train pictures --out o --learning-rate 500", "'--learning-rate': must be at most 1, not 500"),
        ("train pictures --out o --learning-rate -1", "'--learning-rate': must be a finite number above 0, not -1"),
        ("train pictures --out o --learning-rate nan", "'--learning-rate': must be a finite number above 0, not nan"),
        ("train pictures --out o --learning-rate inf", "'--learning-rate': must be a finite number above 0, not inf"),
        ("train pictures --out o --alpha 0", "'--alpha': must be a finite number above 0, not 0"),
        ("train pictures --out o --alpha nan", "'--alpha': must be a finite number above 0, not nan"),
        ("train pictures --out o --min-snr-gamma -1", "'--min-snr-gamma': must be a finite number above 0, not -1"),
        ("train pictures --out o --weight-floor nan", "invalid value for '--weight-floor'"),
        ("train pictures --out o --size 0", "invalid value for '--size'"),
        ("generate --prompt a --out o --width 0", "invalid value for '--width'"),
        ("generate --prompt a --out o --height 0", "invalid value for '--height'"),
        ("generate --prompt a --out o --size 64", "no such option: --size"),
        ("generate --prompt a --out o --guidance inf", "'--guidance': must be a finite number, not inf"),
        ("generate --prompt a --out o --sampler plms", "'plms' is not one of 'dpm++', 'unipc'"),
        ("generate --prompt a --out o --seed 99999999999999999999", "invalid value for '--seed'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(arguments: str, line: str, tmp_path: Path) -> None:
    command = [*RUN, *arguments.split()]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("fedflow: ")
    assert done.stderr.count("\n") == 1
    assert line in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["code museum", "members", "remove museum"])
def test_commands_for_a_server_ask_the_one_that_its_options_name(command: str, tmp_path: Path) -> None:
    options = ["server", "--port", "1", "--folder", str(tmp_path), *command.split()]
    environment = {**os.environ, "FEDFLOW_TOKEN": "ffp_x"}
    done = subprocess.run([*RUN, *options], capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("fedflow: http://127.0.0.1:1: no answer")


def test_no_command_is_answered_with_the_help() -> None:
    done = subprocess.run(RUN, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Usage: fedflow" in done.stderr


# A library that is being imported meanwhile may answer with an error of its own.
CTRL_C_AT_THE_IMPORT_OF = """
import os, signal, sys

module = sys.argv.pop(1)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if name == "diffusers":
                    raise ImportError(name)
                raise

sys.meta_path.insert(0, Interrupting())
from fedflow.cli import main
main()
"""


@pytest.mark.parametrize(
    "module", ["fedflow.cli.entry", "typer", "pydantic", "fedflow.cli.train", "torch", "diffusers"]
)
def test_ctrl_c_while_modules_are_imported_is_one_line(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CTRL_C_AT_THE_IMPORT_OF, module, "train", str(tmp_path), "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("fedflow: stopped")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


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
    asked = {re.split(r"[>=\[]", line)[0].lower().replace("_", "-") for line in project["dependencies"]}
    assert asked <= pinned
    assert "torch==2.13.0" in lines


def test_methods_and_weightings_are_the_same_in_plan_aggregators_and_options() -> None:
    assert [member.value for member in entry.Method] == list(AGGREGATORS) == list(get_args(plan.Method))
    assert [member.value for member in entry.Weighting] == list(WEIGHTINGS) == list(get_args(plan.Weighting))


def test_options_of_training_and_drawing_are_those_that_the_rooms_know() -> None:
    assert [member.value for member in entry_pictures.Schedule] == list(SCHEDULES)
    assert [member.value for member in entry_pictures.Precision] == list(PRECISIONS)
    assert [member.value for member in entry_pictures.Sampler] == list(SAMPLERS)
