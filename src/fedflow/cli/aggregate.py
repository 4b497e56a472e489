"""`fedflow aggregate`: update files in, one aggregate out. Nothing is written unless every input was accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedflow.errors import AdapterError, MistakeError, UpdateError

if TYPE_CHECKING:
    from fedflow.aggregation import Aggregate
    from fedflow.models.adapter_files import AdapterFile
    from fedflow.tensors import TensorFile

ADAPTER_FILE, RESIDUAL_FILE, MODEL_FILE, REPORT_FILE = (
    "adapter.safetensors",
    "residual.safetensors",
    "model.safetensors",
    "report.json",
)
_WRITTEN = {
    "fedavg": (MODEL_FILE, REPORT_FILE),
    "fedit": (ADAPTER_FILE, REPORT_FILE),
    "fedex-lora": (ADAPTER_FILE, RESIDUAL_FILE, REPORT_FILE),
}
# In float64 the next larger counts cannot be told apart.
_MAX_DIGITS = 15


@dataclass(frozen=True)
class Input:
    """One update file as the command line names it; `num_examples` is None where it was not given."""

    path: Path
    num_examples: int | None


def aggregate(method: str, weights: str, max_rank: int | None, inputs: list[str], out: Path) -> None:
    """Aggregate update files into the folder `out`.

    Args:
        method: 'fedavg' (any named tensors), 'fedit' or 'fedex-lora' (adapters in diffusers or kohya layout).
        weights: 'samples' (then every input needs a count) or 'uniform'.
        max_rank: largest rank of FedEx-LoRA's residual; None keeps it exact.
        inputs: `PATH` or `PATH:EXAMPLES`; a path may hold colons.
        out: gets `model.safetensors` (fedavg) or `adapter.safetensors`, for FedEx-LoRA `residual.safetensors`, and
            `report.json`, in the layout of the inputs.

    Raises:
        MistakeError: an input or a setting is refused; nothing was written.
        StorageError: a result could not be written.
    """
    if method not in _WRITTEN:
        raise MistakeError(f"--method '{method}' is unknown; choose one of {', '.join(_WRITTEN)}")
    if max_rank is not None and (method != "fedex-lora" or max_rank < 1):
        raise MistakeError(f"--max-rank {max_rank}: give at least 1, and only with --method fedex-lora")
    parsed = [parse_input(text) for text in inputs]
    if not parsed:
        raise MistakeError("no update files; name at least one, as UPDATE.safetensors:EXAMPLES")
    for update in parsed:
        if weights == "samples" and update.num_examples is None:
            raise MistakeError(
                f"{update.path}: its number of examples is not given; write {update.path}:EXAMPLES, "
                "or take --weights uniform"
            )
    _check_out(out, method, parsed)
    files, report = _results(method, weights, max_rank, parsed)

    from fedflow.storage import write_atomic, write_json  # noqa: PLC0415 - start-up time

    for name, data in files.items():
        write_atomic(out / name, data)
    # Last, so that a report stands beside complete results only.
    write_json(out / REPORT_FILE, report)
    print(f"{len(parsed)} updates joined by {method}, weights {weights}: {', '.join(files)} and {REPORT_FILE} in {out}")
    if method == "fedex-lora":
        print(f"The joint model is {ADAPTER_FILE} and {RESIDUAL_FILE} together: load both, each with weight 1.")
        print(
            f"residual rank {report['residual_rank']}, discarded energy {report['discarded_energy']:.2%} "
            f"({report['discarded_energy_is']}); averaging A and B alone would be off by {report['naive_error']:.2%}"
        )


def parse_input(text: str) -> Input:
    """`PATH` or `PATH:EXAMPLES`: what is a file as a whole is a path, else what follows the last colon is a count.

    Raises:
        MistakeError: no such file, or a count that is not a whole number of at least 1.
    """
    head, colon, tail = text.rpartition(":")
    if Path(text).is_file():
        return Input(Path(text), None)
    if not colon or not Path(head).is_file():
        path = head if colon and "/" not in tail and not tail.endswith(".safetensors") else text
        raise MistakeError(f"{path}: no such file; name an update as UPDATE.safetensors:EXAMPLES")
    if not re.fullmatch(rf"0*[1-9][0-9]{{0,{_MAX_DIGITS - 1}}}", tail):
        raise MistakeError(
            f"{head}: example count '{tail}' is not a whole number of at least 1 (and at most {_MAX_DIGITS} digits); "
            "give the number of pictures it was trained on"
        )
    return Input(Path(head), int(tail))


def _check_out(out: Path, method: str, inputs: list[Input]) -> None:
    if out.exists() and not out.is_dir():
        raise MistakeError(f"--out {out}: is a file; name a folder")
    for name in _WRITTEN[method]:
        for update in inputs:
            if (out / name).exists() and (out / name).samefile(update.path):
                raise MistakeError(f"--out {out}: would overwrite the input {update.path}; name another folder")
    for name in (MODEL_FILE, ADAPTER_FILE, RESIDUAL_FILE, REPORT_FILE):
        if (out / name).exists() and not _is_aggregation(out / REPORT_FILE):
            raise MistakeError(f"--out {out}: holds {name} of something else; name another folder or remove it")
    for name in (MODEL_FILE, ADAPTER_FILE, RESIDUAL_FILE):
        if name not in _WRITTEN[method] and (out / name).exists():
            raise MistakeError(f"--out {out}: holds {name} of another aggregation; name another folder or remove it")


def _is_aggregation(report: Path) -> bool:
    """Whether `report` is one that this command wrote."""
    try:
        content = json.loads(report.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"method", "weights", "inputs"} <= content.keys()


def _results(
    method: str, weights: str, max_rank: int | None, inputs: list[Input]
) -> tuple[dict[str, bytes], dict[str, object]]:
    """The files' bytes by name, and the report."""
    if method == "fedavg":
        combined, files = _average(weights, inputs)
        layout = "named tensors"
    else:
        combined, files, layout = _combine(method, weights, max_rank, inputs)
    report: dict[str, object] = {
        "method": method,
        "weights": weights,
        "max_rank": max_rank,
        "layout": layout,
        "inputs": [{"file": str(update.path), "examples": update.num_examples} for update in inputs],
        **combined.report,
    }
    return files, report


