"""What memory this machine has, and whether it suffices for a run, before anything large is opened."""

from __future__ import annotations

import json
from pathlib import Path

from fedflow.client.consent import size_text
from fedflow.federation.estimates import NUMBER_BYTES, memory_needed
from fedflow.federation.protocol import RunFacts
from fedflow.plan import Plan
from fedflow.storage import write_atomic

GPU = "gpu.json"


def lack(facts: RunFacts, plan: Plan, available_bytes: int | None) -> str | None:
    """Why this machine cannot train now, in one sentence; None where it can, or nobody knows what it has.

    The estimate is the least that is needed: all weights of the base model in float32, and what is trained with its
    gradient and moments. Larger batches need more, which only the training shows.
    """
    if available_bytes is None:
        return None
    base_bytes = sum(file.size_bytes for file in facts.base_files if file.path.endswith(".safetensors"))
    trained_bytes = facts.upload_bytes // NUMBER_BYTES[plan.network.wire] * 4
    needed_bytes = memory_needed(base_bytes, trained_bytes)
    if available_bytes >= needed_bytes:
        return None
    return (
        f"it needs at least {size_text(needed_bytes)} of memory and this machine has {size_text(available_bytes)} "
        "free; close other programs, or take part from a larger machine"
    )


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that a new process may take: the machine's, or less where a container sets a limit. None if unknown."""
    found = []
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
        limit = (root / "sys/fs/cgroup/memory.max").read_text().strip()
        if limit.isdecimal():
            used = int((root / "sys/fs/cgroup/memory.current").read_text())
            reclaimable = next(
                int(line.split()[1])
                for line in (root / "sys/fs/cgroup/memory.stat").read_text().splitlines()
                if line.startswith("inactive_file ")
            )
            found.append(max(0, int(limit) - used + reclaimable))
    except (OSError, ValueError, StopIteration):
        pass
    return min(found, default=None)


def note_gpu(folder: Path) -> None:
    """Write down what memory the graphics card has for this process, which has torch: others need not bring it."""
    free_bytes = own_gpu_free_bytes()
    if free_bytes is None:
        (folder / GPU).unlink(missing_ok=True)
    else:
        write_atomic(folder / GPU, json.dumps({"free_bytes": free_bytes}).encode())


def own_gpu_free_bytes() -> int | None:
    """Memory of the graphics card that this process, which has torch, may take; None without a card."""
    import torch  # noqa: PLC0415 - who only reads the note has none

    if not torch.cuda.is_available():
        return None
    free, _ = torch.cuda.mem_get_info()
    return int(free) + torch.cuda.memory_reserved()  # its own is given up before it trains


def gpu_free_bytes(folder: Path) -> int | None:
    """Memory of the graphics card that was free when a job ended last; None where there is no card, or none did."""
    try:
        return int(json.loads((folder / GPU).read_bytes())["free_bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
