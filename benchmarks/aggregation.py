"""FedEx-LoRA aggregation at Stable Diffusion 1.5's attention shapes: time, memory and exactness against dense products.

python benchmarks/aggregation.py [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from fedflow.aggregation import AdapterUpdate, Aggregate, fedex_lora
from fedflow.lora import Adapter, Factors

RANK, ALPHA = 16, 8.0
# Width and number of transformer blocks per resolution of SD1.5's UNet, down, middle and up together.
BLOCKS = ((320, 5), (640, 5), (1280, 6))
CONTEXT = 768


def shapes(blocks: tuple[tuple[int, int], ...]) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of every attention module: q, k, v, out of self and cross attention, 8 per block."""
    found: dict[str, tuple[int, int]] = {}
    for width, count in blocks:
        for block in range(count):
            for attention, inputs in (("attn1", width), ("attn2", CONTEXT)):
                for name, k in (("to_q", width), ("to_k", inputs), ("to_v", inputs), ("to_out.0", width)):
                    found[f"unet.{width}.{block}.{attention}.{name}"] = (width, k)
    return found


def client(index: int, modules: dict[str, tuple[int, int]]) -> AdapterUpdate:
    """A random client that shares a direction with all others, as clients of one global adapter do."""
    generator = torch.Generator().manual_seed(index)
    shared = torch.Generator().manual_seed(10**6)

    def factor(*shape: int) -> Tensor:
        return 0.02 * (torch.randn(shape, generator=shared) + torch.randn(shape, generator=generator))

    adapter: Adapter = {name: Factors(factor(RANK, k), factor(d, RANK), ALPHA) for name, (d, k) in modules.items()}
    return AdapterUpdate(f"client-{index}", 20 + 10 * (index % 5), adapter)


def dense(updates: list[AdapterUpdate]) -> dict[str, Tensor]:
    """The residual as the formula reads: sum w_k B_k A_k - B A, one dense product per client and module."""
    weights = [update.num_examples / sum(update.num_examples for update in updates) for update in updates]
    residual: dict[str, Tensor] = {}
    for module in updates[0].adapter:
        terms = [update.adapter[module] for update in updates]
        A = sum((w * term.A for w, term in zip(weights, terms, strict=True)), torch.zeros(()))
        B = sum((w * term.B for w, term in zip(weights, terms, strict=True)), torch.zeros(()))
        products = (w * (term.B @ term.A) for w, term in zip(weights, terms, strict=True))
        residual[module] = terms[0].scaling * (sum(products, torch.zeros(())) - B @ A)
    return residual


def dense_in_place(updates: list[AdapterUpdate]) -> dict[str, Tensor]:
    """The same with every product added in place: the leanest way to hold dense matrices."""
    total = float(sum(update.num_examples for update in updates))
    residual: dict[str, Tensor] = {}
    for module, first in updates[0].adapter.items():
        A, B = torch.zeros_like(first.A), torch.zeros_like(first.B)
        residual[module] = torch.zeros(B.shape[0], A.shape[1])
        for update in updates:
            term, weight = update.adapter[module], update.num_examples / total
            A.add_(term.A, alpha=weight)
            B.add_(term.B, alpha=weight)
            residual[module].addmm_(term.B, term.A, alpha=weight * first.scaling)
        residual[module].addmm_(B, A, alpha=-first.scaling)
    return residual


