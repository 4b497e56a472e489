"""What is started with compose or systemd: every name in these files is one that FedFlow, or its tools, know."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from ruamel.yaml import YAML
from typer.main import get_command

from fedflow.cli.entry_server import server_app
from fedflow.cli.secret_files import SECRET
from fedflow.cli.server import back_up, prepare, restore, verify_audit
from fedflow.errors import MistakeError
from fedflow.server.api.metrics import Now, Requests
from fedflow.server.database.people import Person
from fedflow.server.services import federations
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store

ROOT = Path(__file__).parents[2]
OURS = ("setup", "web", "worker", "evaluator")


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(ROOT / "compose.yaml")
    return loaded


def variables() -> set[str]:
    """The environment's names that `fedflow server` reads."""
    told = {variable for each in get_command(server_app).params for variable in (each.envvar or "",)}
    return {str(each) for each in told if each} | {f"FEDFLOW_{name.upper()}_FILE" for name in SECRET}


def test_compose_starts_commands_with_settings_that_there_are(compose: dict[str, Any]) -> None:
    group: Any = get_command(server_app)
    flags = {flag for each in group.params for flag in each.opts}
    for name in OURS:
        service = compose["services"][name]
        *options, command = service["command"]
        assert command in group.commands, name
        assert {each for each in options if each.startswith("--")} <= flags, name
        ours = {each for each in service["environment"] if each.startswith("FEDFLOW_")}
        assert ours <= variables(), name


def test_compose_passes_on_every_setting(compose: dict[str, Any]) -> None:
    by_command_line = {"FEDFLOW_LISTEN_HOST", "FEDFLOW_LISTEN_PORT"}
    for name in OURS:
        given = compose["services"][name]["environment"]
        lacking = {each for each in variables() if each not in given and f"{each}_FILE" not in given}
        assert lacking == by_command_line, name


def test_every_setting_can_be_given_where_there_is_no_command_line() -> None:
    told = {each.name for each in get_command(server_app).params if getattr(each, "envvar", None)}
    assert {each.name for each in get_command(server_app).params} - told == {
        "folder",
        "install_completion",
        "show_completion",
    }


