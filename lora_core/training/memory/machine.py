"""What a machine has left: the memory of the compute device, and of the system."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

#: Where Linux tells what a container may take, and what it has taken.
_LIMIT, _TAKEN = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
#: What stays free on a device for kernels' workspaces and the allocator's fragments, of all it has.
_MARGIN = 0.05


@dataclass(frozen=True)
class Machine:
    """The bytes that a training may take.

    Attributes:
        device: of the compute device; None where that is the CPU, which has none of its own.
        system: of the system.
    """

    device: int | None
    system: int


def this_machine(device: torch.device) -> Machine:
    """Return what is left on this machine, now."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return Machine(max(0, free + cached - int(_MARGIN * total)), system_left())
    if device.type == "mps":  # the same memory as the system's, as far as the driver lets it be taken
        left = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return Machine(max(0, left), system_left())
    return Machine(None, system_left())


def system_left() -> int:
    """Return the bytes of system memory that can be taken without swapping, within what a container has."""
    import psutil

    available = int(psutil.virtual_memory().available)
    try:
        limit = int(_LIMIT.read_text()) - int(_TAKEN.read_text())
    except (OSError, ValueError):  # no container, or one without a limit
        return available
    return max(0, min(available, limit))
