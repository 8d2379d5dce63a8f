"""The device that networks compute on, from the word a user has for it."""

from __future__ import annotations

import torch

from ..checks import first_line
from ..errors import ModelError
from ..wording import said


def usable_device(device: str | torch.device) -> torch.device:
    """Return a device that this machine has; "auto" is the best of them."""
    try:
        chosen = best_device() if device == "auto" else torch.device(device)
        torch.zeros(1, device=chosen).item()  # "meta" has sizes and no numbers
    except (RuntimeError, AssertionError, TypeError) as error:
        remedy = "Choose auto, or whichever of cpu, cuda and mps this machine has"
        raise ModelError(
            "device",
            said("{device!r} cannot be used: {error}", device=str(device), error=first_line(error)),
            remedy=remedy,
        ) from error
    return chosen


def best_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
