"""The memory that a video takes at its peak: the tensors that are made for it, the weights aside."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..checkpoints.meter import MemoryMeter


def tensor_peak(make: Callable[[], object], device: torch.device) -> int:
    """Return the bytes that tensors made while something runs have held at once.

    On CUDA the allocator tells; elsewhere every operation is watched, which takes time of its own. What was there
    before, as the weights of networks that have run once, does not count.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        make()
        return torch.cuda.max_memory_allocated(device) - before
    with MemoryMeter() as meter:
        make()
    return meter.peak
