"""The progress of a work of `lora_core` at its node."""

from __future__ import annotations

import comfy.model_management
import comfy.utils

from ..lora_core.progress import Progress


def at_the_node() -> Progress:
    """Return what shows progress at the node that runs, and ends the work when the run is interrupted."""
    bar = comfy.utils.ProgressBar(1)

    def report(done: int, total: int, what: str) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update_absolute(done, total)

    return report
