"""Memory that has run out: how it is told from other errors, and how what is left over is given back."""

from __future__ import annotations

import errno
import gc

import torch

#: What allocators say where they have no class of error of their own.
_SAYINGS = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")
#: The classes that such an error may have.
ERRORS: tuple[type[Exception], ...] = (MemoryError, RuntimeError, OSError)


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(saying in str(error).lower() for saying in _SAYINGS)


def give_back() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
