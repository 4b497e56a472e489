"""Which held-out pictures a run is scored against."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedflow.datasets.folder import read_folder
from fedflow.errors import DatasetError
from fedflow.plan import DEMO, Plan
from fedflow.server.services.heldout import heldout_folder, told_to_members
from fedflow.shipped import demo_folder


def test_the_servers_own_pictures_win(tmp_path: Path) -> None:
    plan = Plan.model_validate({"data": {"root": DEMO, "heldout": "heldout"}})
    (tmp_path / "other").mkdir()
    assert heldout_folder(plan, tmp_path) == demo_folder() / "heldout"
    (tmp_path / "heldout").mkdir()
    assert heldout_folder(plan, tmp_path) == tmp_path / "heldout"
    assert heldout_folder(plan, None) == demo_folder() / "heldout"


@pytest.mark.parametrize("root", [None, "/pictures"])
def test_a_plan_that_does_not_name_the_demos_pictures_is_not_scored_against_them(root: str | None) -> None:
    plan = Plan.model_validate({"data": {"root": root}})
    assert plan.data.heldout == "heldout"
    assert heldout_folder(plan, None) is None


@pytest.mark.parametrize("name", ["no-such", "\N{GRINNING FACE}" * 80])
def test_a_folder_that_is_not_there_is_none(name: str, tmp_path: Path) -> None:
    plan = Plan.model_validate({"data": {"root": DEMO, "heldout": name}})
    assert heldout_folder(plan, tmp_path) is None


@pytest.mark.parametrize("place", ["pictures", "знімки"])
@pytest.mark.parametrize(
    ("file", "told"),
    [
        (None, "holds no pictures; put PNG or JPEG files there, each with a .txt caption beside it"),
        ("cat.png", "the only file cannot be used; the first: cat.png: "),
        ("c\nat.png", "the only file cannot be used; the first: 'c\\nat.png': "),
    ],
)
def test_members_are_not_told_where_the_pictures_are(place: str, file: str | None, told: str, tmp_path: Path) -> None:
    folder = tmp_path / place / "heldout"
    folder.mkdir(parents=True)
    if file is not None:
        (folder / file).write_bytes(b"")
    with pytest.raises(DatasetError) as raised:
        read_folder(folder, 32)
    said = told_to_members("heldout", folder, raised.value)
    assert tmp_path.name not in said
    assert said.startswith(f"the held-out pictures 'heldout': {told}")
    gone = DatasetError(f"{folder}: is not there; name a folder of pictures")
    assert told_to_members("heldout", folder, gone).endswith("'heldout': is not there; name a folder of pictures")
