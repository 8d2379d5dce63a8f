"""The unpickling of what `torch.save` wrote: tensors, numbers and texts, and nothing that could run.

NVIDIA's checkpoints also hold what Transformer Engine keeps for fp8, entries named `…_extra_state`: tensors of bytes,
or `io.BytesIO` objects, which torch refuses unless they are allowed. They are bytes in memory, and never looked into.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

#: How the names of entries end that are no weights, whatever they hold.
EXTRA_STATE = "_extra_state"


def load_pickled(path: Path, *, mmap: bool = True) -> Any:
    """Return what a file holds, its tensors memory-mapped; of objects of other kinds torch's error tells.

    Args:
        path: the file.
        mmap: False for the bare pickles of torch before 1.6, which cannot be mapped.
    """
    import torch

    with warnings.catch_warnings(), torch.serialization.safe_globals([io.BytesIO]):
        warnings.simplefilter("ignore")  # torch speaks to developers about its own storage classes
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)


def is_extra_state(name: object) -> bool:
    """Say whether an entry is named as one that is no weight."""
    return isinstance(name, str) and name.endswith(EXTRA_STATE)
