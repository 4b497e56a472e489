"""Fixtures that several rooms' tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import light_apps  # noqa: F401 (changes Flask)
import pytest
import torch
from tiny_model import make_tiny_model

# The tests' models are so small that a second thread only waits for the first.
torch.set_num_threads(1)

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Stable Diffusion in the diffusers layout. For tests that read it only."""
    folder = tmp_path_factory.mktemp("base-model") / "tiny"
    make_tiny_model(folder)
    return folder
