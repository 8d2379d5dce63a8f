"""The configuration that NVIDIA's trainer leaves in the folder of a job, which alone knows the alpha of its LoRA.

A checkpoint lies at `<job>/checkpoints/model/iter_000002000.pt`, its configuration at `<job>/config.yaml`. That holds
Python objects too, so two numbers are looked for in its lines and nothing is built of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_NUMBER = re.compile(r"^\s*(lora_alpha|lora_rank):\s*([0-9][0-9.e+]*)\s*$", re.MULTILINE)
_FOLDERS = ("checkpoints", "model")
#: A configuration of that trainer has some tens of kilobytes.
_MAX_BYTES = 4_000_000


def job_alpha(checkpoint: Path, ranks: Iterable[int]) -> float | None:
    """Return the alpha that the job of a checkpoint was configured with; None where no file says it of these ranks."""
    folders = checkpoint.absolute().parents
    if len(folders) < 3 or (folders[1].name, folders[0].name) != _FOLDERS:
        return None
    try:
        with (folders[2] / "config.yaml").open(encoding="utf-8") as file:
            found = _NUMBER.findall(file.read(_MAX_BYTES))
        stated = {key: {float(value) for of, value in found if of == key} for key in ("lora_alpha", "lora_rank")}
    except (OSError, ValueError):  # it belongs to somebody else's program: what is not understood says nothing
        return None
    if len(stated["lora_alpha"]) != 1 or stated["lora_rank"] != set(map(float, ranks)):
        return None
    alpha = stated["lora_alpha"].pop()
    return alpha or None
