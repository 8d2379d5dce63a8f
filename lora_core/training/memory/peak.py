"""The memory a training has taken at its peak, as far as the machine tells."""

from __future__ import annotations

import torch


def peak_bytes() -> int:
    """Return the peak of the GPU's tensors, or of the process where there is no GPU."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return process_peak_bytes()


def process_peak_bytes() -> int:
    """Return the most memory that the process has had, of the system's."""
    import psutil

    memory = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):  # Windows
        return int(memory.peak_wset)
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
