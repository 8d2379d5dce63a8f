"""The LoRA files in memory: one that a stack or a loaded model still holds is not read again.

When a strength changes, ComfyUI runs the stack's node anew, and reading eight files takes longer than all else it does.
"""

from __future__ import annotations

import weakref
from pathlib import Path

from .. import lora_core
from ..lora_core import LoraWeights, ModelSpec
from ..lora_core.stack.loading import Reader

#: (file, its size and time, model, partial files allowed) -> what was read; gone when nobody holds it any more.
_READ: weakref.WeakValueDictionary[tuple[Path, int, int, ModelSpec, bool], LoraWeights] = weakref.WeakValueDictionary()


def kept_reader(spec: ModelSpec, *, allow_partial: bool = False) -> Reader:
    """Return what reads a file for a model, unless what was read is still there and the file is unchanged."""

    def read(path: Path) -> LoraWeights:
        if not path.is_file():
            return lora_core.read_lora(path, spec=spec, allow_partial=allow_partial)  # which says what is wrong
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns, spec, allow_partial)
        weights = _READ.get(key)
        if weights is None:
            weights = _READ[key] = lora_core.read_lora(path, spec=spec, allow_partial=allow_partial)
        return weights

    return read
