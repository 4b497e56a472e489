"""The base model comes once, whole and right, or is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedflow.client.base import prepare_base
from fedflow.client.home import Home
from fedflow.errors import ModelError, RunError
from fedflow.federation.protocol import BaseFile, RunFacts
from fedflow.models import open_model
from fedflow.plan import Plan
from fedflow.storage import sha256_file


class Server:
    """The files of a model folder, by content; `fetched` counts."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.by_hash = {sha256_file(path): path for path in paths}
        self.files = tuple(
            BaseFile(path=path.relative_to(folder).as_posix(), sha256=sha256_file(path), size_bytes=path.stat().st_size)
            for path in paths
        )
        self.fetched: list[str] = []

    def fetch(self, sha256: str, target: Path) -> None:
        self.fetched.append(sha256)
        shutil.copyfile(self.by_hash[sha256], target)


def facts(base_hash: str | None, files: tuple[BaseFile, ...], model: str = "studio/model") -> RunFacts:
    return RunFacts(
        id="r1",
        federation_id="f1",
        name="run",
        status="running",
        round=1,
        rounds=3,
        plan={"model": model},
        members=("studio",),
        base_hash=base_hash,
        base_files=files,
        tensors={},
        upload_bytes=0,
        message="",
    )


def prepare(home: Home, run: RunFacts, server: Server) -> str:
    return prepare_base(home, run, Plan.model_validate(run.plan), server.fetch, print)


def test_a_base_model_is_fetched_once_and_opens(tiny_model_folder: Path, tmp_path: Path) -> None:
    server, wanted = Server(tiny_model_folder), open_model(str(tiny_model_folder)).content_hash
    run = facts(wanted, server.files)
    folder = prepare(Home(tmp_path), run, server)
    assert folder == str(tmp_path / "base" / wanted)
    assert open_model(folder).content_hash == wanted
    assert len(server.fetched) == len(server.files)
    assert prepare(Home(tmp_path), run, server) == folder
    assert len(server.fetched) == len(server.files)


def test_what_came_before_a_stop_is_not_fetched_again(tiny_model_folder: Path, tmp_path: Path) -> None:
    server, wanted = Server(tiny_model_folder), open_model(str(tiny_model_folder)).content_hash
    lost = server.by_hash.pop(server.files[-1].sha256)
    with pytest.raises(KeyError):
        prepare(Home(tmp_path), facts(wanted, server.files), server)
    assert [path.name for path in (tmp_path / "base").iterdir()] == [f"{wanted}.part"]
    server.by_hash[server.files[-1].sha256] = lost
    server.fetched.clear()
    prepare(Home(tmp_path), facts(wanted, server.files), server)
    assert server.fetched == [server.files[-1].sha256]


def test_another_model_than_the_run_names_is_refused_and_removed(tiny_model_folder: Path, tmp_path: Path) -> None:
    server = Server(tiny_model_folder)
    with pytest.raises(ModelError, match=r"are the model \w{12} and not abababababab, which the run names"):
        prepare(Home(tmp_path), facts("ab" * 32, server.files), server)
    assert list((tmp_path / "base").iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "../../.ssh/authorized_keys", "/etc/x.json", "unet/../../x.json", "unet//x.json", ".hidden.json", "./x.json",
        "", "unet\\x.json", "a\x1b.json", "unet/diffusion_pytorch_model.bin", "model.ckpt", "module.py", "unet",
    ],
)  # fmt: skip
def test_no_file_is_written_elsewhere_and_none_that_could_run_code(
    path: str, tiny_model_folder: Path, tmp_path: Path
) -> None:
    server = Server(tiny_model_folder)
    file = BaseFile(path=path, sha256=server.files[0].sha256, size_bytes=1)
    with pytest.raises(RunError, match=r"refused|are taken"):
        prepare(Home(tmp_path), facts("ab" * 32, (file,)), server)
    assert server.fetched == []


def test_the_shipped_starter_is_not_fetched(tmp_path: Path) -> None:
    server = Server(tmp_path / "nothing")
    wanted = open_model("starter").content_hash
    assert prepare(Home(tmp_path), facts(wanted, (), "starter"), server) == "starter"
    with pytest.raises(ModelError, match=r"differs from the one in this FedFlow, .* install the coordinator's version"):
        prepare(Home(tmp_path), facts("ab" * 32, (), "starter"), server)


def test_a_run_that_is_not_prepared_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="names no base model yet"):
        prepare(Home(tmp_path), facts(None, ()), Server(tmp_path))
