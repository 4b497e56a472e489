"""What keeps a machine from training, and when it tries again; what becomes of a training that comes to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fedflow.client.place import Place
from fedflow.client.policy import Policy
from fedflow.client.readiness import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Readiness
from fedflow.client.training import NoUpdate, train
from fedflow.errors import DatasetError
from fedflow.federation.jobs import TrainJob
from fedflow.federation.protocol import MOST_TOLD, BaseFile, RunFacts, Told
from fedflow.federation.workbench import Workbench
from fedflow.plan import Plan
from fedflow.shipped import demo_folder


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


class Clock:
    """A monotonic clock that moves when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(sorted((demo_folder() / "client-1").glob("*.png"))[:3]):
        (folder / f"{number}.png").write_bytes(picture.read_bytes())
        (folder / f"{number}.txt").write_text("cat")
    return folder


PLAN = Plan.model_validate({"data": {"clients": ["studio"]}, "seeds": [7], "lora": {"rank": 2, "alpha": 2}})


def facts(run: str = "r1") -> RunFacts:
    told = {"id": run, "federation_id": "f", "name": "run", "status": "running", "round": 1, "rounds": 2, "plan": {}}
    more = {"members": ("studio",), "base_hash": "0" * 64, "base_files": (), "tensors": {}, "upload_bytes": 10}
    return RunFacts.model_validate({**told, **more, "message": ""})


def test_want_of_memory_is_tried_again_after_longer_and_longer_pauses(pictures: Path) -> None:
    clock = Clock()
    readiness = Readiness(Policy(), Place(pictures, 1), lambda _: True, clock)
    pauses = []
    for _ in range(9):
        pauses.append(readiness.pause("r1", 1, "memory", "no memory"))
        assert readiness.hindrance(facts(), PLAN, 1) == "no memory"
        assert readiness.told() == (Told("memory", "r1", 1),)
        clock.now += pauses[-1]
        assert readiness.told() == ()
        assert readiness.hindrance(facts(), PLAN, 1) is None
    assert pauses[:3] == [SHORTEST_PAUSE_S, 2 * SHORTEST_PAUSE_S, 4 * SHORTEST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S
    assert readiness.hindrance(facts(), PLAN, 2) is None


def test_where_memory_lacks_the_owner_makes_room_and_it_is_weighed_again(pictures: Path) -> None:
    asked: list[str] = []
    readiness = Readiness(
        Policy(), Place(pictures, 1), lambda _: False, owner_makes_room=lambda: asked.append("all that is idle")
    )
    large = BaseFile(path="unet/a.safetensors", sha256="0" * 64, size_bytes=10**15)
    assert readiness.hindrance(facts().model_copy(update={"base_files": (large,)}), PLAN, 1) is not None
    assert asked == ["all that is idle"]
    assert readiness.hindrance(facts("r2"), PLAN, 1) is None
    assert len(asked) == 1


def test_another_reason_to_wait_is_told_and_the_same_one_as_it_was(pictures: Path) -> None:
    owner = iter(["not yet", "not yet either", None, None])
    readiness = Readiness(
        Policy(), Place(pictures, 1), lambda _: True, Clock(), owner_holds_back=lambda _facts, _number: next(owner)
    )
    readiness.pause("r1", 1, "memory", "no memory")
    assert readiness.hindrance(facts(), PLAN, 1) == "not yet"
    assert readiness.told() == (Told("consent", "r1", 1),)
    assert readiness.reason("r1", 1) == "not yet", "what changes in a sentence is no news"
    assert readiness.told() == (Told("memory", "r1", 1),)
    assert readiness.reason("r1", 1) == "no memory"
    assert readiness.reason("r1", 2) is None
    readiness.forget("r1")
    assert (readiness.told(), readiness.reason("r1", 1)) == ((), None)


def test_a_round_that_is_given_up_stays_so(pictures: Path) -> None:
    clock = Clock()
    readiness = Readiness(Policy(), Place(pictures, 1), lambda _: True, clock)
    readiness.give_up("r1", 1, "refused", "the server refused it")
    clock.now += 1e9
    assert readiness.hindrance(facts(), PLAN, 1) == "the server refused it"
    assert readiness.holds("r1", 1)
    assert not readiness.holds("r1", 2)


def test_no_more_is_told_than_a_server_takes(pictures: Path) -> None:
    readiness = Readiness(Policy(max_rounds=1), Place(pictures, 1), lambda _: True)
    for number in range(3 * MOST_TOLD):
        assert readiness.hindrance(facts(f"r{number}"), PLAN, 1) is not None
    assert len(readiness.told()) == MOST_TOLD - 1


@pytest.mark.parametrize(
    ("error", "doing"),
    [(MemoryError(), "memory"), (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory")],
)
def test_what_lacks_memory_comes_to_no_update(
    tiny_model_folder: Path, pictures: Path, tmp_path: Path, error: Exception, doing: str
) -> None:
    bench = Workbench(PLAN, tmp_path / "run", {"studio": pictures}, "auto", None, base=str(tiny_model_folder))
    job = TrainJob(7, "studio", 1, ("studio",), 2, bench.initial_adapter(7), ())

    def fail(_step: int, _steps: int, _loss: float) -> None:
        raise error

    with pytest.raises(NoUpdate, match=r"has not the memory for it .* it is tried again") as found:
        train(bench, job, fail)
    assert found.value.doing == doing
    assert train(bench, job, lambda *_: None).num_examples == 3, "the same training goes on from its checkpoint"


def test_links_are_not_followed_and_a_folder_that_is_away_is_a_problem(pictures: Path) -> None:
    (pictures / ".hidden").mkdir()
    (pictures / ".hidden" / "all").symlink_to("/")
    place = Place(pictures, 1)
    pictures.rename(pictures.with_name("away"))
    place.look_again()
    assert "is not there" in (place.problem or "")
    pictures.with_name("away").rename(pictures)
    place.look_again()
    assert (place.problem, place.num_examples) == (None, 3)
    (pictures / "all").symlink_to("/")
    with pytest.raises(DatasetError, match="is a link to a folder and is not followed"):
        Place(pictures, 1)
