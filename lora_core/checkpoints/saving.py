"""The saving of tensors as a safetensors file, under a temporary name that `atomic` gives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor


def save_tensors(tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """Write tensors as they are, on the CPU and contiguous.

    Raises:
        OSError: a full disk and the like, which safetensors has an error of its own for.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), file, metadata=dict(metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from error
