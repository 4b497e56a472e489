"""Every error that FedFlow raises on purpose.

FedFlowError
├── MistakeError            what was asked cannot be done; exit status 2
│   ├── PlanError           a plan file or a setting
│   ├── DatasetError        a picture folder, a picture, a caption
│   ├── ModelError          a base model that cannot be opened
│   │   └── HubAway         the model hub does not answer, and may later
│   ├── AdapterError        an adapter file: names, shapes, ranks, format
│   └── UpdateError         a client update: NaN, example count, shapes
├── RunError                it was asked rightly and failed on the way; exit status 1
│   └── StorageError        disk full, not writable, a file that is damaged
│       └── StoreAway       the store of files does not answer, and may later
└── Stopped                 a person stopped it; exit status 130

A message is one line that names the file or value and the way out. Want of memory comes from elsewhere as what it is
not, and is told as one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class FedFlowError(Exception):
    """Root of the tree; `exit_status` is what the command line ends with."""

    exit_status = 1


class MistakeError(FedFlowError):
    """What was asked cannot be done."""

    exit_status = 2


class PlanError(MistakeError):
    """A plan file or a setting is wrong."""


class DatasetError(MistakeError):
    """A picture folder, a picture or a caption cannot be used."""


class ModelError(MistakeError):
    """A base model cannot be opened."""


class HubAway(ModelError):  # noqa: N818 - what it is
    """The model hub does not answer; it may later."""


class AdapterError(MistakeError):
    """An adapter file cannot be read, or does not fit."""


class UpdateError(MistakeError):
    """A client update is refused."""


class RunError(FedFlowError):
    """What was asked is right, and it failed on the way."""


class StorageError(RunError):
    """A file cannot be written or read back: disk full, no permission, damaged."""


class StoreAway(StorageError):  # noqa: N818 - what it is
    """The store of files does not answer; it may later."""


class Stopped(FedFlowError):  # noqa: N818 - nothing went wrong
    """A person stopped the command; the message says how to go on."""

    exit_status = 130  # what shells give a command that Ctrl-C ended


MEMORY_LACKS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "_alloc_failed",
)
"""How torch says so, and what it stands on: the CPU's allocator, the system, CUDA, cuBLAS and cuDNN."""


def is_want_of_memory(error: BaseException) -> bool:
    """Whether memory is what lacked; torch says so in words, and raises what it raises for much else."""
    if isinstance(error, RuntimeError):
        return any(words in str(error).lower() for words in MEMORY_LACKS)
    return isinstance(error, MemoryError)


@contextmanager
def lacking_memory(told: Callable[[], FedFlowError]) -> Iterator[None]:
    """Where memory lacks within the block, raises what `told` gives: it names what would fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_want_of_memory(error):
            raise
        raise told() from error
