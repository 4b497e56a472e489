from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fedflow.aggregation import AGGREGATORS, AdapterUpdate, Aggregate, fedex_lora, fedit
from fedflow.errors import UpdateError
from fedflow.lora import Factors

SQUARE, WIDE, CONV = "unet.a.to_q", "unet.b.to_k", "unet.c.conv1"


def clients(count: int, rank: int = 4, alpha: float = 2.0) -> list[AdapterUpdate]:
    generator = torch.Generator().manual_seed(count)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return [
        AdapterUpdate(
            f"client-{index}",
            20 + 10 * (index % 3),
            {
                SQUARE: Factors(random(rank, 48), random(48, rank), alpha),
                WIDE: Factors(random(rank, 64), random(40, rank), alpha),
                CONV: Factors(random(rank, 8, 3, 3), random(32, rank, 1, 1), alpha),
            },
        )
        for index in range(count)
    ]


def dense_sum(updates: list[AdapterUpdate], weighting: str, module: str) -> Tensor:
    counts = [update.num_examples if weighting == "samples" else 1 for update in updates]
    total = torch.zeros((), dtype=torch.float64)
    for count, update in zip(counts, updates, strict=True):
        factors = update.adapter[module]
        wide = Factors(factors.A.double(), factors.B.double(), factors.alpha)
        total = total + count / sum(counts) * wide.delta()
    return total


def relative_error(aggregate: Aggregate, module: str, want: Tensor) -> float:
    assert aggregate.adapter is not None
    assert aggregate.residual is not None
    got = aggregate.adapter[module].delta().double() + aggregate.residual[module].delta().double()
    return float((got - want).abs().max() / want.abs().max())


def test_fedex_by_hand() -> None:
    # rank 1, alpha 2: deltas 2 * 1 * 1 and 2 * 3 * 5; weights 1/4 and 3/4: 0.5 + 22.5 = 23 = 2 * 2.5 * 4 + 3
    updates = [
        AdapterUpdate("a", 10, {SQUARE: Factors(torch.tensor([[1.0]]), torch.tensor([[1.0]]), 2.0)}),
        AdapterUpdate("b", 30, {SQUARE: Factors(torch.tensor([[5.0]]), torch.tensor([[3.0]]), 2.0)}),
    ]
    result = fedex_lora(updates, "samples")
    assert result.adapter is not None
    assert result.residual is not None
    assert result.adapter[SQUARE].alpha == 2.0
    assert result.adapter[SQUARE].delta().item() == 20.0
    assert result.residual[SQUARE].alpha == result.residual[SQUARE].rank == 1
    assert result.residual[SQUARE].delta().item() == pytest.approx(3.0)
    assert result.report == {
        "clients": 2,
        "total_weight": 40.0,
        "residual_rank": 1,
        "discarded_energy": 0.0,
        "discarded_energy_is": "exact",
        "naive_error": pytest.approx(3 / 23),
    }


@pytest.mark.parametrize("weighting", ["samples", "uniform"])
@pytest.mark.parametrize("count", [1, 2, 5, 25])
def test_adapter_plus_residual_is_the_weighted_sum(weighting: str, count: int) -> None:
    updates = clients(count)
    result = fedex_lora(iter(updates), weighting)
    for module in (SQUARE, WIDE, CONV):
        assert relative_error(result, module, dense_sum(updates, weighting, module)) < 1e-5


def test_order_of_clients_does_not_matter() -> None:
    updates = clients(3)
    for order in itertools.permutations(updates):
        result = fedex_lora(order, "samples")
        for module in (SQUARE, WIDE, CONV):
            assert relative_error(result, module, dense_sum(updates, "samples", module)) < 1e-5


def test_weights_by_samples_are_not_uniform_ones() -> None:
    updates = clients(4)
    assert relative_error(fedex_lora(updates, "uniform"), SQUARE, dense_sum(updates, "samples", SQUARE)) > 1e-2


def test_fedit_averages_apart_and_misses_what_fedex_reports() -> None:
    updates = clients(5)
    naive, exact = fedit(updates, "samples"), fedex_lora(updates, "samples")
    assert naive.adapter is not None
    assert exact.adapter is not None
    assert naive.residual is None
    lost = whole = 0.0
    for module in (SQUARE, WIDE, CONV):
        assert torch.equal(naive.adapter[module].A, exact.adapter[module].A)
        assert torch.equal(naive.adapter[module].B, exact.adapter[module].B)
        assert naive.adapter[module].alpha == 2.0
        want = dense_sum(updates, "samples", module)
        lost += float((want - naive.adapter[module].delta()).square().sum())
        whole += float(want.square().sum())
    assert exact.report["naive_error"] == pytest.approx((lost / whole) ** 0.5, rel=1e-4)


def test_truncation_reports_the_energy_it_takes() -> None:
    updates = clients(5)
    exact, short = fedex_lora(updates, "samples"), fedex_lora(updates, "samples", max_rank=6)
    assert exact.residual is not None
    assert short.residual is not None
    lost = whole = 0.0
    for module, factors in exact.residual.items():
        singular = torch.linalg.svdvals(factors.delta().flatten(1).double())
        lost += float(singular[6:].square().sum())
        whole += float(singular.square().sum())
        assert short.residual[module].rank == 6
        assert short.residual[module].alpha == 6.0
    assert short.report["residual_rank"] == 6
    assert short.report["discarded_energy"] == pytest.approx(lost / whole, rel=1e-4)
    assert short.report["discarded_energy_is"] == "exact"


