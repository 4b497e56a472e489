"""Random numbers that follow from (seed, purpose, index) alone, so that a resumed training draws the same ones."""

from __future__ import annotations

import hashlib

import torch


def generator_for(seed: int, purpose: str, index: int) -> torch.Generator:
    """A CPU generator of its own for each purpose ('step', 'epoch') and index."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


class ExampleOrder:
    """The stream of example indices: every epoch in a shuffled order of its own, one after the other."""

    def __init__(self, num_examples: int, seed: int) -> None:
        self._num_examples = num_examples
        self._seed = seed
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def take(self, start: int, count: int) -> torch.Tensor:
        """Indices at positions `start` to `start + count` of the stream, (count,)."""
        taken: list[torch.Tensor] = []
        while count > 0:
            epoch, offset = divmod(start, self._num_examples)
            piece = self._epoch_order(epoch)[offset : offset + count]
            taken.append(piece)
            start += len(piece)
            count -= len(piece)
        return torch.cat(taken)

    def _epoch_order(self, epoch: int) -> torch.Tensor:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(self._num_examples, generator=generator_for(self._seed, "epoch", epoch))
        return self._order
