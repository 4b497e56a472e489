"""`fedflow export`: a run's joint model as one LoRA adapter."""

from __future__ import annotations

from pathlib import Path

from fedflow.errors import MistakeError
from fedflow.federation.exports import adapter_facts, as_one_adapter, stored_adapter, write_layouts
from fedflow.federation.records import base_resolution, last_round, read_record
from fedflow.models.adapter_files import Layout
from fedflow.storage import Blobs


def export(run_folder: Path, out: Path, layout: Layout, rank: int | None, seed: int | None) -> None:
    """Write the joint model of the run in `run_folder` to `out`, and print its rank and what truncation lost.

    Raises:
        MistakeError: no run there, not finished, a method without adapters, an unknown seed or file name.
    """
    record = read_record(run_folder)
    if not record.plan.trains_adapter:
        raise MistakeError(
            f"{run_folder}: method '{record.plan.method}' trains whole models and has no adapter to export"
        )
    chosen = record.plan.seeds[0] if seed is None else seed
    if chosen not in record.plan.seeds:
        raise MistakeError(f"seed {chosen}: the run has {', '.join(map(str, record.plan.seeds))}")
    if out.suffix != ".safetensors":
        raise MistakeError(f"{out}: give a file name that ends in .safetensors")
    committed = [last_round(run_folder, chosen, number) for number in range(1, record.plan.rounds + 1)]
    blobs = Blobs(run_folder / "blobs")
    residuals = [stored_adapter(blobs, each.residual) for each in committed if each.residual is not None]
    whole = as_one_adapter(stored_adapter(blobs, committed[-1].adapter), residuals, rank)
    write_layouts({layout: out}, whole.adapter, adapter_facts(record.plan, base_resolution(run_folder), "joint model"))
    lost = f"{whole.discarded_energy:.2%} of its energy lost" if whole.discarded_energy else "nothing lost"
    print(f"Written: {out} ({layout} layout, rank {whole.rank}, {lost}); load it on base model '{record.plan.model}'")
