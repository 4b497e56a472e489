"""The stage of the scenarios, which they go on from one another on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stage import Stage, staged


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all of them."""
    with staged(tmp_path_factory.mktemp("stage")) as stage:
        yield stage