def test_many_clients_say_that_the_loss_is_bounded() -> None:
    report = fedex_lora(clients(40), "samples", max_rank=6).report
    assert report["residual_rank"] == 6
    assert report["discarded_energy_is"] == "an upper bound"


def test_updates_are_not_changed() -> None:
    updates = clients(3)
    before = [factors.A.clone() for update in updates for factors in update.adapter.values()]
    fedex_lora(updates, "samples")
    fedit(updates, "samples")
    after = [factors.A for update in updates for factors in update.adapter.values()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def changed(update: AdapterUpdate, **factors: Factors | None) -> AdapterUpdate:
    modules = {"square": SQUARE, "other": "unet.other"}
    adapter = {**update.adapter, **{modules[name]: value for name, value in factors.items() if value is not None}}
    for name, value in factors.items():
        if value is None:
            del adapter[modules[name]]
    return AdapterUpdate("bad", update.num_examples, adapter)


NAN_A = torch.full((4, 48), float("nan"))


@pytest.mark.parametrize("aggregator", [fedit, fedex_lora])
@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"square": Factors(torch.ones(5, 48), torch.ones(48, 5), 2.0)}, r"lora_A has shape \(5, 48\), .* \(4, 48\)"),
        ({"square": Factors(torch.ones(4, 48), torch.ones(47, 4), 2.0)}, r"lora_B has shape \(47, 4\)"),
        ({"square": Factors(torch.ones(4, 48), torch.ones(48, 4), 4.0)}, "has alpha 4, the first update has 2"),
        ({"square": Factors(NAN_A, torch.ones(48, 4), 2.0)}, "unet.a.to_q lora_A' holds NaN or Inf"),
        ({"square": None}, "module 'unet.a.to_q' is missing"),
        ({"other": Factors(torch.ones(1, 2), torch.ones(2, 1), 1.0)}, "module 'unet.other' is not in the first"),
    ],
)
def test_refusals_name_client_and_module(aggregator: object, factors: dict[str, Factors | None], words: str) -> None:
    first, second = clients(2)
    with pytest.raises(UpdateError, match=words) as caught:
        aggregator([first, changed(second, **factors)], "samples")  # type: ignore[operator]
    assert "client 'bad'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_updates_bad_counts_and_bad_ranks_are_refused() -> None:
    for name in ("fedit", "fedex-lora"):
        with pytest.raises(UpdateError, match="no updates"):
            AGGREGATORS[name]([], "samples")
        with pytest.raises(UpdateError, match="client 'c': example count 0"):
            AGGREGATORS[name]([AdapterUpdate("c", 0, clients(1)[0].adapter)], "uniform")
    with pytest.raises(UpdateError, match="max_rank 0"):
        fedex_lora(clients(2), "samples", max_rank=0)


@pytest.mark.parametrize("algorithm", [fedit, fedex_lora])
def test_a_change_out_of_range_names_the_client(algorithm: Callable[..., Aggregate]) -> None:
    def update(client: str, value: float) -> AdapterUpdate:
        return AdapterUpdate(client, 1, {SQUARE: Factors(torch.tensor([[value]]), torch.tensor([[value]]), 1.0)})

    algorithm([update("a", 1.0), update("b", 1e19)], "uniform")  # 1e38: its norm's square is not, it is in range
    with pytest.raises(UpdateError, match=r"client 'b': 'unet\.a\.to_q' changes its weights by up to 1e\+60"):
        algorithm([update("a", 1.0), update("b", 1e30)], "uniform")


def test_a_report_out_of_range_is_refused() -> None:
    large = Factors(torch.tensor([[1.5e19]]), torch.tensor([[1.5e19]]), 1.0)
    aggregate = Aggregate(1, 1.0, adapter={SQUARE: large}, residual={SQUARE: large})
    with pytest.raises(UpdateError, match="the sum of the aggregate's adapter and residual leaves the range"):
        _ = aggregate.report


@pytest.mark.parametrize("algorithm", [fedit, fedex_lora])
def test_a_mean_out_of_range_is_refused(algorithm: Callable[..., Aggregate]) -> None:
    # Changes of 1e38 each, but means of 5e19 and 5e19.
    updates = [
        AdapterUpdate(client, 1, {SQUARE: Factors(torch.tensor([[down]]), torch.tensor([[up]]), 1.0)})
        for client, down, up in (("a", 1e20, 1e18), ("b", 1e18, 1e20))
    ]
    with pytest.raises(UpdateError, match=r"'unet\.a\.to_q' of the aggregate's adapter leaves the range of float32"):
        algorithm(updates, "uniform")


def test_blocks_that_overflow_before_they_are_cut_are_refused() -> None:
    generator = torch.Generator().manual_seed(0)
    updates = [
        AdapterUpdate(
            str(number),
            2**53,
            {SQUARE: Factors(*(torch.randn(shape, generator=generator) * 1e17 for shape in ((2, 8), (8, 2))), 1.0)},
        )
        for number in range(20)
    ]
    with pytest.raises(UpdateError, match=r"the residual of 'unet\.a\.to_q' leaves the range of float32"):
        fedex_lora(updates, "samples", 1)
