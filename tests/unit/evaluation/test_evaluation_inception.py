"""The choice of an extractor, and what is said where Inception cannot be had."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

from fedflow.errors import MistakeError
from fedflow.evaluation.choice import choose_extractor
from fedflow.evaluation.inception import inception

LIBRARY_IS_HERE = importlib.util.find_spec("torch_fidelity") is not None
needs_library = pytest.mark.skipif(not LIBRARY_IS_HERE, reason="torch-fidelity is an optional dependency")
needs_no_library = pytest.mark.skipif(LIBRARY_IS_HERE, reason="torch-fidelity is installed")


def refused(weights: Path | None) -> str:
    with pytest.raises(MistakeError) as raised:
        inception(weights)
    message = str(raised.value)
    assert "\n" not in message
    return message


@needs_no_library
def test_a_missing_library_is_named_with_its_install_line(tmp_path: Path) -> None:
    assert "pip install '.[inception]'" in refused(None)


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch_fidelity that can be found; these messages come before anything of it is imported."""
    if not LIBRARY_IS_HERE:
        package = tmp_path / "site" / "torch_fidelity"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        monkeypatch.syspath_prepend(package.parent)
        importlib.invalidate_caches()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch-home"))


@pytest.mark.usefixtures("library")
def test_a_missing_weight_file_is_named_with_the_way_to_it(tmp_path: Path) -> None:
    message = refused(tmp_path / "nowhere.pth")
    assert "nowhere.pth" in message
    assert "--inception PATH" in message
    assert str(tmp_path / "torch-home" / "hub" / "checkpoints") in refused(None)


class Planted:
    """Unpickled freely, this would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.usefixtures("library")
def test_a_weight_file_is_never_unpickled_freely(tmp_path: Path) -> None:
    torch.save({"fc.weight": Planted(tmp_path / "planted")}, tmp_path / "weights.pth")
    assert "not torch-fidelity's Inception weights" in refused(tmp_path / "weights.pth")
    assert not (tmp_path / "planted").exists()
    assert "torch_fidelity.feature_extractor_inceptionv3" not in sys.modules


@needs_library
def test_weights_of_another_net_are_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "weights.pth")
    assert "not torch-fidelity's Inception weights" in refused(tmp_path / "weights.pth")


def test_auto_falls_back_to_icons_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert choose_extractor().name == "icons-v1"


def test_unknown_names_and_idle_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MistakeError, match="'clip': there are 'icons-v1', 'inception' and 'auto'"):
        choose_extractor("clip")
    with pytest.raises(MistakeError, match="takes no Inception weights"):
        choose_extractor("icons-v1", tmp_path / "weights.pth")
