"""One thread at a time makes layers, or loads a model's weights."""

from __future__ import annotations

import threading

MAKING = threading.RLock()
"""Held while layers are made: transformers and accelerate change torch for all threads as they load weights.

What another thread makes meanwhile has no data ("Cannot copy out of meta tensor"), or was never initialised.
"""
