"""What a server says of itself when it starts, and of a setting that is wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from fedflow.cli.entry_server import server_app
from fedflow.cli.server import (
    address,
    back_up,
    own_address,
    prepare,
    print_password_link,
    renew_token,
    run_server,
    settings_of,
    verify_audit,
)
from fedflow.errors import MistakeError, PlanError, RunError
from fedflow.server.errors import NotFound
from fedflow.server.serve import wait_for_address
from fedflow.server.services import accounts, federations, identity, invitations
from fedflow.server.settings import ServerSettings
from fedflow.server.store import open_store


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("0.0.0.0", socket.gethostname()),  # noqa: S104 - nothing listens
        ("::", socket.gethostname()),
    ],
)
def test_the_address_is_one_that_others_can_write(host: str, shown: str) -> None:
    assert address(settings_of(folder=Path("x"), host=host, port=8913)) == f"http://{shown}:8913"


def test_a_wrong_setting_is_told_by_its_option() -> None:
    with pytest.raises(PlanError, match=r"^--database-url: begins with none of sqlite:, postgresql\+psycopg:$"):
        settings_of(folder=Path("x"), database_url="mysql://x/y")
    with pytest.raises(PlanError, match=r"^--port: "):
        settings_of(folder=Path("x"), port=70000)


def test_every_setting_of_a_server_is_given_by_an_option_or_a_variable(tmp_path: Path) -> None:
    options = {each.name: each for each in get_command(server_app).params}
    assert options.keys() >= ServerSettings.model_fields.keys()
    asked = ["--folder", str(tmp_path), "audit", "verify"]
    for name, field in ServerSettings.model_fields.items():
        if field.annotation not in {int, float}:
            continue
        wrong = CliRunner().invoke(server_app, [options[name].opts[0], "-1", *asked])
        assert str(wrong.exception).startswith(f"--{name.replace('_', '-')}: "), "it reaches the settings"
        heard = CliRunner().invoke(server_app, asked, env={options[name].envvar: "-1"})
        assert str(heard.exception) == str(wrong.exception)


@pytest.mark.parametrize("url", ["fedflow.example", "https://fedflow.example/pages", "https://a@b", "https://x?y"])
def test_a_public_address_is_a_host_alone(url: str) -> None:
    with pytest.raises(PlanError, match=r"^--public-url: give https://HOST"):
        settings_of(folder=Path("x"), public_url=url)


def test_whoever_runs_the_server_makes_a_link_for_a_new_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(folder=tmp_path / "data", public_url="https://fedflow.example/")
    store = open_store(settings)
    identity.first_coordinator(store)
    code = invitations.first(store)
    accounts.register(store, "Ada", "ada@example.org", "violet tram eats seven maps", code, "")
    print_password_link(settings, "Ada@example.org")
    address, code = capsys.readouterr().out.strip().split("/password/")
    assert address == "https://fedflow.example"
    accounts.reset_password(store, code, "seventeen quiet lamps near rome", "")
    with pytest.raises(NotFound, match=r"no account has the address eve@example\.org"):
        print_password_link(settings, "eve@example.org")
    store.engine.dispose()


def test_the_first_start_names_its_federation_once(tmp_path: Path) -> None:
    settings = settings_of(folder=tmp_path / "data")
    with pytest.raises(MistakeError, match=r"--federation: give 1 to 80 letters in one line"):
        prepare(settings, "two\nlines")
    own = ["--folder", str(tmp_path / "data"), "--federation"]
    assert CliRunner().invoke(server_app, [*own, "Museums of the north", "prepare"]).exit_code == 0
    prepare(settings, "another")
    store = open_store(settings)
    assert [each.name for each in federations.listed(store, identity.SERVER, "", 9)] == ["Museums of the north"]
    store.engine.dispose()
    refused = CliRunner().invoke(server_app, [*own, "another", "members"])
    assert "'members' makes none" in refused.output, "that it is not heeded is said"
    heedless = CliRunner().invoke(server_app, [*own[:2], "audit", "verify"], env={"FEDFLOW_FEDERATION": "another"})
    assert heedless.exit_code == 0, "a variable is for the first start and whatever comes after it"


def test_commands_on_a_folder_find_the_server_where_it_was_started_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    assert own_address(settings_of(folder=folder)) == "http://127.0.0.1:8440", "nothing is known of it yet"
    monkeypatch.setattr("fedflow.cli.server.become_supervisor", lambda _: 0)  # the start without what runs for ever
    run_server(started := settings_of(folder=folder, port=0, public_url="https://fedflow.example"))
    port = json.loads((folder / "started.json").read_text())["address"].rpartition(":")[2]
    assert int(port) != started.port
    assert own_address(settings_of(folder=folder)) == f"http://127.0.0.1:{port}"
    assert own_address(settings_of(folder=folder, port=8499)) == "http://127.0.0.1:8499"
    for command in (["code", "museum"], ["members"], ["remove", "museum"]):
        asked = CliRunner().invoke(server_app, [*command, "--folder", str(folder)])
        assert str(asked.exception).startswith(f"http://127.0.0.1:{port}: no answer")
    store = open_store(settings_of(folder=folder))
    accounts.register(store, "Ada", "ada@example.org", "violet tram eats seven maps", invitations.first(store), "")
    store.engine.dispose()
    capsys.readouterr()
    print_password_link(settings_of(folder=folder), "ada@example.org")
    assert capsys.readouterr().out.startswith("https://fedflow.example/password/")


@pytest.mark.parametrize(
    "command",
    [
        verify_audit,
        renew_token,
        lambda settings: print_password_link(settings, "ada@example.org"),
        lambda settings: back_up(settings, settings.folder.parent / "backup.tar"),
    ],
    ids=["audit verify", "new-token", "password-link", "backup"],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_command_about_a_server_makes_none_where_the_folder_is_wrong(
    command: Callable[[ServerSettings], object], there: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    if there:
        folder.mkdir()
    with pytest.raises(MistakeError, match=r"data: holds no server; give the --folder and --database-url"):
        command(settings_of(folder=folder))
    assert list(tmp_path.rglob("*")) == ([folder] if there else [])
    empty = f"sqlite:///{tmp_path / 'other.db'}"
    if there:
        with pytest.raises(MistakeError, match="holds no server"):
            command(settings_of(folder=folder, database_url=empty))
        assert not list(folder.iterdir())


def test_a_start_waits_for_a_server_that_is_ending(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ending:
        settings = settings_of(folder=tmp_path, port=ending.getsockname()[1])
        with pytest.raises(RunError, match="cannot listen there"):
            wait_for_address(settings, 0.2)
        assert "is taken; trying for 0 s" in capsys.readouterr().out
        threading.Timer(0.3, ending.close).start()
        wait_for_address(settings, 30)


def test_an_address_of_another_machine_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"192\.0\.2\.1:\d+: cannot listen there"):
        wait_for_address(settings_of(folder=tmp_path, host="192.0.2.1"), 30)


def test_port_0_takes_a_free_one(tmp_path: Path) -> None:
    assert wait_for_address(settings_of(folder=tmp_path, port=0)).port > 0


def test_a_queue_of_another_kind_is_told_by_its_option(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"^--queue-url: .*give redis://HOST:PORT/N"):
        settings_of(folder=tmp_path, queue_url="foo")
