from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fedflow.aggregation import ClientUpdate, fedavg
from fedflow.errors import UpdateError


def update(client: str, count: int, **tensors: torch.Tensor) -> ClientUpdate:
    return ClientUpdate(client, count, tensors)


def test_mean_by_samples_and_uniform() -> None:
    updates = [update("a", 20, w=torch.tensor([1.0, 0.0])), update("b", 60, w=torch.tensor([5.0, 4.0]))]
    by_samples = fedavg(updates, "samples")
    assert by_samples.tensors is not None
    assert by_samples.tensors["w"].tolist() == [4.0, 3.0]
    assert by_samples.report == {"clients": 2, "total_weight": 80.0}
    uniform = fedavg(updates, "uniform")
    assert uniform.tensors is not None
    assert uniform.tensors["w"].tolist() == [3.0, 2.0]


def test_stream_is_consumed_once_one_client_at_a_time() -> None:
    alive = []

    def stream() -> Iterator[ClientUpdate]:
        for index in range(4):
            alive.append(index)
            yield update(str(index), 1, w=torch.full((2,), float(index)))

    result = fedavg(stream(), "samples")
    assert result.tensors is not None
    assert result.tensors["w"].tolist() == [1.5, 1.5]
    assert alive == [0, 1, 2, 3]


def test_element_types_are_kept_and_whole_numbers_handed_on() -> None:
    updates = [
        update(name, 1, half=torch.tensor([value], dtype=torch.float16), ids=torch.tensor([0, 1]))
        for name, value in (("a", 1.0), ("b", 2.0))
    ]
    result = fedavg(updates, "samples")
    assert result.tensors is not None
    assert result.tensors["half"].dtype == torch.float16
    assert result.tensors["half"].tolist() == [1.5]
    assert result.tensors["ids"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (update("b", 1, w=torch.ones(3)), r"client 'b': tensor 'w' is float32 \(3,\), the first update's is .*\(2,\)"),
        (update("b", 1, w=torch.ones(2).half()), "tensor 'w' is float16"),
        (update("b", 1, v=torch.ones(2)), "client 'b': tensor 'w' is missing"),
        (update("b", 1, w=torch.ones(2), v=torch.ones(2)), "client 'b': tensor 'v' is not in the first"),
        (update("b", 1), "client 'b': the update is empty"),
        (update("b", 1, w=torch.tensor([1.0, float("nan")])), "client 'b': tensor 'w' holds NaN"),
    ],
)
def test_what_differs_from_the_first_is_refused(second: ClientUpdate, words: str) -> None:
    with pytest.raises(UpdateError, match=words):
        fedavg([update("a", 1, w=torch.ones(2)), second], "samples")


def test_differing_whole_numbers_are_refused() -> None:
    with pytest.raises(UpdateError, match="client 'b': tensor 'ids' holds whole numbers that differ"):
        fedavg([update("a", 1, ids=torch.tensor([1])), update("b", 1, ids=torch.tensor([2]))], "samples")


@pytest.mark.parametrize("count", [0, -3, 2.5, float("nan"), True, "7", 2**60, None])
@pytest.mark.parametrize("weighting", ["samples", "uniform"])
def test_counts_that_are_no_counts_are_refused(count: object, weighting: str) -> None:
    with pytest.raises(UpdateError, match="client 'a': example count"):
        fedavg([ClientUpdate("a", count, {"w": torch.ones(1)})], weighting)  # type: ignore[arg-type]


def test_unknown_weighting_and_no_updates_are_refused() -> None:
    with pytest.raises(UpdateError, match="'size' is unknown; choose one of samples, uniform"):
        fedavg([update("a", 1, w=torch.ones(1))], "size")
    with pytest.raises(UpdateError, match="no updates"):
        fedavg([], "samples")


def test_a_mean_that_leaves_the_range_is_refused() -> None:
    updates = [update("a", 1, w=torch.tensor([3e38])), update("b", 1, w=torch.tensor([-3e38]))]
    with pytest.raises(UpdateError, match="'w' of the aggregate leaves the range of float32"):
        fedavg(updates, "uniform")
