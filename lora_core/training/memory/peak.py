"""The memory a training has taken at its peak, as far as the machine tells."""

from __future__ import annotations

from pathlib import Path

import torch

#: Where Linux tells what a process has had; to `getrusage` it tells the more that the one had that started it.
_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """Return the peak of the GPU's tensors, or of the process where there is no GPU."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return process_peak_bytes()


def process_peak_bytes() -> int:
    """Return the most memory that the process has had, of the system's."""
    import psutil

    if (told := _told_by_linux()) is not None:
        return told
    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return int(memory.peak_wset)
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _told_by_linux() -> int | None:
    try:
        lines = _STATUS.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError, IndexError):  # another system, or one that hides it
        return None
