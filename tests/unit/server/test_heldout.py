"""Which held-out pictures a run is scored against."""

from __future__ import annotations

from pathlib import Path

from fedflow.datasets import demo_folder
from fedflow.plan import Plan
from fedflow.server.settings import ServerSettings
from fedflow.server.worker.heldout import heldout_folder


def test_the_servers_own_pictures_win(tmp_path: Path) -> None:
    plan = Plan.model_validate({"data": {"heldout": "heldout"}})
    assert plan.data.root == "shipped:demo"
    given = tmp_path / "pictures"
    (given / "other").mkdir(parents=True)
    settings = ServerSettings(folder=tmp_path, pictures=given)
    assert heldout_folder(plan, settings) == demo_folder() / "heldout"
    (given / "heldout").mkdir()
    assert heldout_folder(plan, settings) == given / "heldout"
    assert heldout_folder(plan, ServerSettings(folder=tmp_path)) == demo_folder() / "heldout"


def test_a_plan_with_pictures_of_its_own_is_not_scored_against_the_demos(tmp_path: Path) -> None:
    plan = Plan.model_validate({"data": {"root": str(tmp_path), "heldout": "heldout"}})
    assert heldout_folder(plan, ServerSettings(folder=tmp_path)) is None