def test_compose_holds_no_password_and_its_parts_are_contained(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert ":latest" not in service["image"], name
        assert ":" in service["image"], name
        as_root = name not in OURS and service["user"] in ("root", "0")
        assert not as_root or (service["network_mode"], service["restart"]) == ("none", "no"), name
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"(PASSWORD|SECRET|_KEY|TOKEN)$", variable), (name, variable)
            assert not re.search(r"://[^/]*:[^/]*@", str(value)), (name, variable)
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"], (name, secret)
        published = [str(port).split(":")[0] for port in service.get("ports", [])]
        assert name == "proxy" or published == [], name
    assert re.search(r"^USER (?!0\b|root\b)\S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_image_unit_and_compose_let_people_sign_in_at_a_provider(compose: dict[str, Any]) -> None:
    extras = {"oidc", "postgresql", "queue", "s3"}
    known = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for file in ("Dockerfile", "deploy/fedflow-server.service"):
        [installed] = re.findall(r"pip install (?:.|\\\n)*?'(.*?)\[(.*?)\]'", (ROOT / file).read_text())
        assert installed[0] == ".", "from the checkout: the name on PyPI is a stranger's"
        assert extras == set(installed[1].split(",")) <= known, file
        assert "--constraint constraints.txt" in (ROOT / file).read_text(), file
    given = compose["services"]["web"]["environment"]
    passed_on = {name for name, value in given.items() if value is None}
    assert passed_on <= variables()
    assert {f"FEDFLOW_{name}" for name in ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET_FILE")} <= passed_on
    assert {"FEDFLOW_MAIL_FROM", "FEDFLOW_SMTP_URL_FILE"} <= passed_on
    assert {"FEDFLOW_IMPORTS", "FEDFLOW_HUB_IMPORTS", "FEDFLOW_OPEN_REGISTRATION"} <= passed_on
    bounds = {f"FEDFLOW_{name.upper()}" for name in ServerSettings.model_fields if name.startswith(("max_", "tryout"))}
    assert bounds <= passed_on
    top = (ROOT / "compose.yaml").read_text().partition("\nname:")[0]
    for variable, secret in re.findall(r"(FEDFLOW_\w+)=/run/secrets/(\w+)", top):
        assert variable in passed_on
        assert all(secret in compose["services"][name]["secrets"] for name in OURS)
        assert secret in compose["secrets"]


def test_the_secrets_are_made_once_each_its_own(compose: dict[str, Any], tmp_path: Path) -> None:
    script, folder = ROOT / "deploy" / "make-secrets.sh", tmp_path / "secrets"
    made = []
    for target in (folder, folder, tmp_path / "others"):
        subprocess.run(["sh", script, target], check=True, capture_output=True)
        made.append({path.name: path.read_text() for path in target.iterdir()})
    assert made[0] == made[1]
    given = {Path(each["file"]).name for each in compose["secrets"].values()}
    given |= {Path(file).name for name in OURS for file in compose["services"][name]["env_file"]}
    assert given | {"store_key"} == set(made[0])
    [identity] = json.loads(made[0]["store"])["identities"]
    keys = dict(line.split("=") for line in made[0]["store.env"].splitlines())
    assert keys == {
        "AWS_ACCESS_KEY_ID": identity["credentials"][0]["accessKey"],
        "AWS_SECRET_ACCESS_KEY": identity["credentials"][0]["secretKey"],
    }
    password = made[0]["database_password"]
    assert re.fullmatch(r"[0-9a-f]{64}", password)
    assert password != made[2]["database_password"]
    url = ServerSettings(folder=tmp_path, database_url=made[0]["database_url"]).url
    assert url == f"postgresql+psycopg://fedflow:{password}@database/fedflow"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed; install systemd to have the unit checked")
    text = (ROOT / "deploy" / "fedflow-server.service").read_text()
    unit = tmp_path / "fedflow-server.service"
    unit.write_text(text.replace("/opt/fedflow/bin/fedflow", sys.executable))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHouse=yes"))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert "ProtectHouse" in checked.stderr


def test_alerts_ask_for_figures_that_are_told(tmp_path: Path) -> None:
    store = open_store(ServerSettings(folder=tmp_path / "data"))
    federations.first_federation(store)
    registry = CollectorRegistry()
    Requests(registry).note("pages.overview.overview", "GET", 200, 0.01)
    registry.register(Now(store))
    told = {family.name for family in registry.collect()}
    store.engine.dispose()
    rules = (ROOT / "deploy" / "alerts.yaml").read_text()
    asked = set(re.findall(r"fedflow_\w+", rules))
    assert len(asked) >= 5
    assert {re.sub(r"_(total|bucket)$", "", name) for name in asked} <= told
    counters = set(re.findall(r"\b(?:rate|increase)\((\w+)", rules))
    assert all(name.endswith(("_total", "_bucket")) for name in counters), "of a gauge these tell nothing"


STANDS_STILL = """
evaluation_interval: 1m
rule_files: [RULES]
tests:
  - interval: 1m
    input_series:
      - { series: 'fedflow_oldest_job_seconds{job="fedflow",kind="export",status="queued"}', values: '7200+60x40' }
      - { series: 'fedflow_oldest_job_seconds{job="fedflow",kind="export",status="running"}', values: '5x40' }
    alert_rule_test:
      - eval_time: 10m
        alertname: FedFlowJobsStandStill
        exp_alerts: [{ exp_labels: { kind: export } }]
"""
FAILED = """
  - interval: 1m
    input_series: [{ series: 'fedflow_runs_failed_total{job="fedflow"}', values: 'VALUES' }]
    alert_rule_test:
      - { eval_time: 12m, alertname: FedFlowRunFailed, exp_alerts: [ALERTS] }
"""


def test_alerts_fire_for_what_they_say_and_for_nothing_else(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; install prometheus to have the alerts tried")
    cases = STANDS_STILL.replace("RULES", str(ROOT / "deploy" / "alerts.yaml"))
    for values, alerts in (
        ("0x10 1x40", "{ exp_labels: { job: fedflow } }"),  # the first that failed
        ("2x10 3x40", "{ exp_labels: { job: fedflow } }"),
        ("2x40", ""),  # those of before go on, or stay as they are
        ("0x40", ""),
    ):
        cases += FAILED.replace("VALUES", values).replace("ALERTS", alerts)
    (tmp_path / "cases.yaml").write_text(cases)
    tried = subprocess.run(
        ["promtool", "test", "rules", tmp_path / "cases.yaml"], capture_output=True, text=True, check=False
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_parts_find_what_the_preparation_has_made(tmp_path: Path) -> None:
    """`prepare` as compose starts it: its database's address in a file, its link for the first account told again."""
    url = tmp_path / "database_url"
    url.write_text(f"sqlite:///{tmp_path / 'elsewhere.db'}\n")
    environment = os.environ | {"FEDFLOW_DATABASE_URL_FILE": str(url), "FEDFLOW_PUBLIC_URL": "https://fedflow.example"}
    command = [sys.executable, "-m", "fedflow", "server", "--folder", str(tmp_path / "data"), "prepare"]
    told = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    links = [re.search(r"https://fedflow\.example/invitation/(\S+)", text) for text in told]
    assert all(links)
    assert links[0] != links[1]
    store = open_store(ServerSettings(folder=tmp_path / "data", database_url=url.read_text().strip()))
    with store.read() as session:
        assert session.query(Person).count() == 1
    store.engine.dispose()
    url.unlink()
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert f"FEDFLOW_DATABASE_URL_FILE={url}: cannot be read" in failed.stderr


def test_one_off_commands_with_compose_start_nothing_that_is_in_their_way(compose: dict[str, Any]) -> None:
    """A part waits for `setup`, whose `prepare` makes a server: where one is restored there must be none yet."""

    def started(name: str) -> set[str]:
        waits = compose["services"][name].get("depends_on", {})
        return set(waits).union(*map(started, waits))

    group: Any = get_command(server_app)
    told = (ROOT / "docs" / "upgrading.md").read_text()
    lines = re.findall(r"docker compose run --rm (.*?)(web|worker|evaluator|setup) ([a-z-]+)", told)
    assert {command for _, _, command in lines} == {"backup", "restore", "migrate"}
    for options, name, command in lines:
        assert command in group.commands
        assert "--no-deps" in options or "setup" not in started(name), (name, command)
        assert command != "restore" or {"database", "bucket"} <= started(name), "nobody has started these before"
        assert command != "restore" or "build" in compose["services"][name], "the first image is made by it"
        assert f"fedflow_{compose['services']['database']['volumes'][0].split(':')[0]}" in told


def test_a_back_up_is_restored_before_the_first_preparation_and_not_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `docker compose run setup restore` and `up` call, with a database outside of the folder."""

    def of(machine: str) -> ServerSettings:
        return ServerSettings(folder=tmp_path / machine, database_url=f"sqlite:///{tmp_path / machine}.db")

    prepare(of("old"))
    back_up(of("old"), tmp_path / "fedflow.tar")
    prepare(of("other"))
    with pytest.raises(MistakeError, match="holds a server already"):
        restore(of("other"), tmp_path / "fedflow.tar")
    restore(of("new"), tmp_path / "fedflow.tar")
    prepare(of("new"))
    assert (tmp_path / "new" / "server.key").read_bytes() == (tmp_path / "old" / "server.key").read_bytes()
    assert verify_audit(of("new"))
    assert "are back in" in capsys.readouterr().out
