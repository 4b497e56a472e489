"""A model as one checkpoint file is read back as the same model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import save_file
from tests.unit.models.test_models_single_file import single_file

from fedflow.errors import ModelError
from fedflow.models import checkpoint_tensors, model_folder, open_model
from fedflow.plan import STARTER


@pytest.mark.parametrize("which", ["tiny", "starter"])
def test_a_checkpoint_is_the_same_model(which: str, tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = tiny_model_folder if which == "tiny" else model_folder(STARTER)
    assert folder is not None
    model = open_model(str(folder))
    tensors = checkpoint_tensors(model)
    if which == "tiny":
        assert tensors.keys() == single_file(model).keys(), "the names that were written out by hand"
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "sd.safetensors")
    shutil.copytree(folder, tmp_path / "sd", ignore=shutil.ignore_patterns("*.safetensors"))
    assert open_model(str(tmp_path / "sd.safetensors")).content_hash == model.content_hash


def test_a_text_encoder_of_another_code_is_refused(tiny_model_folder: Path) -> None:
    model = open_model(str(tiny_model_folder))
    model.text_encoder.config.hidden_size = 1024
    with pytest.raises(ModelError, match="take the merged folder"):
        checkpoint_tensors(model)