def seconds(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    """Best time of each call; they take turns, so that a busy machine hits all of them alike."""
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            result = call()
            best[index] = min(best[index], time.perf_counter() - start)
            del result
    return best


def report_time(modules: dict[str, tuple[int, int]], num_clients: int, repeats: int) -> None:
    """Time with the updates in memory already; from K = 10 on, few distinct clients stand in for many."""
    distinct = [client(index, modules) for index in range(min(num_clients, 5))]
    updates = [distinct[index % len(distinct)] for index in range(num_clients)]
    calls: list[Callable[[], object]] = [
        lambda: dense(updates),
        lambda: dense_in_place(updates),
        lambda: fedex_lora(updates, "samples"),
    ]
    names = ["exact"]
    if num_clients > 10:
        calls.append(lambda: fedex_lora(updates, "samples", 64))
        names.append("max_rank=64")
    dense_s, in_place_s, *ours_s = seconds(calls, repeats)
    for name, own_s in zip(names, ours_s, strict=True):
        print(
            f"time K={num_clients} {name}: {own_s:.3f} s; dense products {dense_s:.3f} s, ratio {dense_s / own_s:.1f}; "
            f"added in place {in_place_s:.3f} s, ratio {in_place_s / own_s:.1f}"
        )


def peak_mb(num_clients: int, blocks: str) -> float:
    """Highest resident memory, in MB, of a process that aggregates clients generated one at a time; see `measure`."""
    command = [sys.executable, __file__, "--measure", str(num_clients), "--blocks", blocks]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(num_clients: int, modules: dict[str, tuple[int, int]]) -> None:
    """Aggregate in this process and print by how much its resident memory rose above that of its imports, in MB."""

    def stream() -> Iterator[AdapterUpdate]:
        for index in range(num_clients):
            yield client(index, modules)

    before = resident_kb("VmRSS")
    fedex_lora(stream(), "samples", 64)
    print((resident_kb("VmHWM") - before) / 1024)


def resident_kb(field: str) -> int:
    """Resident memory now (VmRSS) or at most so far (VmHWM); ru_maxrss would start from the parent process's."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def relative_error(updates: list[AdapterUpdate], weighting: str, module: str, aggregate: Aggregate) -> float:
    """max |residual + s B A - sum w_k s B_k A_k| / max |sum|, the sum in float64, without the base that both share."""
    assert aggregate.adapter is not None
    assert aggregate.residual is not None
    counts = [update.num_examples if weighting == "samples" else 1 for update in updates]
    want = torch.zeros((), dtype=torch.float64)
    for update, count in zip(updates, counts, strict=True):
        term = update.adapter[module]
        want = want + count / sum(counts) * term.scaling * (term.B.double() @ term.A.double())
    mean, rest = aggregate.adapter[module], aggregate.residual[module]
    got = rest.delta() + mean.delta()
    return float((got.double() - want).abs().max() / want.abs().max())


def report_exactness(num_clients: int) -> None:
    """Square and non-square modules, both weightings."""
    modules = {"square": (640, 640), "wide": (320, 768), "tall": (1280, 768)}
    updates = [client(index, modules) for index in range(num_clients)]
    for weighting in ("samples", "uniform"):
        aggregate = fedex_lora(updates, weighting)
        for module, (d, k) in modules.items():
            error = relative_error(updates, weighting, module, aggregate)
            print(f"exactness K={num_clients} {weighting} {module} {d}x{k}: max relative error {error:.1e}")


def main() -> None:
    """Print the figures and how to read each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer blocks and repeats: to see that it runs")
    parser.add_argument("--threads", type=int, default=1, help="torch threads; the ratio is of equal threads")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--blocks", choices=["all", "few"], default="all", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    few = options.quick or options.blocks == "few"
    modules = shapes(((320, 1), (640, 1)) if few else BLOCKS)
    if options.measure:
        measure(options.measure, modules)
        return

    print(f"{len(modules)} attention modules, rank {RANK}, {options.threads} thread(s), torch {torch.__version__}")
    report_time(modules, 5, repeats=3 if few else 7)
    report_time(modules, 100, repeats=1)
    print(
        "  How to read: ratio = time of dense products / ours, in one run; ours alone checks for NaN. "
        "Goal at K=5: at least 20 against dense products as the formula reads. "
        "At K=100 the exact residual has full rank, so there is little to save."
    )
    small, large = (peak_mb(count, "few" if few else "all") for count in (10, 100))
    print(f"peak memory K=10: {small:.0f} MB, K=100: {large:.0f} MB (max_rank=64), ratio {large / small:.2f}")
    print(
        "  How to read: resident memory above that of the imports, clients generated one at a time, a process each; "
        "with recompression it must not grow with K. Goal: ratio at most 1.5."
    )
    for num_clients in (5, 20 if few else 100):
        report_exactness(num_clients)
    print(
        "  How to read: largest deviation of residual + s B A from sum w_k s B_k A_k in float64, by the largest value "
        "of the latter; the base, the same on both sides, is left out, which is stricter. Goal: at most 1e-5 in fp32."
    )


if __name__ == "__main__":
    main()
