"""Models and adapters of this machine as the headers of their files tell: the web process has no torch."""

from __future__ import annotations

from fedflow.client.services import library
from fedflow.client.store import Store
from fedflow.client.training_cost import shapes_in
from fedflow.errors import FedFlowError, MistakeError
from fedflow.federation.estimates import BaseShapes
from fedflow.tensors.header import read_header

PAIRS = {".lora.up.weight": ".lora.down.weight", ".lora_B.weight": ".lora_A.weight"}
"""How the two factors of a module are named: B, of its outputs, and A, of its inputs."""

TEXT_ENCODER = "text_encoder."


def shapes_here(store: Store, model: str) -> BaseShapes | None:
    """The shapes of a model whose folder is on this machine; None where it is none, or cannot be read."""
    try:
        return shapes_in(library.place(store, model))
    except MistakeError:
        return None


def adapts_text_encoder(store: Store, adapter_id: str) -> bool:
    """Whether an adapter has layers of the text encoder; not where its file cannot be read."""
    try:
        entries = read_header(library.adapter_file(store, adapter_id)).entries
    except FedFlowError:
        return False
    return any(name.startswith(TEXT_ENCODER) for name in entries)


def fits(store: Store, adapter_id: str, model: str) -> bool:
    """Whether the model has each of the adapter's modules, in its shape.

    True also where a file cannot be read or the model is not on this machine: the worker looks again as it opens it.
    """
    shapes = shapes_here(store, model)
    try:
        entries = read_header(library.adapter_file(store, adapter_id)).entries
    except FedFlowError:
        return True
    if shapes is None:
        return True
    weights = {_plain(f"{part}.{name}"): shape for part, found in shapes.parts.items() for name, shape in found.items()}
    for name, entry in entries.items():
        end = next((each for each in PAIRS if name.endswith(each)), None)
        if end is None:
            continue
        module = name.removesuffix(end)
        other = entries.get(module + PAIRS[end])
        if other is None or weights.get(_plain(f"{module}.weight")) != (entry.shape[0], *other.shape[1:]):
            return False
    return True


def _plain(name: str) -> str:
    """A text encoder's name without the `text_model` that some versions of its library write and others do not."""
    return name.replace("text_encoder.text_model.", "text_encoder.", 1)
