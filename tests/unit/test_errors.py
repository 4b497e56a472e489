"""Want of memory is known by what torch and what it stands on say of it."""

from __future__ import annotations

import pytest
import torch

from fedflow.errors import RunError, is_want_of_memory, lacking_memory


def test_the_cpus_allocator_is_understood() -> None:
    with pytest.raises(RunError, match="take less"), lacking_memory(lambda: RunError("take less")):
        torch.empty(2**55)


@pytest.mark.parametrize(
    ("error", "is_want"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("unable to mmap 9000 bytes from file <a>: Cannot allocate memory (12)"), True),
        (RuntimeError("shapes differ"), False),
        (RunError("the picture is called 'out of memory'"), False),
    ],
)
def test_want_of_memory_is_known(error: Exception, is_want: bool) -> None:
    assert is_want_of_memory(error) is is_want
