"""One training of a participant's, and what becomes of one that comes to nothing."""

from __future__ import annotations

from fedflow.client.answers import printable
from fedflow.errors import FedFlowError, PlanError, RunError, StorageError, lacking_memory
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
    with lacking_memory(lambda: _too_large(bench.plan)):
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


def _too_large(plan: Plan) -> NoUpdate:
    return NoUpdate(
        f"this machine has not the memory for it (batch size {plan.training.batch_size} on '{printable(plan.model)}'); "
        "close other programs, it is tried again, or ask the coordinator for a smaller training.batch_size",
        "memory",
    )


def not_opened(plan: Plan) -> NoUpdate:
    """There is not the memory to open the run's base model."""
    return NoUpdate(
        f"this machine has not the memory to open '{printable(plan.model)}'; close other programs, it is tried again, "
        "or take part from a larger machine",
        "memory",
    )