def _average(weights: str, inputs: list[Input]) -> tuple[Aggregate, dict[str, bytes]]:
    from fedflow.aggregation import ClientUpdate, fedavg  # noqa: PLC0415 - start-up time
    from fedflow.tensors import open_tensors, to_bytes  # noqa: PLC0415

    metadata: dict[str, str] | None = None

    def updates() -> Iterator[ClientUpdate]:
        nonlocal metadata
        for update in inputs:
            file = open_tensors(update.path, UpdateError)
            metadata = _lora_config(file, update, metadata)
            yield ClientUpdate(str(update.path), update.num_examples or 1, file)

    combined = fedavg(updates(), weights)
    return combined, {MODEL_FILE: to_bytes(combined.tensors or {}, {"format": "pt", **(metadata or {})})}


def _lora_config(file: TensorFile, update: Input, before: dict[str, str] | None) -> dict[str, str]:
    """The metadata that the result keeps: a LoRA's alpha. All else may tell of a participant's pictures."""
    from fedflow.models.adapter_files import LORA_CONFIG_KEY  # noqa: PLC0415 - start-up time

    kept = {key: value for key, value in file.metadata.items() if key == LORA_CONFIG_KEY}
    if before not in (None, kept):
        raise UpdateError(
            f"{update.path}: its LoRA configuration differs from the first file's; average adapters by --method fedit"
        )
    return kept


def _combine(
    method: str, weights: str, max_rank: int | None, inputs: list[Input]
) -> tuple[Aggregate, dict[str, bytes], str]:
    from fedflow.aggregation import AdapterUpdate, fedex_lora, fedit  # noqa: PLC0415 - start-up time
    from fedflow.lora import same_rank  # noqa: PLC0415
    from fedflow.models.adapter_files import adapter_bytes, open_adapter  # noqa: PLC0415
    from fedflow.tensors import check_finite, open_tensors  # noqa: PLC0415

    first: AdapterFile | None = None
    file: AdapterFile | None = None

    def updates() -> Iterator[AdapterUpdate]:
        nonlocal first, file
        for update in inputs:
            file = open_adapter(update.path)
            first = first or file
            if file.layout != first.layout:
                raise AdapterError(
                    f"{file.path}: is in {file.layout} layout, {first.path} in {first.layout}; "
                    "bring all updates into one layout"
                )
            yield AdapterUpdate(str(update.path), update.num_examples or 1, file)

    try:
        combined = fedit(updates(), weights) if method == "fedit" else fedex_lora(updates(), weights, max_rank)
    except UpdateError:
        if file is not None:  # the update being read: where it holds NaN, that is said by the names of its tensors
            check_finite(open_tensors(file.path, UpdateError), str(file.path))
        raise
    assert first is not None  # noqa: S101 - there was at least one input
    files = {}
    for name, adapter in ((RESIDUAL_FILE, combined.residual), (ADAPTER_FILE, combined.adapter)):
        if adapter is not None:
            title = {"modelspec.title": f"{method} {name.removesuffix('.safetensors')}"}
            metadata = title if first.layout == "kohya" else {}
            # Clients' adapters keep the ranks that they came with; a residual's ranks are ours to choose.
            written = same_rank(adapter) if name == RESIDUAL_FILE else adapter
            files[name] = adapter_bytes(written, first.layout, metadata, first.peft_names)
    return combined, files, first.layout
