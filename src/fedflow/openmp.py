"""How OpenMP's threads wait for each other, which libgomp reads from the environment when torch is loaded."""

from __future__ import annotations

import os

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""Spin for some microseconds, then sleep.

Measured on two shared cores with the starter, a LoRA step of batch 8: 0.10 s so, 0.24 s with threads that sleep at
once, 0.14 s with ten times as many spins; and several seconds with libgomp's default where other processes use
the same cores, as they spin for milliseconds.
"""


def wait_briefly() -> None:
    """Set what the environment does not say yet; before torch is imported, in this process or one started by it."""
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
