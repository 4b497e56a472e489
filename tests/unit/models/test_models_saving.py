"""Writing a whole model: the old folder is lost at no moment."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import warm
from stopped_saves import saves_and_stops

from fedflow.errors import MistakeError
from fedflow.models import open_model, save_model


def stopped_save(model: Path, folder: Path, number: signal.Signals, rename: int) -> None:
    status = warm.call(saves_and_stops, model, folder, number, rename)
    assert status == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130}[number]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("rename", [1, 2])
def test_a_kill_at_a_rename_leaves_the_old_folder_or_a_way_back(
    tiny_model_folder: Path, tmp_path: Path, rename: int
) -> None:
    folder = tmp_path / "model"
    save_model(open_model(str(tiny_model_folder)), folder)
    (folder / "old").touch()
    stopped_save(tiny_model_folder, folder, signal.SIGKILL, rename)
    assert names(tmp_path) == [".model.partial", "model" if rename == 1 else ".model.replaced"]
    kept = folder if rename == 1 else tmp_path / ".model.replaced"
    assert (kept / "old").exists()
    assert open_model(str(kept)).resolution == open_model(str(tmp_path / ".model.partial")).resolution == 16
    save_model(open_model(str(tiny_model_folder)), folder)
    assert names(tmp_path) == ["model"]
    assert not (folder / "old").exists()


@pytest.mark.parametrize("rename", [1, 2])
def test_ctrl_c_at_a_rename_leaves_the_old_folder(tiny_model_folder: Path, tmp_path: Path, rename: int) -> None:
    folder = tmp_path / "model"
    save_model(open_model(str(tiny_model_folder)), folder)
    (folder / "old").touch()
    stopped_save(tiny_model_folder, folder, signal.SIGINT, rename)
    assert names(tmp_path) == ["model"]
    assert (folder / "old").exists()


def test_what_is_no_model_is_not_replaced(tiny_model_folder: Path, tmp_path: Path) -> None:
    model = open_model(str(tiny_model_folder))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place in (folder, tmp_path / "file"):
        with pytest.raises(MistakeError, match=f"{place}: is there already and no model"):
            save_model(model, place)
    assert (folder / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file", "folder"]
