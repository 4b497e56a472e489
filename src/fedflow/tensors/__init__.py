"""Named-tensor arithmetic and safetensors streams."""

from __future__ import annotations

from fedflow.tensors.arithmetic import NamedTensors, RunningMean, check_finite
from fedflow.tensors.stream import TensorFile, load_tensors, open_tensors, to_bytes

__all__ = [
    "NamedTensors",
    "RunningMean",
    "TensorFile",
    "check_finite",
    "load_tensors",
    "open_tensors",
    "to_bytes",
]
