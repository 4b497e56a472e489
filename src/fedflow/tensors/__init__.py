"""Named-tensor arithmetic and safetensors streams.

A name is looked up when it is first used, so that `fedflow.tensors.header` comes without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedflow.tensors.arithmetic import NamedTensors, RunningMean, check_finite
    from fedflow.tensors.stream import TensorFile, load_tensors, open_tensors, to_bytes

_MODULE_OF = {
    "NamedTensors": "arithmetic",
    "RunningMean": "arithmetic",
    "TensorFile": "stream",
    "check_finite": "arithmetic",
    "load_tensors": "stream",
    "open_tensors": "stream",
    "to_bytes": "stream",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


__all__ = [
    "NamedTensors",
    "RunningMean",
    "TensorFile",
    "check_finite",
    "load_tensors",
    "open_tensors",
    "to_bytes",
]
