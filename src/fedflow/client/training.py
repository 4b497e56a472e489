"""One training of a participant's, and what becomes of one that comes to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fedflow.client.answers import printable
from fedflow.errors import FedFlowError, PlanError, RunError, StorageError
from fedflow.federation.jobs import Trained, TrainJob
from fedflow.federation.protocol import Doing
from fedflow.federation.workbench import Workbench
from fedflow.plan import Plan
from fedflow.training import Progress


class NoUpdate(FedFlowError):  # noqa: N818 - what came of it
    """The training came to no update; `doing` is what the coordinator is told. For want of memory it is tried again."""

    def __init__(self, message: str, doing: Doing) -> None:
        super().__init__(message)
        self.doing = doing


def train(bench: Workbench, job: TrainJob, progress: Progress) -> Trained:
    """Carry out a training, from its checkpoint where there is one of the same pictures and captions.

    Raises:
        NoUpdate: numbers that are not finite or too large for the wire, or more memory than there is.
        StorageError: the disk is full or broken.
        What `progress` raises.
    """
    try:
        try:
            return bench.train(job, progress)
        except PlanError:  # pictures or captions have changed since the checkpoint
            bench.folder.drop_checkpoints(job.name)
            return bench.train(job, progress)
    except StorageError:
        raise
    except RunError as error:
        raise NoUpdate(f"{error}; this machine goes without this round", "failed") from error
    except (MemoryError, RuntimeError) as error:
        if not is_want_of_memory(error):
            raise
        raise NoUpdate(
            f"this machine has not the memory for it (batch size {bench.plan.training.batch_size} on "
            f"'{printable(bench.plan.model)}'); close other programs, it is tried again, or ask the coordinator for a "
            "smaller training.batch_size",
            "memory",
        ) from error


@contextmanager
def opening(plan: Plan) -> Iterator[None]:
    """A run's base model is opened within the block. Raises NoUpdate where there is not the memory for that."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_want_of_memory(error):
            raise
        raise NoUpdate(
            f"this machine has not the memory to open '{printable(plan.model)}'; close other programs, it is tried "
            "again, or take part from a larger machine",
            "memory",
        ) from error


def is_want_of_memory(error: BaseException) -> bool:
    """Whether memory is what lacked; on the CPU torch says so in words alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)
