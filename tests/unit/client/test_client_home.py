"""The participant's folder: a key that nobody else reads, one process, and no name that leads out of it."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedflow.client.home import Device, Home, default_home, only_home
from fedflow.client.identity import open_identity
from fedflow.errors import MistakeError, RunError, StorageError

DEVICE = Device(server="http://127.0.0.1:1", device_id="d1", member="studio", federation_id="f1", federation="Museums")


def test_the_key_is_made_once_and_its_owner_alone_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    identity = open_identity(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_identity(path).public_key == identity.public_key
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(identity.public_key))
    public.verify(base64.b64decode(identity.sign(b"text")), b"text")
    assert [each.name for each in tmp_path.iterdir()] == ["device.key"]


def test_a_key_that_others_may_read_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    open_identity(path)
    path.chmod(0o640)
    with pytest.raises(MistakeError, match=rf"run 'chmod 600 {path}'"):
        open_identity(path)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    path.write_text("-----BEGIN PRIVATE KEY-----\nnone\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(MistakeError, match="is no Ed25519 key"):
        open_identity(path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    second = (
        "import sys; from pathlib import Path; from fedflow.client.home import Home\n"
        f"with Home(Path({str(folder)!r})).alone(): pass"
    )
    with Home(folder).alone():
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with pytest.raises(RunError, match="another fedflow process takes part from here"), Home(folder).alone():
            pass
        done = subprocess.run([sys.executable, "-c", second], capture_output=True, text=True, timeout=60, check=False)
        assert "another fedflow process" in done.stderr
    with Home(folder).alone():
        pass


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    half = tmp_path / "runs" / "r1" / ".0.partial"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    with Home(tmp_path).alone():
        assert not half.exists()


def test_the_device_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.device() is None
    home.keep(DEVICE)
    assert home.device() == DEVICE
    (tmp_path / "device.json").write_text('{"server": "x"}')
    with pytest.raises(StorageError, match=r"device.json: is damaged \(device_id: Field required\)"):
        home.device()


@pytest.mark.parametrize("name", ["..", ".", "../x", "a/b", "a\\b", ".ssh", "", "a\x1bb", "x" * 81])
def test_no_name_of_the_servers_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(RunError, match="cannot name a folder; refused"):
        home.run(name)
    with pytest.raises(RunError, match="no SHA-256; refused"):
        home.base(name)
    with pytest.raises(ValueError, match="member"):
        Device(**{**DEVICE.model_dump(), "member": name})


def test_the_home_of_a_server_is_known_before_joining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(MistakeError, match="give the server's URL and --code"):
        only_home()
    first, second = default_home("https://fed.example.org"), default_home("http://127.0.0.1:8440")
    assert (first, second) == (tmp_path / "fedflow" / "fed.example.org", tmp_path / "fedflow" / "127.0.0.1-8440")
    Home(first).keep(DEVICE)
    assert only_home() == first
    Home(second).keep(DEVICE)
    with pytest.raises(MistakeError, match=f"choose with --home: {second}, {first}"):
        only_home()
