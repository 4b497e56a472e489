"""`fedflow run close-round` at a server that really listens."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from flask import Flask
from tests.unit.server.run_setting import Setting, adapter
from werkzeug.serving import make_server

from fedflow.cli import main
from fedflow.server.database.tables import Round
from fedflow.server.services import identity
from fedflow.server.settings import ServerSettings


@pytest.fixture
def settings(tmp_path: Path) -> ServerSettings:
    """The services are tested on both databases; the command on one."""
    return ServerSettings(folder=tmp_path / "data")


def test_the_command_line_closes_the_round_that_it_names_and_no_other(
    app: Flask, setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FEDFLOW_TOKEN", identity.first_coordinator(setting.store))
    for seed, member in enumerate(("a", "b")):
        setting.hand_in(member, 1, adapter(seed + 1))
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        for number, code in (("2", 2), ("0", 2), ("1", 0)):
            words = ["fedflow", "run", "close-round", setting.run, "--round", number]
            monkeypatch.setattr(sys, "argv", [*words, "--server", f"http://127.0.0.1:{server.port}"])
            with pytest.raises(SystemExit) as ended:
                main()
            assert (ended.value.code or 0) == code, number
            with setting.store.read() as session:
                phase = session.get_one(Round, (setting.run, 1)).phase
            assert phase == ("collecting" if code else "aggregating")
            told = capsys.readouterr()
            if number == "2":
                assert "round 2 is not under way, round 1 is; look at that one" in told.err
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert f"round closed: {setting.run}" in told.out
